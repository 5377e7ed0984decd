"""What an encoder was trained on, as hashes: which queries and pairs it may know by heart.

A cosine of a pair that the encoder learned from is partly the label itself. The record lets every table of pairs be
asked, row by row, whether the encoder was trained on the pair or on its query, without the log at hand.

Queries are hashed in the normal form of `omnifeat.text` (NFKC, lower case, white space collapsed): "Red  Shoes" is no
new query to an encoder that learned "red shoes". Ids are hashed as they stand. A query that stood as an entity counts
as a query, and a pair of two queries is one pair whichever of them comes first: one encoder reads both sides.

A hash is 64 bits, 8 bytes in the file; sorted hashes hardly compress, so that they are not. The odds that any of a
million new pairs is taken for one of a hundred million recorded ones are 1e14 / 2^64, one in 180,000.

Shape legend: n rows, Q recorded queries, P recorded pairs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from omnifeat.errors import EncoderError
from omnifeat.keys import as_strings, hash_strings
from omnifeat.text import normalise

__all__ = [
    "PAIR_KNOWN",
    "QUERY_KNOWN",
    "RECORD_FILE",
    "UNKNOWN",
    "TrainingRecord",
    "id_hashes",
    "pair_hashes",
    "query_hashes",
]

RECORD_FILE = "training_record.safetensors"
UNKNOWN, QUERY_KNOWN, PAIR_KNOWN = 0, 1, 2
"""What `TrainingRecord.knows` says of a pair: neither it nor its query, its query alone, the pair itself."""

_FORMAT = "omnifeat training record 1"
_NAMES = ("queries", "pairs")
_QUERY = "query"
# What an entity whose type is not said may be; a query that stands as an entity always says so.
_UNSAID = ("pin", "product")
_SEARCHED = 1 << 20  # hashes looked up at once

Bools = npt.NDArray[np.bool_]
UInt8 = npt.NDArray[np.uint8]
UInt64 = npt.NDArray[np.uint64]


def query_hashes(texts: pa.Array | pa.ChunkedArray) -> UInt64:
    """Hashes uint64 (n,) of query texts in their normal form, 0 for what is null or blank."""
    strings = as_strings(normalise(as_strings(texts, "query")), "query")
    hashes = hash_strings(strings)
    blank = pc.equal(pc.binary_length(strings), 0).to_numpy(zero_copy_only=False)
    return np.where(blank, np.uint64(0), np.maximum(hashes, np.uint64(1)))


def id_hashes(ids: pa.Array | pa.ChunkedArray) -> UInt64:
    """Hashes uint64 (n,) of the ids of pins or products, 0 for null."""
    strings = as_strings(ids, "entity_id")
    hashes = np.maximum(hash_strings(strings), np.uint64(1))
    missing = pc.is_null(strings).to_numpy(zero_copy_only=False)
    return np.where(missing, np.uint64(0), hashes)


def pair_hashes(queries: UInt64, entity_type: str, entities: UInt64) -> UInt64:
    """Hashes uint64 (n,) of pairs from those of their sides (for type `query`, both are of texts); 0 if a side is 0."""
    missing = (queries == 0) | (entities == 0)
    if entity_type == _QUERY:
        queries, entities = np.minimum(queries, entities), np.maximum(queries, entities)
    of_type = hash_strings(pa.array([entity_type], pa.large_string()))
    # odd factors keep the sides apart, and the finaliser of MurmurHash3 spreads every bit over all others
    value = queries * np.uint64(0x9E3779B97F4A7C15) + entities * np.uint64(0xC2B2AE3D27D4EB4F) + of_type
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value = (value ^ (value >> np.uint64(33))) * np.uint64(factor)
    value ^= value >> np.uint64(33)
    return np.where(missing, np.uint64(0), np.maximum(value, np.uint64(1)))


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """Distinct training queries uint64 (Q,) and pairs uint64 (P,), as rising hashes; see the module."""

    queries: UInt64
    pairs: UInt64

    @classmethod
    def of(cls, queries: Iterable[UInt64], pairs: Iterable[UInt64]) -> Self:
        """A record of hashes in any order, with repetitions; zeros, which stand for nothing, are left out."""
        return cls(_distinct(queries), _distinct(pairs))

    @property
    def bytes(self) -> int:
        """Bytes that the hashes take, in memory and, but for a header, in the file."""
        return self.queries.nbytes + self.pairs.nbytes

    @property
    def described(self) -> str:
        """How much is recorded, in words."""
        return f"{len(self.queries):,} queries and {len(self.pairs):,} pairs ({self.bytes / 1e6:,.1f} MB)"

    def known_queries(self, texts: pa.Array | pa.ChunkedArray) -> Bools:
        """Which of n query texts the encoder was trained on; null and blank ones never."""
        return self.has_queries(query_hashes(texts))

    def known_pairs(
        self, queries: pa.Array | pa.ChunkedArray, types: pa.Array | pa.ChunkedArray | None, ids: pa.Array
    ) -> Bools:
        """Which of n pairs the encoder was trained on; parameters as in `knows`."""
        return self.knows(queries, types, ids) == PAIR_KNOWN

    def knows(
        self,
        queries: pa.Array | pa.ChunkedArray,
        types: pa.Array | pa.ChunkedArray | None,
        ids: pa.Array | pa.ChunkedArray,
    ) -> UInt8:
        """What the encoder was trained on of each pair: `UNKNOWN`, `QUERY_KNOWN` or `PAIR_KNOWN`, uint8 (n,).

        Parameters
        ----------
        queries, ids
            Text of the query and id of the entity, or its text where it is a query itself.
        types
            `pin`, `product` or `query`; where it is null, or not given, an id counts whether it is a pin's or a
            product's.
        """
        of_queries, texts = query_hashes(queries), as_strings(ids, "entity_id")
        known = self.has_queries(of_queries).astype(np.uint8)
        if types is None:
            known[self.has_pairs(of_queries, None, id_hashes(texts))] = PAIR_KNOWN
            return known
        encoded = as_strings(types, "entity_type").dictionary_encode()
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        for code, entity_type in enumerate([*encoded.dictionary.to_pylist(), None]):
            rows = np.flatnonzero(codes == (code if entity_type is not None else -1))
            some = texts.take(pa.array(rows))
            entities = query_hashes(some) if entity_type == _QUERY else id_hashes(some)
            known[rows[self.has_pairs(of_queries[rows], entity_type, entities)]] = PAIR_KNOWN
        return known

    def has_queries(self, queries: UInt64) -> Bools:
        """Which of these hashes of queries, (n,), are recorded."""
        return _among(queries, self.queries)

    def has_pairs(self, queries: UInt64, entity_type: str | None, entities: UInt64) -> Bools:
        """Which pairs of these hashes, (n,) each, are recorded; of a pin or a product where the type is None."""
        kinds = _UNSAID if entity_type is None else (entity_type,)
        found = np.zeros(len(queries), np.bool_)
        for kind in kinds:
            found |= _among(pair_hashes(queries, kind, entities), self.pairs)
        return found

    def save(self, path: Path) -> None:
        """Write the file of the record."""
        save_file({name: getattr(self, name) for name in _NAMES}, path, metadata={"format": _FORMAT})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file of a record.

        Raises
        ------
        EncoderError
            It is none: other arrays, another type or shape, hashes that don't rise, or damaged.
        """
        try:
            with safe_open(path, "np") as file:
                whole = (file.metadata() or {}).get("format") == _FORMAT and set(file.keys()) == set(_NAMES)
                slices = [file.get_slice(name) for name in _NAMES] if whole else []
                if not all(one.get_dtype() == "U64" and len(one.get_shape()) == 1 for one in slices) or not whole:
                    raise _no_record(path, f"it does not hold {' and '.join(_NAMES)} as rows of 64-bit hashes")
                record = cls(*(file.get_tensor(name) for name in _NAMES))
        except (SafetensorError, OSError) as error:
            raise _no_record(path, "it cannot be read") from error
        for name in _NAMES:
            hashes = getattr(record, name)
            if len(hashes) and (hashes[0] == 0 or not (hashes[1:] > hashes[:-1]).all()):
                raise _no_record(path, f"its hashes of {name} are not in rising order")
        return record


def _no_record(path: Path, why: str) -> EncoderError:
    return EncoderError(f"The file '{path}' is no record of training pairs: {why}; fetch or train the encoder again.")


def _distinct(parts: Iterable[UInt64]) -> UInt64:
    hashes = np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))
    return hashes[1:] if len(hashes) and hashes[0] == 0 else hashes


def _among(values: UInt64, rising: UInt64) -> Bools:
    """Which values stand in the rising array."""
    found = np.zeros(len(values), np.bool_)
    if not len(rising):
        return found
    for start in range(0, len(values), _SEARCHED):
        part = values[start : start + _SEARCHED]
        places = np.minimum(np.searchsorted(rising, part), len(rising) - 1)
        found[start : start + _SEARCHED] = rising[places] == part
    return found
