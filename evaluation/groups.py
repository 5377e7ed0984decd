"""Groups of evaluated pairs: by a column of the engagements or queries, or by what is known of the pair.

    seen         new pairs, and pairs that the training part of the log has, too
    frequency    pairs of head queries, of tail queries, and of those between (see `evaluation.query_strata`)
    has_title    pairs whose entity has a title, and whose has none

Shape: P pairs.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.query_strata import head_and_tail
from evaluation.recall import EvaluationPairs
from evaluation.seen_pairs import NEW_PAIRS, SEEN_PAIRS, seen_in_training
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.errors import DataError

__all__ = ["FREQUENCY", "HAS_TITLE", "SEEN", "pair_groups"]

SEEN, FREQUENCY, HAS_TITLE = "seen", "frequency", "has_title"

BoolArray = npt.NDArray[np.bool_]


def pair_groups(
    dataset: Dataset,
    entity_type: str,
    positives: tuple[str, pa.Table],
    pairs: EvaluationPairs,
    by: str | None,
    chosen: tuple[str, ...] | None,
) -> tuple[dict[str, BoolArray], str | None]:
    """Members bool (P,) of each group, the largest first or as chosen, and the table and column that tell them.

    `positives` are the name and the rows of the table that the pairs are from: engagements or judgments.
    """
    if by is None:
        return {}, None
    if by == SEEN:
        seen, table = seen_in_training(dataset, entity_type, pairs)
        both = {NEW_PAIRS: ~seen, SEEN_PAIRS: seen}
        return {name: both[name] for name in _names(both, chosen, table, by)}, f"{table}: pairs in the training part"
    if by == FREQUENCY:
        strata, told = _by_frequency(positives[1], pairs), f"{positives[0]}: queries by frequency"
        return {name: strata[name] for name in _names(strata, chosen, positives[0], by)}, told
    if by == HAS_TITLE and entity_type != "query":
        table = ENTITY_TABLES[entity_type][0]
        titled = _by_title(dataset, table, pairs)
        return {name: titled[name] for name in _names(titled, chosen, table, by)}, f"{table}: titles"
    source, table, column = _group_source(dataset, *positives, by)
    place = {query: row for row, query in enumerate(pairs.queries)}
    first = np.searchsorted(pairs.pair_queries, np.arange(len(pairs.queries) + 1))
    ids = pairs.entity_ids.to_pylist()
    named = zip(pairs.pair_queries.tolist(), pairs.pair_positives.tolist(), strict=True)
    pair_row = {(query, ids[positive]): row for row, (query, positive) in enumerate(named)}
    groups: dict[str, BoolArray] = {}
    for record in source.to_pylist():
        query, values = place.get(record["query"]), record[column]
        if query is None or values is None:
            continue
        if table == positives[0]:
            rows = slice(pair_row[query, record["entity_id"]], pair_row[query, record["entity_id"]] + 1)
        else:
            rows = slice(first[query], first[query + 1])
        for value in values if isinstance(values, list) else [values]:
            groups.setdefault(str(value), np.zeros(len(pairs.pair_queries), dtype=bool))[rows] = True
    return {name: groups[name] for name in _names(groups, chosen, table, column)}, f"{table}.{column}"


def _by_frequency(rows: pa.Table, pairs: EvaluationPairs) -> dict[str, BoolArray]:
    counts = Counter(rows["query"].to_pylist())
    strata = head_and_tail(counts)
    of_query = {query: name for name, queries in strata.items() for query in queries}
    named = np.array([of_query.get(query, "between") for query in pairs.queries])
    return {name: named[pairs.pair_queries] == name for name in ("head", "between", "tail")}


def _by_title(dataset: Dataset, table: str, pairs: EvaluationPairs) -> dict[str, BoolArray]:
    dataset.require(table, "id", "title")
    titled = np.zeros(len(pairs.entity_ids), dtype=bool)
    for batch in dataset.batches(table, ["id", "title"]):
        rows = pc.index_in(batch.column("id").cast(pa.string()), pairs.entity_ids)
        has = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(batch.column("title").cast(pa.string())), ""), False)
        kept = pc.and_(pc.is_valid(rows), has)
        titled[rows.filter(kept).to_numpy()] = True
    members: BoolArray = titled[pairs.pair_positives]
    return {"with a title": members, "without a title": ~members}


def _names(groups: dict[str, BoolArray], chosen: tuple[str, ...] | None, table: str, column: str) -> list[str]:
    """The groups to show: those chosen, or all that hold a pair, the largest first."""
    held = {name: int(members.sum()) for name, members in groups.items() if members.any()}
    names = list(chosen or sorted(held, key=lambda name: (-held[name], name)))
    unknown = next((name for name in names if name not in held), None)
    if unknown is not None:
        raise DataError(
            f"no evaluated pair has '{unknown}' in {table}.{column}; --groups may name {', '.join(sorted(held))}"
        )
    return names


def _group_source(dataset: Dataset, name: str, rows: pa.Table, by: str) -> tuple[pa.Table, str, str]:
    """The rows, table and column that tell the groups: of the pair itself before its query's, lists before one value.

    A list stands under the name asked for or under its plural: `language` also means `languages`.
    """
    plural = f"{by}s"
    if by in rows.column_names:
        return rows.select(["query", "entity_id", by]), name, by
    if plural in rows.column_names:
        return rows.select(["query", "entity_id", plural]), name, plural
    for column in (plural, by):
        if dataset.has_column("queries", column):
            return dataset.read("queries", ["query", column]), "queries", column
    known = sorted({*rows.column_names} - {"query", "entity_id", "entity_type", "timestamp"})
    raise DataError(
        f"neither {name} nor queries of {dataset.path} has a column '{by}' to group by; the {name} have "
        f"{', '.join(known)}"
    )
