"""BM25 and matched words by field, lengths, and what the tables say of the query and of the entity.

Shape suffix: P pairs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.data.dataset import Dataset
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.text.normalise import normalise
from ranking.catalogue_text import EVIDENCE_FIELDS, FIELDS, Catalogue
from ranking.field_index import bit_counts

__all__ = ["TextFeatures"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


class TextFeatures:
    """The columns that a catalogue's own words and values give.

    Parameters
    ----------
    leave_out_own_query
        Take a pair's own query out of its entity's engaged queries.
    """

    def __init__(self, dataset: Dataset, catalogue: Catalogue, *, leave_out_own_query: bool) -> None:
        self._catalogue, self._leave_out = catalogue, leave_out_own_query
        self._query_languages = _query_languages(dataset, catalogue)
        own = [index.lengths for name, index in catalogue.fields.items() if name not in EVIDENCE_FIELDS]
        # with NaN behind the last row, where row -1 finds it: made once, for the catalogue is larger than a request
        self._of_entity = {
            "title_words": _padded(catalogue.fields["title"].lengths if "title" in catalogue.fields else None),
            "text_words": _padded(np.sum(own, axis=0) if own else None),
            "is_product": _padded(catalogue.is_product),
            "price": _padded(catalogue.prices),
            "language": _padded(catalogue.languages),
        }

    def columns(self, texts: pa.LargeStringArray, query_rows: Int32, entity_rows: Int32) -> Iterator[Float32]:
        """The columns of `names`, float32 (P,) each, in their order; the arguments as in `CountFeatures.columns`."""
        catalogue = self._catalogue
        queries: list[str] = texts.to_pylist()
        words = catalogue.vocabulary.queries(queries)
        scored = (query_rows >= 0) & (entity_rows >= 0)
        nothing = np.where(scored, np.float32(0), np.float32(np.nan))
        bits = {}
        for name, index in catalogue.fields.items():
            taken = None
            if name == "engaged_queries" and self._leave_out:
                taken = catalogue.own_counts(catalogue.engaged_texts.find(texts), query_rows, entity_rows)
            scores, bits[name] = index.score(words, query_rows, entity_rows, taken)
            yield scores
        own_bits = _union([bits[name] for name in bits if name not in EVIDENCE_FIELDS], len(query_rows))
        any_bits = _union(list(bits.values()), len(query_rows))
        share: Float32 = np.reciprocal(np.maximum(_at(words.distinct, query_rows), np.float32(1))) + nothing
        yield bit_counts(own_bits) + nothing
        yield bit_counts(own_bits) * share
        if "title" in bits:
            yield bit_counts(bits["title"]) * share
        if any(name in EVIDENCE_FIELDS for name in bits):
            yield bit_counts(any_bits) * share
        yield _at(words.lengths, query_rows)
        yield _at(np.array([len(query) for query in queries], dtype=np.int32), query_rows)
        for name in ("title_words", "text_words", "is_product", "price"):
            if (values := self._of_entity[name]) is not None:
                yield values[entity_rows]
        written_of = self._of_entity["language"]
        if self._query_languages is not None and written_of is not None:
            keys, languages = self._query_languages
            of_query = np.append(languages, np.int32(-1))[keys.find(texts)]
            spoken, written = _at(of_query, query_rows), written_of[entity_rows]
            known = (spoken >= 0) & (written >= 0)
            yield np.where(known, (spoken == written).astype(np.float32), np.float32(np.nan))

    def names(self) -> Iterator[tuple[str, str]]:
        """Names and sources of the columns, in their order."""
        fields = self._catalogue.fields
        for name in fields:
            columns = ", ".join(FIELDS[name])
            left = " without the pair's own query" if name == "engaged_queries" and self._leave_out else ""
            yield f"bm25_{name}", f"BM25 of the query and {columns}{left}"
        yield "matched_words", "distinct words of the query in the entity's own text"
        yield "matched_share", "share of the query's distinct words in the entity's own text"
        if "title" in fields:
            yield "matched_title_share", "share of the query's distinct words in title"
        if any(name in EVIDENCE_FIELDS for name in fields):
            yield "matched_evidence_share", "share of the query's distinct words in own text, boards, engaged queries"
        yield "query_words", "words of the query"
        yield "query_characters", "characters of the normalised query"
        if "title" in fields:
            yield "title_words", "words of title"
        if any(name not in EVIDENCE_FIELDS for name in fields):
            yield "text_words", "words of the entity's own text"
        yield "is_product", "entity_type"
        if self._catalogue.prices is not None:
            yield "price", "price"
        if self._query_languages is not None and self._catalogue.languages is not None:
            yield "same_language", "languages of the query and of the entity"


def _at(values: npt.NDArray[Any], rows: Int32) -> Float32:
    """Values at rows as float32 (P,), NaN at row -1."""
    return np.append(values.astype(np.float32), np.float32(np.nan))[rows]


def _padded(values: npt.NDArray[Any] | None) -> Float32 | None:
    return None if values is None else np.append(values.astype(np.float32), np.float32(np.nan))


def _union(bits: Sequence[npt.NDArray[np.uint64]], size: int) -> npt.NDArray[np.uint64]:
    total = np.zeros(size, dtype=np.uint64)
    for one in bits:
        total |= one
    return total


def _query_languages(dataset: Dataset, catalogue: Catalogue) -> tuple[KeyIndex, Int32] | None:
    """Normalised queries of the table of queries and the numbers of their languages; None where it says none."""
    if catalogue.languages is None or not dataset.has_column("queries", "language"):
        return None
    keys = KeyIndex()
    numbers: list[Int32] = []
    for batch in dataset.batches("queries", ["query", "language"]):
        before = len(keys)
        rows = keys.intern(as_strings(normalise(batch.column("query")), "query"))
        of_batch = np.full(len(keys) - before, -1, dtype=np.int32)
        new = rows >= before
        of_batch[rows[new] - before] = catalogue.language_numbers(batch.column("language"))[new]
        numbers.append(of_batch)
    return keys, np.concatenate(numbers)
