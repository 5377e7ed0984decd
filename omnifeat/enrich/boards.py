"""Board titles of entities: at most ten unique titles of the boards that an entity was saved to (section 3.2.2).

The paper names what a title's score depends on (how often it occurs, how prevalent its words are) and how titles are
ranked (score ascending, word count descending, character length descending), but not the formula. Here, for an entity
e and a title t with the distinct words W:

    prevalence(w) = boards whose title has the word w / boards
                    1 where only one board has it: a word that nobody shares is noise until someone does
    score(e, t)   = mean of prevalence(w) over w in W  /  boards titled t that e was saved to

A low score is good: the words say something special, and several people agree on the title. Only boards with a save
that counts are counted. Titles that are noise fall out, and titles that differ in case, white space, order of words,
punctuation or emoji alone are one title (`omnifeat.enrich.titles`), shown as most boards write it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.checks import check_entity_types
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import TableWriter
from omnifeat.data.locations import PathLike
from omnifeat.data.splits import TimeSplit
from omnifeat.data.unique_ids import refuse_duplicate_ids
from omnifeat.engines import Engine
from omnifeat.enrich.filling import check_out, entity_tables, fill_column
from omnifeat.enrich.lists import write_lists
from omnifeat.enrich.running import Progress, silent, temporary_folder
from omnifeat.enrich.titles import read_title
from omnifeat.errors import SettingError

__all__ = ["BoardsResult", "enrich_boards"]

_BOARDS = pa.schema(
    [
        ("board_id", pa.string()),
        ("title", pa.string()),
        ("key", pa.string()),
        ("words", pa.list_(pa.string())),
    ]
)
_SAVES = pa.schema([("board_id", pa.string()), ("entity_id", pa.string()), ("entity_type", pa.string())])


@dataclass(frozen=True)
class BoardsResult:
    """What `enrich_boards` did.

    Attributes
    ----------
    path
        The new dataset folder.
    rows, filled
        Per table: its rows, and those that have a board title now.
    boards, noisy_boards
        Boards, and those of them whose title is noise.
    saves, late_saves, undated_saves, unknown_boards
        Saves of pins and products; those left out for not being before the held-out part, or for having no time to
        tell it by; and those left out because their board is not in `boards`.
    unknown_entities
        Entities that have titles, but are in no table.
    notes
        Sentences, also in the new `dataset.json`.
    """

    path: str
    rows: dict[str, int]
    filled: dict[str, int]
    boards: int
    noisy_boards: int
    saves: int
    late_saves: int
    undated_saves: int
    unknown_boards: int
    unknown_entities: int
    notes: list[str]


def enrich_boards(
    data: PathLike,
    out: PathLike,
    *,
    engine: Engine,
    top: int = 10,
    copy: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BoardsResult:
    """Write the dataset folder `data` to `out`, with `board_titles` of pins and products filled (section 3.2.2).

    With a split by time and saves that carry times, only saves of the training part count.

    Parameters
    ----------
    top
        Most titles of an entity.
    copy
        Copy the other tables even where they could be linked.

    Raises
    ------
    DataError
        `boards`, `saves` or the table of entities is missing or not what it must be.
    SettingError
        `top` is below 1, or the memory limit is too small.
    OutputError
        `out` stands there already, or cannot be written.
    """
    if top < 1:
        raise SettingError(f"There must be at least one title for each entity, not {top}.")
    check_out(out, overwrite)
    dataset = Dataset.open(data)
    entity_tables(dataset)
    dataset.require("boards", "board_id", "title")
    dataset.require("saves", "board_id", "entity_id", "entity_type")
    refuse_duplicate_ids(dataset, ("boards", "pins", "products"))
    shown = progress or silent
    with temporary_folder() as folder:
        boards, saves, values = folder / "boards.parquet", folder / "saves.parquet", folder / "titles.parquet"
        with shown("boards read", None) as advance:
            noisy = _write_boards(dataset, boards, advance)
        with shown("saves read", None) as advance:
            late, undated, total, notes = _write_saves(dataset, saves, advance)
        tables = {"boards": [boards], "saves": [saves]}
        unknown = engine.rows(
            "SELECT count(*) FROM saves ANTI JOIN boards ON saves.board_id = boards.board_id", tables
        )[0][0]
        write_lists(engine, titles_sql(), tables, values, top)
        notes.insert(0, f"at most {top} titles of the boards that an entity was saved to")
        with shown("entities written", None) as advance:
            filled = fill_column(
                dataset, out, column="board_titles", values=values, engine=engine, folder=folder, notes=notes,
                overwrite=overwrite, copy=copy, advance=advance,
            )  # fmt: skip
    return BoardsResult(
        path=str(out), rows=filled.rows, filled=filled.filled, boards=sum(noisy), noisy_boards=noisy[1], saves=total,
        late_saves=late, undated_saves=undated, unknown_boards=unknown, unknown_entities=filled.unknown, notes=notes,
    )  # fmt: skip


def titles_sql() -> str:
    """(entity_type, entity_id, value): the titles of each entity, best first.

    Tables: `boards` (board_id, title, key, words; key null where the title is noise) and `saves` (board_id, entity_id,
    entity_type). Ties in all three parts of the rank are ordered by the title's bytes.
    """
    return """
    WITH saved AS (SELECT DISTINCT entity_type, entity_id, board_id FROM saves),
    used AS (SELECT * FROM boards WHERE key IS NOT NULL AND board_id IN (SELECT board_id FROM saved)),
    texts AS (SELECT key, title, count(*) AS boards FROM used GROUP BY key, title),
    forms AS (
        SELECT key, title FROM texts QUALIFY row_number() OVER (PARTITION BY key ORDER BY boards DESC, title) = 1
    ),
    key_words AS (SELECT key, unnest(any_value(words)) AS word FROM used GROUP BY key),
    word_boards AS (SELECT word, count(*) AS boards FROM (SELECT unnest(words) AS word FROM used) GROUP BY word),
    total AS (SELECT count(*) AS boards FROM used),
    scored AS (
        -- sums of whole numbers, divided once: no order of adding changes them
        SELECT key, count(*) AS words,
            sum(CASE WHEN w.boards = 1 THEN total.boards ELSE w.boards END)::DOUBLE
                / (count(*) * any_value(total.boards)) AS prevalence
        FROM key_words JOIN word_boards w USING (word) CROSS JOIN total GROUP BY key
    ),
    found AS (
        SELECT entity_type, entity_id, key, count(*) AS boards FROM saved JOIN used USING (board_id) GROUP BY ALL
    )
    SELECT entity_type, entity_id, title AS value
    FROM found JOIN scored USING (key) JOIN forms USING (key)
    ORDER BY entity_type, entity_id, prevalence / found.boards, words DESC, length(title) DESC, title
    """


def _write_boards(dataset: Dataset, path: Path, advance: Callable[[int], None]) -> tuple[int, int]:
    """Write the boards with their titles read; how many say something, and how many are noise."""
    good = bad = 0
    with TableWriter(path, _BOARDS) as writer:
        for batch in dataset.batches("boards", ["board_id", "title"]):
            titles = [read_title(title) for title in batch.column("title").to_pylist()]
            columns = [
                batch.column("board_id"),
                pa.array([title and title.text for title in titles], pa.string()),
                pa.array([title and title.key for title in titles], pa.string()),
                pa.array([title and title.words for title in titles], pa.list_(pa.string())),
            ]
            writer.write(pa.record_batch(columns, schema=_BOARDS))
            noise = sum(title is None for title in titles)
            good, bad = good + len(titles) - noise, bad + noise
            advance(batch.num_rows)
    return good, bad


def _write_saves(dataset: Dataset, path: Path, advance: Callable[[int], None]) -> tuple[int, int, int, list[str]]:
    """Write the saves of pins and products that count; how many are late, how many undated, how many there are."""
    split, notes = dataset.info.split, []
    by_time = isinstance(split, TimeSplit)
    timed = dataset.has_column("saves", "timestamp")
    columns: Sequence[str] = _SAVES.names
    if by_time and timed:
        columns = [*_SAVES.names, "timestamp"]
    elif by_time:
        notes.append("saves carry no times, so that those of the held-out part could not be left out")
    late = undated = total = 0
    first_row = 1
    with TableWriter(path, _SAVES) as writer:
        for batch in dataset.batches("saves", columns):
            check_entity_types(batch.column("entity_type"), dataset.place("saves"), first_row)
            first_row += batch.num_rows
            advance(batch.num_rows)
            rows = batch.filter(pc.not_equal(batch.column("entity_type"), "query"))
            total += rows.num_rows
            if isinstance(split, TimeSplit) and timed:
                undated += rows.column("timestamp").null_count
                rows = rows.filter(pc.is_valid(rows.column("timestamp")))
                times = pa.record_batch([rows.column("timestamp")], names=[split.column])
                before = rows.filter(pc.equal(split.assign(times), "train"))
                late += rows.num_rows - before.num_rows
                rows = before
            writer.write(rows.select(_SAVES.names))
    if late:
        notes.append(f"{late:,} saves that are not of the training part were left out")
    if undated:
        notes.append(f"{undated:,} saves without a time were left out, for they could be of the held-out part")
    return late, undated, total, notes
