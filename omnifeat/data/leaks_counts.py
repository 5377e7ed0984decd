"""Look for features that were counted over the whole log, what the split holds out included.

A column `f_*` of pins, products or impressions is compared with counts of each entity: engagements, engagements of each
action, and saves to boards; each over the whole log, and over what was known before the split. Only entities for
which the two counts differ tell anything. A column **follows** a count if it is a non-decreasing function of it, be it
the count itself, its logarithm, a share or a rank: entities of equal counts have equal values. One that follows a
count over the whole log and no count over the earlier part was counted on what the split holds out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.problems import Problem, ProblemList
from omnifeat.data.relations import IdStore
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.data.splits import HashSplit, TimeSplit

__all__ = ["add_count_leaks", "follows"]

Numbers = npt.NDArray[np.float64]

# Below so many entities, or so few different counts, agreement may be chance.
LEAST_ENTITIES, LEAST_LEVELS = 20, 4
# Share of entities whose value is the one that their count stands for; the rest may be entities added since.
AGREEMENT = 0.95
MOST_ENTITIES = 100_000
_ALL, _SAVES = "engagements", "saves to boards"


def follows(values: Numbers, counts: Numbers) -> float:
    """Share of the entities whose value is what a non-decreasing function of their count says.

    Parameters
    ----------
    values, counts
        float64 (N,). The function's value at a count is the median of the values there, or that at a smaller count if
        it is greater.

    Returns
    -------
    Share between 0 and 1; 0 where the function takes fewer than `LEAST_LEVELS` values.
    """
    _, group = np.unique(counts, return_inverse=True)
    order = np.lexsort((values, group))
    sizes = np.bincount(group)
    first = np.cumsum(sizes) - sizes
    medians = values[order][first + (sizes - 1) // 2]
    function = np.maximum.accumulate(medians)
    if len(np.unique(function)) < LEAST_LEVELS:
        return 0.0
    return float(np.isclose(values, function[group], rtol=1e-6, atol=1e-9).mean())


def add_count_leaks(dataset: Dataset, store: IdStore, split: HashSplit | TimeSplit, problems: ProblemList) -> None:
    """Add a problem for each column of features that follows a count over the whole log and none of before the split.

    At most 100,000 entities, chosen by a hash of their ids, are looked at.

    Raises
    ------
    DataError
        A table that is needed cannot be read.
    """
    features = {table: _feature_columns(dataset, table) for table in ("pins", "products", "impressions")}
    if not any(features.values()) or not dataset.has(dataset.log_table()):
        return
    _store_log_counts(dataset, store, split)
    if isinstance(split, TimeSplit) and dataset.has_column("saves", "timestamp"):
        _store_save_counts(dataset, store, split)
    store.query(
        "CREATE TABLE entity_counts AS SELECT what, entity_type, entity_id, sum(n) AS n, sum(train) AS train, "
        "sum(earlier) AS earlier FROM (SELECT * FROM counted UNION ALL "
        f"SELECT '{_ALL}' AS what, * EXCLUDE (what) FROM counted WHERE what <> '{_SAVES}') GROUP BY ALL"
    )
    for table, columns in features.items():
        for number, column in enumerate(columns):
            values = f"values_{table}_{number}"  # a column may have any name
            _store_values(dataset, store, table, column, values)
            _add_column(dataset, store, table, column, values, problems)


def _feature_columns(dataset: Dataset, table: str) -> list[str]:
    if not dataset.has(table):
        return []
    schema = dataset.schema(table)
    return [name for name in schema.names if name.startswith("f_") and pa.types.is_float64(schema.field(name).type)]


def _store_log_counts(dataset: Dataset, store: IdStore, split: HashSplit | TimeSplit) -> None:
    name = dataset.log_table()
    columns = list(dict.fromkeys(["entity_type", "entity_id", "action", split.column]))
    dataset.require(name, *columns)
    for batch in dataset.batches(name, columns):
        train = pc.equal(split.assign(batch), "train")
        earlier = train
        if isinstance(split, TimeSplit):
            # the gap before the development part may be counted or not: both are sound
            earlier = pc.less(batch.column(split.column), pa.scalar(split.development_from))
        _insert(store, batch.column("action"), batch, train, earlier)


def _store_save_counts(dataset: Dataset, store: IdStore, split: TimeSplit) -> None:
    columns = ["entity_type", "entity_id", "timestamp"]
    dataset.require("saves", *columns)
    for batch in dataset.batches("saves", columns):
        if batch.column("timestamp").null_count:
            batch = batch.filter(pc.is_valid(batch.column("timestamp")))  # noqa: PLW2901
        train = pc.equal(TimeSplit(**(split.model_dump() | {"column": "timestamp"})).assign(batch), "train")
        earlier = pc.less(batch.column("timestamp"), pa.scalar(split.development_from))
        _insert(store, pa.array([_SAVES] * batch.num_rows, pa.string()), batch, train, earlier)


def _insert(store: IdStore, what: pa.Array, batch: pa.RecordBatch, train: pa.Array, earlier: pa.Array) -> None:
    table = pa.table(
        {
            "what": what,
            "entity_type": batch.column("entity_type"),
            "entity_id": batch.column("entity_id"),
            "n": pa.array(np.ones(batch.num_rows, dtype=np.int64)),
            "train": train.cast(pa.int64()),
            "earlier": earlier.cast(pa.int64()),
        }
    )
    keys = ["what", "entity_type", "entity_id"]
    sums = table.group_by(keys).aggregate([("n", "sum"), ("train", "sum"), ("earlier", "sum")])
    names: Iterable[str] = (*keys, "n", "train", "earlier")
    store.insert("counted", {name: sums[f"{name}_sum" if name not in keys else name] for name in names})


def _store_values(dataset: Dataset, store: IdStore, table: str, column: str, name: str) -> None:
    ids = ["entity_type", "entity_id"] if table == "impressions" else ["id"]
    kind = {place: kind for kind, (place, _) in ENTITY_TABLES.items()}.get(table, "")
    for batch in dataset.batches(table, [*ids, column]):
        types = (
            batch.column("entity_type") if table == "impressions" else pa.array([kind] * batch.num_rows, pa.string())
        )
        rows = pa.table({"entity_type": types, "entity_id": batch.column(ids[-1]), "value": batch.column(column)})
        distinct = rows.filter(pc.is_finite(rows["value"])).group_by(rows.column_names).aggregate([])
        store.insert(name, {field: distinct[field] for field in rows.column_names})


def _add_column(dataset: Dataset, store: IdStore, table: str, column: str, name: str, problems: ProblemList) -> None:
    best: tuple[float, str, int] | None = None
    for (what,) in store.query("SELECT DISTINCT what FROM entity_counts ORDER BY what"):
        rows = store.query(
            f"SELECT DISTINCT v.entity_type, v.entity_id, v.value, c.n, c.train, c.earlier "
            f"FROM {name} v JOIN entity_counts c USING (entity_type, entity_id) "
            "WHERE c.what = ? AND c.n <> c.train AND c.n <> c.earlier "
            f"ORDER BY md5(v.entity_id), v.entity_type, v.value LIMIT {MOST_ENTITIES}",
            [what],
        )
        if len(rows) < LEAST_ENTITIES:
            continue
        values, whole, train, earlier = (
            np.array([row[place] for row in rows], dtype=np.float64) for place in range(2, 6)
        )
        if max(follows(values, train), follows(values, earlier)) >= AGREEMENT:
            return  # counted on what was known, of whatever kind
        share = follows(values, whole)
        if share >= AGREEMENT and (best is None or share > best[0]):
            best = (share, what, len(rows))
    if best is None:
        return
    share, what, entities = best
    message = (
        f"{dataset.place(table)}, column '{column}' follows the number of {what} in the whole log (for {share:.0%} of "
        f"{entities:,} entities whose number the held-out part changes) and not that of before the split: count it on "
        "the training part alone"
    )
    problems.add(Problem("leak", table, column, None, None, message))
