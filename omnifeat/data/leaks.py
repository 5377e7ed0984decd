"""Look for what the recorded split holds out in what goes into the encoders and rankers.

An entity's `engaged_queries` are part of its input. If they hold a query of the development or test part, the pair to
be predicted stands in the input, and what is measured is worth nothing. The same goes, more faintly, for board titles
of later saves, for counts over the whole log, and for vectors of a graph that later saves went into.
"""

from __future__ import annotations

import shlex

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.leak_remedies import ENRICH_QUERIES, remedy_by_provenance
from omnifeat.data.leaks_boards import add_board_title_leaks
from omnifeat.data.leaks_counts import add_count_leaks
from omnifeat.data.problems import Problem, ProblemList
from omnifeat.data.provenance import provenance_of
from omnifeat.data.relations import IdStore
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.data.splits import HashSplit, TimeSplit, split_key
from omnifeat.errors import DataError

__all__ = ["add_leaks", "require_split"]

_TABLES = {table: entity_type for entity_type, (table, _) in ENTITY_TABLES.items() if entity_type != "query"}


def add_leaks(dataset: Dataset, store: IdStore, problems: ProblemList) -> None:
    """Add a problem for each piece of evidence of what the recorded split holds out.

    Engaged queries:

    - Split by a hash of the query: every engaged query whose text falls in the development or test part.
    - Split by time: every engaged query that the log has for the entity, and first has at or after the start of the
      development part.
    - Split by a hash of another column: every engaged query that the log has for the entity in held-out rows alone.

    Board titles: see `omnifeat.data.leaks_boards`. Features named `f_*`: see `omnifeat.data.leaks_counts`. Columns with
    a recorded provenance, split by time: those that rows from the start of the development part on went into, or rows
    without a time.

    Raises
    ------
    DataError
        `dataset.json` records no split, or the log lacks what the split needs.
    """
    split = require_split(dataset)
    _add_by_provenance(dataset, split, problems)
    add_board_title_leaks(dataset, store, split, problems)
    add_count_leaks(dataset, store, split, problems)
    tables = [table for table in _TABLES if dataset.has_column(table, "engaged_queries")]
    if not tables:
        return
    by_text = isinstance(split, HashSplit) and split.column == "query"
    if not by_text:
        _store_log(dataset, store, split)
    for table in tables:
        if isinstance(split, HashSplit) and by_text:
            _add_by_text(dataset, table, split, problems)
        else:
            _add_by_log(dataset, table, store, split, problems)


def require_split(dataset: Dataset) -> HashSplit | TimeSplit:
    """The recorded split, without which no leak can be told.

    Raises
    ------
    DataError
        `dataset.json` records none.
    """
    split = dataset.info.split
    if split is None:
        raise DataError(
            f"{dataset.path} records no split in dataset.json, so that no leak can be told: record one with "
            f"`omnifeat pairs {shlex.quote(str(dataset.path))} -o OUT`"
        )
    return split


def _add_by_provenance(dataset: Dataset, split: HashSplit | TimeSplit, problems: ProblemList) -> None:
    """Columns that say themselves that they were made from rows after the split."""
    if not isinstance(split, TimeSplit):
        return  # no time tells what a split by hash holds out
    since = f"{split.development_from:%Y-%m-%d %H:%M}"
    for table in dataset.tables():
        for file, column, made in provenance_of(dataset, table):
            if made.known_by(split.development_from):
                continue
            read = ", ".join(made.reads) or "rows"
            if made.last is not None and made.last >= split.development_from:
                why = f"from {read} up to {made.last:%Y-%m-%d %H:%M}, but the development part starts at {since}"
            else:
                why = f"from {read} of which {made.undated:,} rows bear no time, so that they may lie after {since}"
            message = f"{file}, column '{column}' was made by {made.made_by} {why}: make it again from earlier rows"
            problems.add(Problem("leak", table, column, None, None, message, remedy_by_provenance(made)))


def _engaged(dataset: Dataset, table: str) -> list[str]:
    dataset.require(table, "id", "engaged_queries")
    return ["id", "engaged_queries"]


def _flat(batch: pa.RecordBatch) -> tuple[np.ndarray, pa.Array]:
    """Row of each engaged query in the batch, and its text; nulls are left out."""
    lists = batch.column("engaged_queries")
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(batch.num_rows), lengths)
    texts = lists.flatten()
    there = pc.is_valid(texts)
    return rows[there.to_numpy(zero_copy_only=False)], texts.filter(there)


def _add_by_text(dataset: Dataset, table: str, split: HashSplit, problems: ProblemList) -> None:
    first_row = 1
    for batch in dataset.batches(table, _engaged(dataset, table)):
        rows, texts = _flat(batch)
        parts = split.assign(pa.table({split.column: texts}))
        held_out = np.flatnonzero(pc.not_equal(parts, "train").to_numpy(zero_copy_only=False))
        shown = []
        for place in held_out[: problems.most].tolist():
            row = int(rows[place])
            found = batch.column("id")[row].as_py()
            query, part = texts[place].as_py(), parts[place].as_py()
            shown.append(
                _leak(dataset, table, first_row + row, found, query, f"whose text the split puts in its {part} part")
            )
        problems.add_all(shown, len(held_out))
        first_row += batch.num_rows


def _store_log(dataset: Dataset, store: IdStore, split: HashSplit | TimeSplit) -> None:
    """The log's pairs, each with whether the split holds its row out."""
    columns = list(dict.fromkeys(["query", "entity_id", "entity_type", split.column]))
    # the whole log: pairs chosen from it may lack what was known before the split
    name = dataset.log_table()
    dataset.require(name, *columns)
    for batch in dataset.batches(name, columns):
        if isinstance(split, TimeSplit):
            # the gap before the development part is not held out: what it holds was known by then
            held_out = pc.greater_equal(batch.column(split.column), pa.scalar(split.development_from))
        else:
            held_out = pc.is_in(split.assign(batch), pa.array(["development", "test"]))
        store.insert(
            "log",
            {
                "entity_type": batch.column("entity_type"),
                "entity_id": batch.column("entity_id"),
                "query_key": _keys(batch.column("query")),
                "held_out": held_out,
            },
        )
    store.query(
        "CREATE TABLE held_out AS SELECT entity_type, entity_id, query_key FROM log "
        "GROUP BY ALL HAVING bool_and(held_out)"
    )


def _add_by_log(
    dataset: Dataset, table: str, store: IdStore, split: HashSplit | TimeSplit, problems: ProblemList
) -> None:
    name = f"engaged_{table}"
    first_row = 1
    for batch in dataset.batches(table, _engaged(dataset, table)):
        rows, texts = _flat(batch)
        columns = {
            "row": pa.array(rows + first_row),
            "id": batch.column("id").take(pa.array(rows)),
            "query": texts,
            "query_key": _keys(texts),
        }
        store.insert(name, columns)
        first_row += batch.num_rows
    leaks = (
        f"FROM {name} e JOIN held_out h ON h.entity_id = e.id AND h.query_key = e.query_key "
        f"WHERE h.entity_type = '{_TABLES[table]}'"
    )
    count = store.query(f"SELECT count(*) {leaks}")[0][0]
    why = "which the log has for it in held-out rows alone"
    if isinstance(split, TimeSplit):
        since = f"{split.development_from:%Y-%m-%d %H:%M}"
        why = f"which the log has for it only from {since} on, the development part's start"
    shown = [
        _leak(dataset, table, row, found, query, why)
        for row, found, query in store.query(f"SELECT row, id, query {leaks} ORDER BY row, query LIMIT {problems.most}")
    ]
    problems.add_all(shown, count)


def _leak(dataset: Dataset, table: str, row: int, found: str, query: str, why: str) -> Problem:
    message = (
        f"{dataset.place(table)}, row {row} (id '{found}'): the engaged query '{query}', {why}, leaks: leave it out"
    )
    return Problem("leak", table, "engaged_queries", row, found, message, ENRICH_QUERIES)


def _keys(texts: pa.Array) -> pa.Array:
    encoded = texts.dictionary_encode()
    keys = pa.array([split_key(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return keys.take(encoded.indices)
