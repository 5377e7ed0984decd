"""The n-gram tokenizer of the pin-and-product encoder: fit, encode, save, load (paper 3.4.2)."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from os import PathLike

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import SettingError
from omnifeat.text.bags import TokenBags
from omnifeat.text.codepoints import code_point_table
from omnifeat.text.counting import HashCounter
from omnifeat.text.ngrams import hash_strings
from omnifeat.text.normalise import TextBuffers, text_buffers
from omnifeat.text.storage import DEFINITION, read_vocabularies, write_vocabularies
from omnifeat.text.vocabulary import Vocabulary, look_up

__all__ = ["KINDS", "NgramSizes", "NgramTokenizer"]

KINDS = ("trigrams", "words", "bigrams")

# Tokens of a kind hashed at once: three buffers of 256 KiB stay in a core's cache on the way to the lookups.
_BUFFER_TOKENS = 1 << 15
_BUFFER_ROWS = 4_096


@dataclass(frozen=True, kw_only=True)
class NgramSizes:
    """Largest number of tokens of each kind in a vocabulary; the defaults are the paper's."""

    trigrams: int = 64_000
    words: int = 200_000
    bigrams: int = 1_000_000

    def __post_init__(self) -> None:
        for kind, size in asdict(self).items():
            if size < 0:
                raise SettingError(f"The '{kind}' size of a vocabulary must not be negative. Got {size} instead.")
        if sum(asdict(self).values()) >= 2**31:
            raise SettingError("The vocabulary sizes together must stay below 2147483648, as ids are 32 bits wide.")


@dataclass(frozen=True, eq=False)
class _HashedRows:
    """Tokens of some neighbouring strings: per kind all hashes, and where each string's end (rows, 3)."""

    hashes: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.uint64]]
    row_ends: npt.NDArray[np.int64]


def _hashed_rows(buffers: TextBuffers) -> Iterator[_HashedRows]:
    """Hash strings block by block; the arrays of a block are written over by the next."""
    table = code_point_table()
    rows = len(buffers.offsets) - 1
    longest = int(np.diff(buffers.offsets).max(initial=0))
    trigrams, words, bigrams = (np.empty(max(_BUFFER_TOKENS, longest), np.uint64) for _ in KINDS)
    row_ends = np.empty((min(rows, _BUFFER_ROWS), len(KINDS)), np.int64)
    row = 0
    while row < rows:
        done = hash_strings(buffers.data, buffers.offsets, row, table, trigrams, words, bigrams, row_ends)
        ends = row_ends[done - 1]
        yield _HashedRows(
            hashes=(trigrams[: ends[0]], words[: ends[1]], bigrams[: ends[2]]),
            row_ends=row_ends[:done],
        )
        row += done


class NgramTokenizer:
    """Vocabularies of character trigrams, words and word bigrams, and text to ids by them.

    Ids are disjoint by kind: trigrams first, then words, then bigrams; within a kind the most frequent token of the
    fitted text has the smallest id, ties in order of their hash. Tokens outside the vocabularies are dropped.

    Use `NgramTokenizer.fit` or `NgramTokenizer.load`; the constructor takes the hashes of each kind in id order.
    """

    def __init__(self, vocabularies: tuple[Vocabulary, Vocabulary, Vocabulary]) -> None:
        self._vocabularies = vocabularies

    @classmethod
    def fit(
        cls,
        batches: Iterable[pa.Array | pa.ChunkedArray],
        sizes: NgramSizes | None = None,
        min_count: int = 1,
        max_tracked: int = 4_000_000,
    ) -> "NgramTokenizer":
        """Build the vocabularies in one pass over the text.

        The result depends on the strings and their order, not on how they are cut into batches; while no kind has
        more than `max_tracked` distinct tokens, not on their order either.

        Parameters
        ----------
        batches
            Arrow arrays of text; nulls count as empty.
        sizes
            Most tokens kept per kind; `NgramSizes()` if None.
        min_count
            Tokens counted less often are left out.
        max_tracked
            Distinct tokens per kind counted at once. Up to so many, counts are exact; beyond, a count is too low by
            at most 2 N / max_tracked, for N tokens of the kind (`omnifeat.text.counting`). At most 64 bytes each.

        Raises
        ------
        DataError
            A batch is not text, or not UTF-8.
        SettingError
            `max_tracked` or `min_count` is below 1, or `max_tracked` below a vocabulary's size.
        """
        sizes = sizes or NgramSizes()
        if min_count < 1:
            raise SettingError(f"The 'min_count' setting must be at least 1. Got {min_count} instead.")
        limits = [getattr(sizes, kind) for kind in KINDS]
        if max_tracked < max(limits):
            raise SettingError(
                f"The 'max_tracked' setting must be at least the largest vocabulary ({max(limits)} tokens). "
                f"Got {max_tracked} instead."
            )
        counters = [HashCounter(max_tracked) for _ in KINDS]
        for batch in batches:
            for buffers in text_buffers(batch):
                for block in _hashed_rows(buffers):
                    for counter, hashes in zip(counters, block.hashes, strict=True):
                        counter.add(hashes)
        trigrams, words, bigrams = (
            Vocabulary.most_frequent(*counter.items(), size=limit, min_count=min_count)
            for counter, limit in zip(counters, limits, strict=True)
        )
        return cls((trigrams, words, bigrams))

    @property
    def size(self) -> int:
        """Number of ids: every id lies in 0 .. size - 1."""
        return sum(len(vocabulary) for vocabulary in self._vocabularies)

    @property
    def sizes(self) -> NgramSizes:
        """Number of tokens of each kind."""
        trigrams, words, bigrams = (len(vocabulary) for vocabulary in self._vocabularies)
        return NgramSizes(trigrams=trigrams, words=words, bigrams=bigrams)

    def encode(self, strings: pa.Array | pa.ChunkedArray) -> TokenBags:
        """Ids of the tokens of each string.

        Parameters
        ----------
        strings
            Arrow array of text, n long; it needs no normalising first. Nulls give empty bags.

        Returns
        -------
        TokenBags
            n bags. In each, the trigrams in reading order, then the words, then the bigrams; a token stands as
            often as it occurs; tokens out of the vocabularies are left out.

        Raises
        ------
        DataError
            The column is not text, or not UTF-8.
        """
        trigrams, words, bigrams = self._vocabularies
        ids = np.empty(max(_BUFFER_TOKENS, strings.nbytes), np.int32)  # about one token a byte; grows where more
        offsets = np.zeros(len(strings) + 1, np.int64)
        row = 0
        used = 0
        for buffers in text_buffers(strings):
            for block in _hashed_rows(buffers):
                room = used + sum(len(hashes) for hashes in block.hashes)
                if room > len(ids):
                    ids.resize(max(room, 2 * len(ids)), refcheck=False)
                used = look_up(
                    *block.hashes,
                    block.row_ends,
                    trigrams.slots,
                    words.slots,
                    bigrams.slots,
                    len(trigrams),
                    len(trigrams) + len(words),
                    ids,
                    used,
                    offsets[row + 1 :],
                )
                row += len(block.row_ends)
        ids.resize(used, refcheck=False)
        return TokenBags(ids=ids, offsets=offsets)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the definition of the tokens and the three vocabularies in id order."""
        digest = hashlib.sha256(DEFINITION.encode())
        for kind, vocabulary in zip(KINDS, self._vocabularies, strict=True):
            digest.update(f"\n{kind} {len(vocabulary)}\n".encode())
            digest.update(vocabulary.hashes.astype("<u8", copy=False).tobytes())
        return digest.hexdigest()

    def save(self, folder: str | PathLike[str]) -> None:
        """Write `ngrams.safetensors` and `ngrams.json` into a folder, made if it isn't there.

        Raises
        ------
        OutputError
            The folder can't be written.
        """
        tensors = {kind: vocabulary.hashes for kind, vocabulary in zip(KINDS, self._vocabularies, strict=True)}
        write_vocabularies(folder, tensors, self.fingerprint(), unicodedata.unidata_version)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> "NgramTokenizer":
        """Read what `save` wrote.

        Raises
        ------
        EncoderError
            A file is missing, can't be read, or isn't what was saved; the message names it.
        """
        tensors, check = read_vocabularies(folder, KINDS)
        trigrams, words, bigrams = (Vocabulary(tensors[kind]) for kind in KINDS)
        tokenizer = cls((trigrams, words, bigrams))
        check(tokenizer.fingerprint())
        return tokenizer
