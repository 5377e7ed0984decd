"""Training positives of evaluated queries: what a query is known to have led to before, and what is ranked without it.

A new pair that competes with the entities that its query led to in training looks worse the better these are
remembered: a scorer that knows the training part by heart puts them first, and the new one behind them. They are right
answers, too, and no test of what was learned. So the figures for new pairs are measured in a corpus **without the
query's training positives**, the same for every system, beside those among all.

    the log      entities with which the query stands in the training part, by any action
    the record   pairs that an encoder says it was trained on (`omnifeat.models.training_record`), which are hashes:
                 the query is hashed with every entity of the corpus, block by block

What either names is left out. Queries meet in their normal form, as an encoder reads them, and a pair of two queries is
one pair whichever comes first.

Shape legend: Q queries, N entities, P pairs, E (query, entity) pairs that are found, B queries of a block.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.recall import EvaluationPairs
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.models.training_record import TrainingRecord, id_hashes, pair_hashes, query_hashes
from omnifeat.ranks import Excluded
from omnifeat.text import normalise

__all__ = ["TrainingPositives", "are_among", "logged_positives", "recorded_positives", "training_positives"]

IntArray = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
UInt64 = npt.NDArray[np.uint64]

_HASHED = 1 << 16  # pairs of a query and an entity that are hashed at once: what stays in a cache
_LARGEST_FILTER = 1 << 28  # bytes


@dataclass(frozen=True, eq=False)
class TrainingPositives:
    """What is left out of the corpus for each query, as rows of `pairs.entity_ids`, and who told it, in words."""

    entities: Excluded
    told_by: tuple[str, ...]

    def sentence(self, pairs: EvaluationPairs) -> str:
        """How much is left out, of how many of the evaluated queries."""
        queries = int((np.diff(self.entities.offsets) > 0).sum())
        return (
            f"Training positives: {queries:,} of {len(pairs.queries):,} queries led to entities of the corpus in "
            f"training, {len(self.entities.candidates):,} times in all (by {' and '.join(self.told_by)})."
        )


def training_positives(
    dataset: Dataset, entity_type: str, pairs: EvaluationPairs, records: Mapping[str, TrainingRecord | None]
) -> TrainingPositives | None:
    """What the log and the encoders' records know of; None where there is neither a recorded split nor a record.

    Parameters
    ----------
    records
        Name of an encoder, as it is told -> what it was trained on; None where that is not recorded.
    """
    found, told = [], []
    split, table = dataset.info.split, dataset.log_table()
    needed = ("query", "entity_id", "entity_type", "" if split is None else split.column)
    if split is not None and all(dataset.has_column(table, name) for name in needed):
        found.append(logged_positives(dataset, entity_type, pairs))
        told.append(f"the training part of {table}")
    for name, record in records.items():
        if record is not None:
            found.append(recorded_positives(record, entity_type, pairs))
            told.append(name)
    if not found:
        return None
    queries = np.concatenate([one.queries for one in found])
    rows = np.concatenate([one.candidates for one in found])
    inside = pairs.in_corpus[rows]
    return TrainingPositives(Excluded.from_pairs(queries[inside], rows[inside], len(pairs.queries)), tuple(told))


def logged_positives(dataset: Dataset, entity_type: str, pairs: EvaluationPairs) -> Excluded:
    """Entities with which a row of the log's training part has the query, whatever the action.

    Raises
    ------
    DataError
        If the dataset records no split, or the table of the log lacks a column.
    """
    split = dataset.info.split
    if split is None:
        raise DataError(
            f"{dataset.path} records no split in dataset.json, so that no pair is known to be for training; import it "
            "with a split, or leave `--by seen` out"
        )
    queries = _Rows(_normal(pa.array(pairs.queries, pa.large_string())))
    texts = pairs.entity_ids.cast(pa.large_string())
    entities = _Rows(_normal(texts) if entity_type == "query" else texts)
    codes = np.empty(0, np.int64)
    columns = list(dict.fromkeys(["query", "entity_id", "entity_type", split.column]))
    for batch in dataset.batches(dataset.log_table(), columns):
        rows = batch.filter(pc.equal(batch.column("entity_type"), entity_type))
        sides = [rows.column("query").cast(pa.large_string()), rows.column("entity_id").cast(pa.large_string())]
        if entity_type == "query":
            sides = [_normal(side) for side in sides]
        else:
            sides[0] = _normal(sides[0])
        turns = [sides, sides[::-1]] if entity_type == "query" else [sides]
        met = [(queries.keys.find(one), entities.keys.find(other)) for one, other in turns]
        known = np.logical_or.reduce([(query >= 0) & (entity >= 0) for query, entity in met])
        if not known.any():
            continue
        # the part is asked for last: of a hash split it costs a hash a row
        training = known.copy()
        training[known] = pc.equal(split.assign(rows.filter(pa.array(known))), "train").to_numpy(zero_copy_only=False)
        new = [
            query[some].astype(np.int64) * len(entities.keys) + entity[some]
            for query, entity in met
            for some in [training & (query >= 0) & (entity >= 0)]
        ]
        codes = np.union1d(codes, np.concatenate(new))
    key_of_query, key_of_entity = np.divmod(codes, max(len(entities.keys), 1))
    found, query_rows = queries.rows_of(key_of_query)
    again, entity_rows = entities.rows_of(key_of_entity[found])
    return Excluded.from_pairs(query_rows[again], entity_rows, len(pairs.queries))


def recorded_positives(record: TrainingRecord, entity_type: str, pairs: EvaluationPairs) -> Excluded:
    """Entities that an encoder was trained on with the query, by the hashes that it recorded.

    Of each query that it knows at all the hashes with all N entities are made, some ten thousand at once; those that a
    small table of bytes lets through are looked up in the record.
    """
    hashes_Q = query_hashes(pa.array(pairs.queries, pa.large_string()))
    ids = pairs.entity_ids.cast(pa.large_string())
    hashes_N = query_hashes(ids) if entity_type == "query" else id_hashes(ids)
    known = np.flatnonzero(record.has_queries(hashes_Q))
    likely = _Filter(record.pairs)
    queries, entities = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    size = max(1, _HASHED // max(1, len(hashes_N)))
    for start in range(0, len(known), size):
        some = known[start : start + size]
        place, rows = np.nonzero(likely.lets_through(pair_hashes(hashes_Q[some][:, None], entity_type, hashes_N)))
        there = record.has_pairs(hashes_Q[some[place]], entity_type, hashes_N[rows])
        queries.append(some[place[there]])
        entities.append(rows[there])
    return Excluded.from_pairs(np.concatenate(queries), np.concatenate(entities), len(pairs.queries))


def are_among(entities: Excluded, pairs: EvaluationPairs) -> Bools:
    """Which evaluated pairs stand there themselves, bool (P,)."""
    width = len(pairs.entity_ids)
    there: Bools = np.isin(
        pairs.pair_queries * width + pairs.pair_positives, entities.queries * width + entities.candidates
    )
    return there


class _Filter:
    """Lets all of some hashes through, and few others: one look at a byte in place of a search among them all."""

    def __init__(self, hashes: UInt64) -> None:
        bits = min(max(8 * len(hashes), 2), _LARGEST_FILTER).bit_length()
        self._shift = np.uint64(64 - bits)
        self._there = np.zeros(1 << bits, np.bool_)
        self._there[hashes >> self._shift] = True

    def lets_through(self, hashes: UInt64) -> Bools:
        return self._there[hashes >> self._shift]


class _Rows:
    """Distinct keys of rows, and all the rows of a key."""

    def __init__(self, texts: pa.LargeStringArray) -> None:
        self.keys = KeyIndex()
        numbers = self.keys.intern(texts)
        self._order = np.argsort(numbers, kind="stable")
        self._starts = np.searchsorted(numbers[self._order], np.arange(len(self.keys) + 1))

    def rows_of(self, keys_E: IntArray) -> tuple[IntArray, IntArray]:
        """Place in `keys_E` and row, int64 (n,) each, of every row of every key."""
        counts = self._starts[keys_E + 1] - self._starts[keys_E]
        place = np.repeat(np.arange(len(keys_E)), counts)
        within = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        return place, self._order[self._starts[keys_E][place] + within]


def _normal(texts: pa.Array) -> pa.LargeStringArray:
    return as_strings(normalise(texts), "query")
