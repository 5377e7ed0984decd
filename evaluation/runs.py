"""Runs: tables of (query, entity) rows with scores, such as a ranker's output, checked before anything is measured.

What would otherwise give figures without meaning is refused here, in one sentence: a rank taken for a score, a column
of scores that one word made text, a pair that stands twice, a run that shares nothing with what it is measured on.

Shape: R rows of the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.entity_types import type_texts
from omnifeat.data.files import read_schema, read_table
from omnifeat.data.id_texts import id_texts
from omnifeat.data.meeting import nothing_shared
from omnifeat.data.number_texts import is_number_type, meant_as_numbers, no_number_message
from omnifeat.data.trec import is_trec_file, read_run, read_topics
from omnifeat.errors import DataError
from omnifeat.feature_columns import UNSCORED, is_trained_on

__all__ = ["Run", "checked_run", "read_run_table", "refuse_nothing_shared", "score_columns", "with_query_texts"]

# of these 1 is the best: they order a run, but the other way round
_ORDERS = {"rank", "position", "pos", "order"}
_INDEXES = {"index", "unnamed: 0", "__index_level_0__", "row", "#"}  # numbers of rows, as data frames write them
_NOT_SCORES = {"query", "query_id", "qid", "entity_id", "entity_type", "grade", "fold", "timestamp"}
_QUERY_IDS = ("query_id", "qid")
_SHOWN = 100_000  # distinct values looked at to say in what two tables differ

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A run that can be measured.

    Attributes
    ----------
    name
        What messages call it.
    rows
        Of the table that it was made of, int64 (R,).
    queries, entity_ids
        Texts (R,), none null; each pair stands once.
    scores
        Column -> float64 (R,), higher is better, NaN where there is no finite score: such rows stand last.
    unscored
        Column -> rows without a finite score.
    notes
        Sentences on what was left out or turned round.
    """

    name: str
    rows: npt.NDArray[np.int64]
    queries: pa.LargeStringArray
    entity_ids: pa.LargeStringArray
    scores: dict[str, FloatArray]
    unscored: dict[str, int]
    notes: tuple[str, ...] = ()


def read_run_table(path: str) -> pa.Table:
    """A run from a table of any format, or from a TREC run (`.trec`, `.run`, `.txt`), which has `query_id`."""
    return read_run(path) if is_trec_file(path) else read_table(path, by_name="keys")


def with_query_texts(run: pa.Table, name: str, dataset: Dataset, queries: str | None = None) -> pa.Table:
    """The run with a column `query`, where it has ids of queries alone.

    Parameters
    ----------
    queries
        Path of a table of `query_id` and `query`, or of TREC topics; null for the dataset's judgments and queries,
        where they have `query_id`. Ids that are themselves judged texts need none of these.

    Raises
    ------
    DataError
        The run has neither; nothing says the texts; or no id of the run has one.
    """
    column = next((one for one in _QUERY_IDS if one in run.column_names), None)
    if "query" in run.column_names or column is None:
        return run
    ids = id_texts(run[column], f"{name}: column '{column}'")
    source, texts = _texts_of_ids(dataset, queries)
    if not texts:
        judged = pa.array([], pa.string())
        if dataset.has("judgments"):
            judged = id_texts(dataset.read("judgments", ["query"])["query"], "judgments")
        if not pc.any(pc.is_in(ids, judged)).as_py():
            raise DataError(
                f"{name} names queries by '{column}', and nothing says their texts: give --queries with a table of "
                "query_id and query, or TREC topics"
            )
        return run.append_column("query", ids)
    found = pc.index_in(ids, pa.array(list(texts), pa.large_string()))
    if found.null_count == len(found):
        raise DataError(nothing_shared(column, name, _some(ids), source, list(texts)[:_SHOWN]))
    return run.append_column("query", pa.array(list(texts.values()), pa.large_string()).take(found))


def _texts_of_ids(dataset: Dataset, queries: str | None) -> tuple[str, dict[str, str]]:
    if queries is not None:
        if is_trec_file(queries) or _are_topics(queries):
            return queries, read_topics(queries)
        return queries, _mapping(read_table(queries), queries)
    for table in ("judgments", "queries"):
        if dataset.has(table) and dataset.has_column(table, "query_id"):
            where = str(dataset.place(table))
            return where, _mapping(dataset.read(table, ["query_id", "query"]), where)
    return "", {}


def _are_topics(path: str) -> bool:
    """Whether a `.tsv` or `.jsonl` is no table of `query_id` and `query` but topics, as TREC and BEIR write them.

    Topics have no header: a first line that does not name the two columns is one.
    """
    if not path.lower().removesuffix(".gz").endswith((".tsv", ".jsonl", ".ndjson")):
        return False
    return not {"query_id", "query"} & set(read_schema(path).names)


def _mapping(table: pa.Table, where: str) -> dict[str, str]:
    for column in ("query_id", "query"):
        if column not in table.column_names:
            raise DataError(f"{where} has no column '{column}'; its columns are {', '.join(table.column_names)}")
    texts: dict[str, str] = {}
    ids = (id_texts(table[column], f"{where}: column '{column}'").to_pylist() for column in ("query_id", "query"))
    for identifier, text in zip(*ids, strict=True):
        if identifier is None or text is None:
            continue
        if texts.setdefault(identifier, text) != text:
            raise DataError(f"{where}: the query_id {identifier!r} has two texts, {texts[identifier]!r} and {text!r}")
    return texts


def score_columns(run: pa.Table, asked: Sequence[str] | None, name: str = "the run") -> list[str]:
    """The score columns that are asked for, or all numeric ones but those that say an order, an id or a time.

    Raises
    ------
    DataError
        If query or entity_id or a column that is asked for is not there or no number, no column is numeric, or a text
        column was meant as numbers.
    """
    there = run.column_names
    for column in ("query", "entity_id", *(asked or ())):
        if column not in there:
            raise DataError(f"{name} has no column '{column}'; its columns are {', '.join(there)}")
    for column in there if asked is None else asked:
        kind = run[column].type
        if asked is not None and not is_number_type(kind) and not pa.types.is_boolean(kind):
            raise DataError(no_number_message(run[column], f"{name}, column '{column}'"))
        if asked is None and _may_score(column) and meant_as_numbers(run[column]):
            raise DataError(
                f"{no_number_message(run[column], f'{name}, column {column!r}')}; or name the score columns with "
                "--columns (--run-columns)"
            )
    if asked is not None:
        return list(asked)
    found = [field.name for field in run.schema if _may_score(field.name) and is_number_type(field.type)]
    if not found:
        orders = [column for column in there if _is_order(column)]
        if orders:
            raise DataError(
                f"{name} has no score column but '{orders[0]}', of which 1 is the best; name it with --columns "
                f"(--run-columns) {orders[0]} to measure that order"
            )
        raise DataError(f"{name} has no numeric score column; its columns are {', '.join(there)}")
    return found


def _may_score(column: str) -> bool:
    told = is_trained_on(column) or column.endswith(UNSCORED) or column.casefold() in _INDEXES
    return not told and column not in _NOT_SCORES and not _is_order(column) and not column.endswith(("_id", "_key"))


def _is_order(column: str) -> bool:
    """Whether a column's name says that 1 is the best of it."""
    name = column.casefold()
    return name in _ORDERS or name.endswith(("_rank", "_position"))


def checked_run(
    run: pa.Table, asked: Sequence[str] | None = None, name: str = "the run", entity_type: str | None = None
) -> Run:
    """A run's queries, entities and scores.

    Parameters
    ----------
    run
        `query`, `entity_id`, scores, and perhaps `entity_type`.
    asked
        Score columns; null for all numeric ones (see `score_columns`).
    entity_type
        Only rows of this type, and those that don't say theirs; null for all.

    Raises
    ------
    DataError
        As `score_columns`; or a query or id is no text, or a pair stands twice.
    """
    columns = score_columns(run, asked, name)
    types = (
        type_texts(run["entity_type"], f"{name}: column 'entity_type'") if "entity_type" in run.column_names else None
    )
    queries, ids = (id_texts(run[one], f"{name}: column '{one}'") for one in ("query", "entity_id"))
    rows = np.arange(run.num_rows)
    notes = []
    if entity_type is not None and types is not None:
        same = pc.fill_null(pc.equal(types, entity_type), True)
        rows = np.flatnonzero(same.to_numpy(zero_copy_only=False))
        if len(rows) < run.num_rows:
            notes.append(f"{run.num_rows - len(rows):,} rows of {name} of other entity types are left out")
    taken = pa.array(rows)
    queries, ids = queries.take(taken), ids.take(taken)
    missing = pc.or_(pc.is_null(queries), pc.is_null(ids)).to_numpy(zero_copy_only=False)
    if missing.any():
        notes.append(f"{int(missing.sum()):,} rows of {name} without a query or entity_id are left out")
        rows = rows[~missing]
        queries, ids = queries.filter(pa.array(~missing)), ids.filter(pa.array(~missing))
    _refuse_repeats(queries, ids, types, rows, name)
    scores = {column: _scores(run, column, rows) for column in columns}
    notes += [f"'{column}' of {name} is an order, of which 1 is the best" for column in columns if _is_order(column)]
    others = [
        column
        for column in run.column_names
        if asked is None and column not in columns and (_may_score(column) or _is_order(column))
    ]
    if others:
        notes.append(f"columns of {name} that are no scores: {', '.join(others)}")
    unscored = {column: int(np.isnan(values).sum()) for column, values in scores.items()}
    return Run(name, rows, queries, ids, scores, unscored, tuple(notes))


def _refuse_repeats(
    queries: pa.Array, ids: pa.Array, types: pa.Array | None, rows: npt.NDArray[np.int64], name: str
) -> None:
    """Refuse a pair that stands twice. `rows` (R,) are those of the table; `types` has all of them, the others (R,)."""
    codes = [pc.dictionary_encode(column).indices.to_numpy().astype(np.int64) for column in (queries, ids)]
    pairs = codes[0] * (int(codes[1].max(initial=0)) + 1) + codes[1]
    _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(pairs)))
    if len(again):
        row = int(again[0])
        here, there = int(rows[row]), int(rows[first[inverse[row]]])
        kinds = [None, None] if types is None else [types[there].as_py(), types[here].as_py()]
        if kinds[0] != kinds[1]:
            one, other = (f"a {kind}" if kind else "an entity without a type" for kind in kinds)
            raise DataError(
                f"{name} scores the id '{ids[row].as_py()}' for the query '{queries[row].as_py()}' as {one} in row "
                f"{there + 1} and as {other} in row {here + 1}, which ids alone don't tell apart; measure one type "
                f"at a time with --entity-type {kinds[0] or kinds[1]}"
                + ("" if all(kinds) else ", and give each row its entity_type")
            )
        raise DataError(
            f"row {here + 1} of {name} repeats the pair of query '{queries[row].as_py()}' and entity "
            f"'{ids[row].as_py()}' in row {there + 1}; keep one row for each pair"
        )


def _scores(run: pa.Table, column: str, rows: npt.NDArray[np.int64]) -> FloatArray:
    values = pc.cast(run[column], pa.float64(), safe=False).to_numpy()[rows].astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    return -values if _is_order(column) else values


def refuse_nothing_shared(run: Run, queries: pa.Array, entity_ids: pa.Array, there: str) -> None:
    """Refuse a run that has no query, or for these queries no entity, of what it is measured on.

    Raises
    ------
    DataError
        Shows how each side writes them.
    """
    known = pc.is_in(run.queries, pc.cast(queries, pa.large_string()))
    if not pc.any(known).as_py():
        raise DataError(nothing_shared("query", run.name, _some(run.queries), there, _some(queries)))
    of_known = run.entity_ids.filter(known)
    if not pc.any(pc.is_in(of_known, pc.cast(entity_ids, pa.large_string()))).as_py():
        raise DataError(nothing_shared("entity_id", run.name, _some(of_known), there, _some(entity_ids)))


def _some(column: pa.Array | pa.ChunkedArray) -> list[str]:
    found: list[str] = pc.unique(column).drop_null().slice(0, _SHOWN).to_pylist()
    return found
