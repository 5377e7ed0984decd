"""Pictures of entities through a model: read, encoded in batches, kept in parts so that a killed run goes on.

Rows that are to be encoded are taken in the table's order, `PART_ROWS` at a time. The results of each such part are
written, whole, to a file whose name holds a digest of the settings and of the part's ids and paths. A later run
over the same rows with the same settings finds the file and takes the results from it; changed rows or settings have
another name, so that nothing stale is ever taken.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.files import read_table
from omnifeat.data.locations import PathLike, is_url, join, local_path, locate, one_line
from omnifeat.data.locks import working_in
from omnifeat.data.provenance import Provenance
from omnifeat.data.unique_ids import refuse_duplicate_ids
from omnifeat.data.writing import TableWriter, output_error
from omnifeat.enrich.carry import enriched_dataset
from omnifeat.enrich.columns import filled_batches
from omnifeat.errors import DataError, OmnifeatError

__all__ = ["PART_ROWS", "PictureColumn", "PicturesResult", "fill_from_pictures", "read_picture"]

PART_ROWS = 1_024
# what pillow's readers raise for bytes that are no picture of their format
_BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, ArithmeticError, RuntimeError, TypeError, struct.error,
    zlib.error,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PictureColumn:
    """A column that a model fills from pictures.

    Attributes
    ----------
    name, type
        Of the column.
    command
        What stands in messages, in the name of the list of broken images, and in the column's provenance.
    settings
        Everything that the values depend on besides the pictures.
    load
        Loads the model: called once, and only if there is a picture to encode. It gives a function from RGB pictures
        of PIL, at most `batch_size` of them, to as many values, null where the model gives none.
    mixable
        Whether values of two sources may stand in the column; if not, doing it again leaves no old value.
    batch_size
        Pictures that the model takes at once.
    """

    name: str
    type: Any
    command: str
    settings: Mapping[str, str | int | float | None]
    load: Callable[[], Callable[[Sequence[Any]], Sequence[Any]]]
    mixable: bool = True
    batch_size: int = 16


@dataclass
class PicturesResult:
    """What was done, per table.

    Attributes
    ----------
    encoded
        Pictures encoded in this run.
    resumed
        Pictures that an earlier run, which did not end, had encoded.
    kept
        Entities that had a value and kept it.
    without
        Entities without a picture and without a value.
    empty
        Pictures for which the model gave no value.
    broken
        (table, id, path, what is wrong) of each picture that could not be read.
    """

    path: Path
    encoded: dict[str, int] = field(default_factory=dict)
    resumed: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    without: dict[str, int] = field(default_factory=dict)
    empty: dict[str, int] = field(default_factory=dict)
    broken: list[tuple[str, str, str, str]] = field(default_factory=list)
    broken_file: Path | None = None


def read_picture(path: str) -> Any:
    """A picture as an upright RGB image of PIL; transparent parts are white, of an animation the first frame.

    Of 16 bits a sample the upper eight are taken, where pillow would make white of all that is brighter.

    Raises
    ------
    DataError
        There is no such file, or it is not a whole picture of a format that pillow reads.
    """
    from PIL import Image, ImageOps

    try:
        with locate(path).open() as file:
            content = file.read()
        with Image.open(io.BytesIO(content)) as opened:
            opened.load()
            picture = ImageOps.exif_transpose(opened)
        return _opaque(picture)
    except OmnifeatError:
        raise
    except (*_BROKEN, Image.DecompressionBombError) as error:
        # what pillow says of the bytes names the buffer, not the file
        reason = "not a picture that pillow reads" if "BytesIO" in str(error) else one_line(error)
        raise DataError(f"{path} cannot be read: {reason}") from error


def _opaque(picture: Any) -> Any:
    from PIL import Image

    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, layered)
    return picture.convert("RGB")


def fill_from_pictures(
    dataset: Dataset,
    out: PathLike,
    column: PictureColumn,
    *,
    tables: Sequence[str],
    images: PathLike | None = None,
    redo: bool = False,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> PicturesResult:
    """Write a dataset folder in which a column of `tables` is filled from the pictures at `image_path`.

    Finished parts lie in `.OUT.COMMAND` beside `out` until the run ends. Pictures that cannot be read are listed in
    `COMMAND.broken.csv` inside `out`.

    Parameters
    ----------
    images
        Folder that relative paths start from; the dataset's own if not given.
    redo
        Encode entities that have a value too.
    advance
        Called with the number of pictures done since the last call.

    Raises
    ------
    DataError
        No table has a column `image_path`, or not one of all pictures could be read.
    OutputError
        `out` cannot be written.
    """
    chosen = [table for table in tables if dataset.has_column(table, "image_path")]
    if not chosen:
        raise DataError(
            f"{dataset.path} has no column 'image_path' in {' or '.join(tables)}: add it, with the path of each picture"
        )
    refuse_duplicate_ids(dataset, chosen)
    target = local_path(out)
    work = target.with_name(f".{target.name}.{column.command}")
    result = PicturesResult(target)
    base = images if images is not None else dataset.path
    made = Provenance(
        made_by=f"omnifeat enrich {column.command}", reads=("image_path",), settings=dict(column.settings)
    )
    info = dataset.info.model_copy(update={"created_by": made.made_by})
    broken_name = f"{column.command}.broken.csv"
    with working_in(work, target, keep=False):
        with enriched_dataset(dataset, out, info, replaced={*chosen, broken_name}, overwrite=overwrite) as writer:
            encoder = _Encoder(column, base, work, result, advance)
            for table in chosen:
                for part in _parts(dataset, table, column.name, redo):
                    encoder.ensure(table, part)
            total = sum(result.encoded.values()) + sum(result.resumed.values())
            if result.broken and not total and not any(_any_value(dataset, table, column.name) for table in chosen):
                shutil.rmtree(work, ignore_errors=True)  # once the pictures are there, they are to be tried again
                raise DataError(
                    f"{dataset.path}: not one of {len(result.broken):,} pictures could be read, such as "
                    f"{result.broken[0][3]}: give the folder of the pictures with --images"
                )
            for table in chosen:
                results = _Results(encoder, table, _parts(dataset, table, column.name, redo), column, redo, result)
                writer.write(table, filled_batches(dataset, table, [column.name], results, made))
                result.empty[table] -= sum(row[0] == table for row in result.broken)
            if result.broken:
                _write_broken(writer.folder / broken_name, result.broken)
                result.broken_file = target / broken_name
        shutil.rmtree(work, ignore_errors=True)
    return result


@dataclass(frozen=True)
class _Part:
    """Rows of a table that are to be encoded together."""

    ids: list[str]
    paths: list[str]


def _wanted(batch: pa.RecordBatch, column: str, redo: bool) -> Any:
    """Which rows of a batch are to be encoded: bool array, never null."""
    path = batch.column("image_path")
    has_path = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(path), ""), False)
    if redo or column not in batch.schema.names:
        return has_path
    return pc.and_(has_path, pc.invert(_has_value(batch.column(column))))


def _any_value(dataset: Dataset, table: str, column: str) -> bool:
    if not dataset.has_column(table, column):
        return False
    return any(pc.any(_has_value(batch.column(0))).as_py() for batch in dataset.batches(table, [column]))


def _has_value(array: pa.Array) -> Any:
    if pa.types.is_string(array.type):
        return pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(array), ""), False)
    return pc.is_valid(array)


def _parts(dataset: Dataset, table: str, column: str, redo: bool) -> Iterator[_Part]:
    columns = ["id", "image_path", *([column] if dataset.has_column(table, column) else [])]
    ids: list[str] = []
    paths: list[str] = []
    for batch in dataset.batches(table, columns):
        rows = batch.filter(_wanted(batch, column, redo))
        ids += rows.column("id").to_pylist()
        paths += rows.column("image_path").to_pylist()
        while len(ids) >= PART_ROWS:
            yield _Part(ids[:PART_ROWS], paths[:PART_ROWS])
            ids, paths = ids[PART_ROWS:], paths[PART_ROWS:]
    if ids:
        yield _Part(ids, paths)


class _Encoder:
    """Encodes parts that are not there yet, and reads those that are."""

    def __init__(
        self, column: PictureColumn, base: PathLike, work: Path, result: PicturesResult,
        advance: Callable[[int], None] | None,
    ) -> None:  # fmt: skip
        self._column, self._base, self._work, self._result, self._advance = column, base, work, result, advance
        self._model: Callable[[Sequence[Any]], Sequence[Any]] | None = None
        self._schema = pa.schema([("value", column.type), ("problem", pa.string())])

    def file(self, table: str, part: _Part) -> Path:
        """Where the part's results lie."""
        told = [dict(self._column.settings), self._column.name, str(self._base), table, part.ids, part.paths]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
        return self._work / f"{table}-{digest}.parquet"

    def read(self, table: str, part: _Part) -> pa.Table:
        """The part's results: columns `value` and `problem`, one row for each of its pictures."""
        return read_table(self.file(table, part))

    def ensure(self, table: str, part: _Part) -> None:
        """Encode the part if that is not done yet, and count it."""
        path = self.file(table, part)
        done = path.is_file()
        if not done:
            try:
                self._work.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise output_error(self._work, error) from error
            values, problems = self._encode(part)
            columns = [pa.array(values, self._column.type), pa.array(problems, pa.string())]
            with TableWriter(path, self._schema) as writer:
                writer.write(pa.Table.from_arrays(columns, schema=self._schema))
        rows = self.read(table, part)
        problems = rows["problem"].to_pylist()
        bad = [(table, *row) for row in zip(part.ids, part.paths, problems, strict=True) if row[2] is not None]
        self._result.broken += bad
        counter = self._result.resumed if done else self._result.encoded
        counter[table] = counter.get(table, 0) + len(part.ids) - len(bad)
        if done and self._advance is not None:
            self._advance(len(part.ids))

    def _encode(self, part: _Part) -> tuple[list[Any], list[str | None]]:
        values: list[Any] = [None] * len(part.ids)
        problems: list[str | None] = [None] * len(part.ids)
        size = self._column.batch_size
        for start in range(0, len(part.ids), size):
            rows, pictures = [], []
            for row in range(start, min(start + size, len(part.ids))):
                path = part.paths[row]
                whole = path if is_url(path) or Path(path).is_absolute() else join(self._base, path)
                try:
                    pictures.append(read_picture(whole))
                    rows.append(row)
                except OmnifeatError as error:
                    problems[row] = str(error)
            if pictures:
                if self._model is None:
                    self._model = self._column.load()
                for row, value in zip(rows, self._model(pictures), strict=True):
                    values[row] = value
            if self._advance is not None:
                self._advance(min(start + size, len(part.ids)) - start)
        return values, problems


class _Results:
    """Gives the column's values batch for batch, from the parts and from what was there."""

    def __init__(
        self, encoder: _Encoder, table: str, parts: Iterator[_Part], column: PictureColumn, redo: bool,
        result: PicturesResult,
    ) -> None:  # fmt: skip
        self._encoder, self._table, self._parts, self._redo, self._result = encoder, table, parts, redo, result
        self._name, self._type = column.name, column.type
        self._keeps = column.mixable or not redo
        self._ready = pa.chunked_array([], column.type)
        for counter in (result.kept, result.without, result.empty, result.encoded, result.resumed):
            counter.setdefault(table, 0)

    def __call__(self, batch: pa.RecordBatch) -> pa.Array:
        wanted = _wanted(batch, self._name, self._redo)
        number = int(pc.sum(wanted).as_py() or 0)
        while len(self._ready) < number:
            values = self._encoder.read(self._table, next(self._parts))["value"]
            self._ready = pa.chunked_array([*self._ready.chunks, *values.cast(self._type).chunks], self._type)
        new, self._ready = self._ready.slice(0, number), self._ready.slice(number)
        old = pa.nulls(batch.num_rows, self._type)
        if self._name in batch.schema.names and self._keeps:
            old = batch.column(self._name).cast(self._type)
        # each wanted row takes the next new value, the others what was there
        places = pc.subtract(pc.cumulative_sum(wanted.cast(pa.int64())), 1)
        taken = pa.concat_arrays([*new.chunks, pa.nulls(1, self._type)]).take(
            pc.if_else(wanted, places, pa.scalar(number, pa.int64()))
        )
        filled = pc.and_(wanted, pc.is_valid(taken))
        result = self._result
        result.kept[self._table] += int(pc.sum(pc.and_(pc.invert(filled), _has_value(old))).as_py() or 0)
        result.without[self._table] += int(pc.sum(pc.invert(pc.or_(wanted, _has_value(old)))).as_py() or 0)
        result.empty[self._table] += number - int(pc.sum(filled).as_py() or 0)
        sources = pa.concat_arrays([old, taken])
        rows = pa.array(range(batch.num_rows), pa.int64())
        return sources.take(pc.if_else(filled, pc.add(rows, batch.num_rows), rows))


def _write_broken(path: Path, broken: Sequence[tuple[str, str, str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("table", "id", "image_path", "problem"))
        writer.writerows(broken)
