"""Look for board titles that an entity has from saves, or from boards, of after a split by time.

A title of an entity is held out

- if boards of that title hold the entity, each of them by saves from the start of the development part on alone; or
- if no board of that title holds it, and all boards of that title that have saves have them from then on alone.

A title that no board bears, or whose saves bear no times, tells nothing. Titles are compared by their words: an
enrichment that takes near-duplicates for one shows them as most boards write them. Other splits say nothing of saves.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.leak_remedies import ENRICH_BOARDS
from omnifeat.data.problems import Problem, ProblemList
from omnifeat.data.relations import IdStore
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.data.title_words import title_key

__all__ = ["add_board_title_leaks"]


def add_board_title_leaks(
    dataset: Dataset, store: IdStore, split: HashSplit | TimeSplit, problems: ProblemList
) -> None:
    """Add a problem for each board title that the saves have for its entity only after the split.

    Raises
    ------
    DataError
        A table that is needed cannot be read.
    """
    kinds = {table: kind for kind, (table, _) in ENTITY_TABLES.items() if kind != "query"}
    tables = [table for table in kinds if dataset.has_column(table, "board_titles")]
    there = dataset.has_column("boards", "title") and dataset.has_column("saves", "timestamp")
    if not isinstance(split, TimeSplit) or not tables or not there:
        return
    _store_saves(dataset, store, split)
    since = f"{split.development_from:%Y-%m-%d %H:%M}"
    for table in tables:
        dataset.require(table, "id", "board_titles")
        _store_titles(dataset, store, table)
        leaks = (
            f"FROM titles_{table} t LEFT JOIN entity_titles own "
            f"ON own.entity_type = '{kinds[table]}' AND own.entity_id = t.id AND own.title_key = t.title_key "
            "LEFT JOIN title_boards boards ON boards.title_key = t.title_key "
            "WHERE NOT coalesce(own.known, boards.known, true)"
        )
        count = store.query(f"SELECT count(*) {leaks}")[0][0]
        listed = f"SELECT row, id, title, own.known {leaks} ORDER BY row, title LIMIT {problems.most}"
        shown = []
        for row, found, title, own in store.query(listed):
            whose = "of boards that hold it" if own is not None else "of boards that have saves"
            message = (
                f"{dataset.place(table)}, row {row} (id '{found}'): the board title '{title}', {whose} only from "
                f"{since} on, the development part's start, leaks: leave it out"
            )
            shown.append(Problem("leak", table, "board_titles", row, found, message, ENRICH_BOARDS))
        problems.add_all(shown, count)


def _store_saves(dataset: Dataset, store: IdStore, split: TimeSplit) -> None:
    for batch in dataset.batches("boards", ["board_id", "title"]):
        store.insert("board_keys", {"board_id": batch.column("board_id"), "title_key": _keys(batch.column("title"))})
    columns = ["board_id", "entity_type", "entity_id", "timestamp"]
    dataset.require("saves", *columns)
    for batch in dataset.batches("saves", columns):
        # of a save without a time nobody can say that it came later
        known = pc.fill_null(pc.less(batch.column("timestamp"), pa.scalar(split.development_from)), True)
        store.insert("board_saves", {name: batch.column(name) for name in columns[:3]} | {"known": known})
    store.query(
        "CREATE TABLE entity_titles AS SELECT entity_type, entity_id, title_key, bool_or(known) AS known "
        "FROM board_saves JOIN board_keys USING (board_id) GROUP BY ALL"
    )
    store.query(
        "CREATE TABLE title_boards AS SELECT title_key, bool_or(known) AS known "
        "FROM board_saves JOIN board_keys USING (board_id) GROUP BY ALL"
    )


def _store_titles(dataset: Dataset, store: IdStore, table: str) -> None:
    first_row = 1
    for batch in dataset.batches(table, ["id", "board_titles"]):
        lists = batch.column("board_titles")
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        rows = np.repeat(np.arange(batch.num_rows), lengths)
        texts = lists.flatten()
        columns = {
            "row": pa.array(rows + first_row),
            "id": batch.column("id").take(pa.array(rows)),
            "title": texts,
            "title_key": _keys(texts),
        }
        store.insert(f"titles_{table}", columns)
        first_row += batch.num_rows


def _keys(texts: pa.Array) -> pa.Array:
    encoded = texts.dictionary_encode()
    keys = pa.array([None if text is None else title_key(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return keys.take(encoded.indices)
