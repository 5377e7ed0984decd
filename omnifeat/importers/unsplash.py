"""Unsplash's research dataset, Lite or Full: photos as pins, collections as boards, search conversions as engagements.

Tables come in numbered parts (`photos.tsv000`, `photos.tsv001`, or `.csv000` with tabs all the same). All of them
stream through, see `staging`: the Full dataset has some 25 GB.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.errors import DataError
from omnifeat.importers.blurhash import decode_blurhashes
from omnifeat.importers.delimited import DelimitedTable
from omnifeat.importers.judged import with_notes
from omnifeat.importers.plain_text import HUMAN_TEXT, collapsed, plain_texts
from omnifeat.importers.sources import ImportResult, source_folder
from omnifeat.importers.splitting import hash_split
from omnifeat.importers.staging import MEMORY_LIMIT, Staging
from omnifeat.importers.unsplash_keywords import KEYWORD_COLUMNS, NO_PHOTO, Keywords, stage_keywords

__all__ = ["import_unsplash"]

TABLES = ("photos", "keywords", "collections", "conversions")
BLUR_WIDTH = BLUR_HEIGHT = 4
_FILE = re.compile(r"(photos|keywords|collections|conversions|colors)\.([ct]sv)(\d*)")
_ACTIONS = {"download": "save"}

# column of the pins: column of the file
_TEXTS = {
    "description": "photo_description",
    "caption": "ai_description",
    "image_url": "photo_image_url",
    "photo_url": "photo_url",
    "photographer": "photographer_username",
    "location": "photo_location_name",
    "location_country": "photo_location_country",
    "location_city": "photo_location_city",
    "landmark": "ai_primary_landmark_name",
    "submitted_at": "photo_submitted_at",
}
_REQUIRED = [
    "photo_id", "photo_url", "photo_image_url", "photo_submitted_at", "photographer_username", "ai_description",
    "ai_primary_landmark_name",
]  # fmt: skip
# of each table, the columns that must be there, and those that older releases lack
_COLUMNS: dict[str, tuple[list[str], list[str]]] = {
    "photos": (_REQUIRED, [name for name in [*_TEXTS.values(), "blur_hash"] if name not in _REQUIRED]),
    "keywords": (KEYWORD_COLUMNS, []),
    "collections": (["photo_id", "collection_id", "collection_title", "photo_collected_at"], []),
    "conversions": (
        ["converted_at", "conversion_type", "keyword", "photo_id", "anonymous_user_id", "conversion_country"],
        [],
    ),
}


def import_unsplash(
    source: str | Path,
    out: str | Path,
    *,
    split: HashSplit | TimeSplit | None = None,
    memory_limit: str = MEMORY_LIMIT,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ImportResult:
    """Make a dataset folder from the published part files.

    Tables: `pins` (photos, with `image_embedding` from the BlurHash and the keywords of people and of machines),
    `boards` and `saves` (collections), `queries` and `engagements` (conversions). Only the photos must be there.

    Parameters
    ----------
    source
        Folder with the part files.
    out
        Dataset folder to write.
    split
        Recorded in `dataset.json`; a hash split of the searched text if None.
    memory_limit
        What the checks may hold in memory before they go to disk.
    overwrite
        Replace `out` if it exists.
    advance
        Called with the number of rows read since the last call; what is read twice counts twice.

    Raises
    ------
    SettingError
        The memory limit is no size.
    DataError
        For photos that are missing, parts that are missing or doubled, a broken or empty table, a missing column, text
        that is not UTF-8, a photo id that is missing or stands twice with different contents, a time that is none.
    OutputError
        Where `out` cannot be written.
    """
    folder = source_folder(source)
    files = _part_files(folder)
    if "photos" not in files:
        raise DataError(f"{folder} holds no photos.tsv000 or photos.csv000; give the folder of the unpacked dataset.")
    tables = {name: DelimitedTable(files[name], *_COLUMNS[name]) for name in TABLES if name in files}
    absent = [name for name in (*TABLES, "colors") if name not in files]
    notes = [
        "A conversion is a download of a photo after a search; it is recorded as the action 'save'.",
        "Totals of views and downloads, camera data and colours are not taken.",
    ]
    if absent:
        notes.append(f"The source holds no {', '.join(absent)}.")
    info = DatasetInfo(
        name="unsplash", source="Unsplash research dataset",
        licence="Unsplash data terms: Lite for any internal use, Full non-commercial; no redistribution",
        created_by="omnifeat import unsplash", split=split or hash_split(),
    )  # fmt: skip
    with Staging.open(memory_limit, advance) as staging, DatasetWriter(out, info, overwrite=overwrite) as writer:
        _stage_photos(staging, tables["photos"], notes)
        if "keywords" in tables:
            stage_keywords(staging, tables["keywords"], notes)
        writer.write("pins", _pins(staging, tables["photos"], "keywords" in tables, notes))
        if "collections" in tables and _stage_collections(staging, tables["collections"], notes):
            writer.write("boards", _boards(staging, notes))
            writer.write("saves", _saves(staging, tables["collections"]))
        if "conversions" in tables and _stage_conversions(staging, tables["conversions"], notes):
            writer.write("queries", _queries(staging))
            writer.write("engagements", _engagements(staging, tables["conversions"]))
        with_notes(writer, notes)
    return ImportResult(Path(out), dict(writer.counts), notes)


def _part_files(folder: Path) -> dict[str, list[Path]]:
    """The part files of each table, in order of their numbers."""
    found: dict[str, dict[tuple[str, bool], dict[int, Path]]] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match and path.is_file():
            kind = (match[2], bool(match[3]))
            found.setdefault(match[1], {}).setdefault(kind, {})[int(match[3] or 0)] = path
    files = {}
    for table, kinds in found.items():
        if len(kinds) > 1:
            names = " and ".join(next(iter(parts.values())).name for parts in kinds.values())
            raise DataError(f"{folder} holds {table} twice, as {names}; keep the files of one release.")
        ((kind, parts),) = kinds.items()
        missing = next(number for number in range(len(parts) + 1) if number not in parts)
        if missing < len(parts):
            raise DataError(
                f"{folder / f'{table}.{kind[0]}{missing:03}'} is missing between its parts; fetch it again."
            )
        files[table] = [parts[number] for number in sorted(parts)]
    return files


def _left_out(notes: list[str], counts: Sequence[tuple[int, str]]) -> None:
    for count, what in counts:
        notes.append(f"{count:,} {what} were left out.")


def _stage_photos(staging: Staging, table: DelimitedTable, notes: list[str]) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        row = 1
        for batch in table.batches():
            missing = pc.is_null(batch.column("photo_id"))
            if pc.any(missing).as_py():
                place = table.place(row + pc.index(missing, True).as_py())
                raise DataError(f"{place}: there is no photo_id; fill it in.")
            row += batch.num_rows
            yield batch

    staging.load("photos", batches(), ["photo_id"], table.columns)
    repeated = staging.reject_repeated("photos")
    twice = staging.first_conflict("photos", "photo_id")
    if twice is not None:
        raise DataError(
            f"{table.place(twice[2])}: the photo_id {twice[0]} stands, with other contents, in {table.place(twice[1])} "
            "too; keep one."
        )
    _left_out(notes, [(repeated, "photos that stand again, equal in all columns,")])


def _pins(staging: Staging, table: DelimitedTable, with_keywords: bool, notes: list[str]) -> Iterator[pa.RecordBatch]:
    """Photos in the order of the file, beside their keywords, which come in the same order."""
    with_hash = table.has("blur_hash")
    no_hash = wrong_hash = with_html = 0
    tags = Keywords(staging) if with_keywords else None
    for batch in staging.kept("photos", _numbered(table.batches())):
        row = batch.column("row").to_pylist()
        columns = {"id": batch.column("photo_id")}
        columns |= {name: batch.column(source) for name, source in _TEXTS.items() if name != "submitted_at"}
        for name in HUMAN_TEXT.intersection(columns):
            columns[name], count = plain_texts(columns[name])
            with_html += count
        columns["submitted_at"] = _submitted(table, batch, row)
        if with_hash:
            hashes = batch.column("blur_hash").to_pylist()
            pictures, valid = decode_blurhashes(hashes, BLUR_WIDTH, BLUR_HEIGHT)
            no_hash += sum(text is None for text in hashes)
            wrong_hash += sum(text is not None for text in hashes) - int(valid.sum())
            columns["image_embedding"] = pa.FixedSizeListArray.from_arrays(
                pa.array(pictures.reshape(-1)), pictures.shape[1], mask=pa.array(~valid)
            )
        if tags is not None:
            columns |= tags.of(row)
        yield pa.RecordBatch.from_pydict(columns)
    if with_html:
        notes.append(f"HTML was taken out of {with_html:,} descriptions.")
    if with_hash:
        notes.append(
            f"image_embedding is the BlurHash decoded to {BLUR_WIDTH} x {BLUR_HEIGHT} pixels of red, green and blue "
            f"from 0 to 1; {no_hash:,} photos have no hash and {wrong_hash:,} one that cannot be decoded."
        )
    else:
        notes.append("The photos have no column blur_hash (releases before 1.2.0): there is no image_embedding.")


def _numbered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    row = 1
    for batch in batches:
        yield batch.append_column("row", pa.array(range(row, row + batch.num_rows), pa.int64()))
        row += batch.num_rows


def _submitted(table: DelimitedTable, batch: pa.RecordBatch, rows: Sequence[int]) -> pa.Array:
    texts = batch.column("photo_submitted_at")
    try:
        return table.times("photo_submitted_at", texts, rows[0])
    except DataError:
        for row, position in zip(rows, range(batch.num_rows), strict=True):  # rows may have gaps
            table.times("photo_submitted_at", texts.slice(position, 1), row)
        raise


def _stage_collections(staging: Staging, table: DelimitedTable, notes: list[str]) -> bool:
    kept = ["photo_id", "collection_id", "collection_title"]
    count = staging.load("collections", table.batches(), kept, table.columns)
    repeated = staging.reject_repeated("collections")
    nameless = staging.reject("collections", "t.photo_id IS NULL OR t.collection_id IS NULL")
    dangling = staging.reject("collections", NO_PHOTO)
    _left_out(
        notes,
        [
            (repeated, "collection rows that stand again, equal in all columns,"),
            (nameless, "collection rows without a photo or a collection"),
            (dangling, "collection rows of photos that are not there"),
        ],
    )
    return staging.value("SELECT count(*) FROM collections_out") < count


def _title(texts: pa.Array) -> pa.Array:
    return collapsed(plain_texts(texts)[0])


def _boards(staging: Staging, notes: list[str]) -> Iterator[pa.RecordBatch]:
    kept = "FROM collections t ANTI JOIN collections_out o ON t.row = o.row"
    renamed = staging.value(
        f"SELECT count(*) FROM (SELECT 1 {kept} GROUP BY collection_id HAVING count(DISTINCT collection_title) > 1)"
    )
    notes.append(f"{renamed:,} collections stand under several titles; the first one is their board's.")
    sql = (
        f"SELECT collection_id, min(row) AS first, arg_min(collection_title, row) {kept} "
        "GROUP BY collection_id ORDER BY first"
    )
    for batch in staging.batches(sql):
        yield pa.RecordBatch.from_pydict(
            {"board_id": batch.column(0).cast(pa.string()), "title": _title(batch.column(2).cast(pa.string()))}
        )


def _saves(staging: Staging, table: DelimitedTable) -> Iterator[pa.RecordBatch]:
    for batch in staging.kept("collections", _timed(table, "photo_collected_at")):
        yield pa.RecordBatch.from_pydict(
            {
                "board_id": batch.column("collection_id"),
                "entity_id": batch.column("photo_id"),
                "entity_type": pa.array(["pin"] * batch.num_rows, pa.string()),
                "timestamp": batch.column("time"),
            }
        )


def _timed(table: DelimitedTable, column: str) -> Iterator[pa.RecordBatch]:
    """The batches with their times as `time`."""
    row = 1
    for batch in table.batches():
        yield batch.append_column("time", table.times(column, batch.column(column), row).cast(TIMESTAMP))
        row += batch.num_rows


def _stage_conversions(staging: Staging, table: DelimitedTable, notes: list[str]) -> bool:
    def batches() -> Iterator[pa.RecordBatch]:
        for batch in table.batches():
            yield batch.append_column("query", collapsed(batch.column("keyword")))

    kept = ["photo_id", "query", "conversion_type", "converted_at"]
    count = staging.load("conversions", batches(), kept, table.columns)
    repeated = staging.reject_repeated("conversions")
    other = staging.rows(
        "SELECT conversion_type, count(*) AS n FROM conversions WHERE conversion_type IS NULL OR conversion_type NOT "
        f"IN ({', '.join(repr(name) for name in _ACTIONS)}) GROUP BY conversion_type ORDER BY n DESC, conversion_type"
    )
    names = ", ".join(f"{name or 'none'}: {number:,}" for name, number in other[:5])
    known = ", ".join(repr(name) for name in _ACTIONS)
    unknown = staging.reject("conversions", f"t.conversion_type IS NULL OR t.conversion_type NOT IN ({known})")
    empty = staging.reject("conversions", "t.query IS NULL OR t.converted_at IS NULL OR t.photo_id IS NULL")
    dangling = staging.reject("conversions", NO_PHOTO)
    _left_out(
        notes,
        [
            (repeated, "conversions that stand again, equal in all columns,"),
            (unknown, f"conversions of a type other than download{f' ({names})' if names else ''}"),
            (empty, "conversions without a keyword, a time or a photo"),
            (dangling, "conversions of photos that are not there"),
        ],
    )
    return staging.value("SELECT count(*) FROM conversions_out") < count


def _queries(staging: Staging) -> Iterator[pa.RecordBatch]:
    sql = (
        "SELECT query, min(t.row) AS first FROM conversions t ANTI JOIN conversions_out o ON t.row = o.row "
        "GROUP BY query ORDER BY first"
    )
    for batch in staging.batches(sql):
        yield pa.RecordBatch.from_pydict({"query": batch.column(0).cast(pa.string())})


def _engagements(staging: Staging, table: DelimitedTable) -> Iterator[pa.RecordBatch]:
    for batch in staging.kept("conversions", _timed(table, "converted_at")):
        yield pa.RecordBatch.from_pydict(
            {
                "query": collapsed(batch.column("keyword")),
                "entity_id": batch.column("photo_id"),
                "entity_type": pa.array(["pin"] * batch.num_rows, pa.string()),
                "action": pa.array(
                    [_ACTIONS[kind] for kind in batch.column("conversion_type").to_pylist()], pa.string()
                ),
                "timestamp": batch.column("time"),
                "country": batch.column("conversion_country"),
                "user_id": batch.column("anonymous_user_id"),
            }
        )
