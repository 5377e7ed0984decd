"""Encode entities or queries into an embedding table, part by part, so that a killed run goes on where it stopped.

Beside the target lies a run folder, `.<name>.parts`, with one Parquet file a part and `run.json`, which says what is
being made: the encoder's fingerprint, the settings, and the content of each input. A later run that is to make the
same thing takes the parts that are there and carry the encoder's fingerprint; any other begins anew. One run at a time
works there. The target appears, by one rename, when all parts are done.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnifeat.data.dataset import Dataset
from omnifeat.data.files import iter_batches, read_schema, replace_when_whole
from omnifeat.data.identity import content_of_path
from omnifeat.data.locations import local_path
from omnifeat.data.locks import LOCK, working_in
from omnifeat.data.publishing import refuse_taken, sweep_partials
from omnifeat.embedding_table import embedding_schema, open_writer, vector_array
from omnifeat.entity_sources import EntitySource, entity_sources, is_dataset_folder
from omnifeat.errors import DataError, OutputError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.pair_vectors import Progress, no_progress

__all__ = ["EmbedReport", "embed_entities", "embed_queries"]

PART_ROWS = 65_536

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EmbedReport:
    """What was done.

    `rows` vectors were written, `resumed_rows` of them taken from an earlier run that was stopped; `skipped` rows of
    the input held no query; `zero_vectors` entities have nothing that the encoder knows, and cannot be scored.
    """

    path: str
    kind: str
    rows: int
    resumed_rows: int
    skipped: int
    zero_vectors: int
    fingerprint: str
    dim: int


def _encoder(encoder: FrozenEncoder | str | os.PathLike[str], threads: int | None) -> FrozenEncoder:
    if isinstance(encoder, str | os.PathLike):
        return FrozenEncoder.from_pretrained(os.fspath(encoder), threads=threads)
    return encoder


class _Run:
    """The run folder of one target."""

    def __init__(
        self, target: Path, overwrite: bool, schema: pa.Schema, paths: Sequence[str], description: dict[str, Any]
    ) -> None:
        self._target, self._overwrite, self._schema, self._paths = target, overwrite, schema, paths
        self._folder = target.parent / f".{target.name}.parts"
        self._inputs = [content_of_path(path) for path in paths]
        self._description = json.dumps({**description, "inputs": self._inputs}, sort_keys=True)
        self.resumed_rows = 0

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Keep the parts of an earlier run that was to make the same thing; throw any others away.

        Bad input leaves no run folder: corrected, it is another input, of which no part is done.

        Raises
        ------
        OutputError
            Another run is working for this target, or has just made it.
        """
        with working_in(self._folder, self._target, keep=False):
            refuse_taken(self._target, self._target, self._overwrite)
            try:
                self._begin()
                yield
            except DataError:
                self._clear()
                raise
            except OutputError as error:
                if not any(self._folder.glob("part-*.parquet")):
                    self._clear()
                    raise
                raise OutputError(
                    f"{str(error).rstrip('.')}; the parts that are done stay in {self._folder}: run the same command "
                    "again to go on from there, or remove that folder"
                ) from error

    def _begin(self) -> None:
        note = self._folder / "run.json"
        if not note.is_file() or note.read_bytes() != self._description.encode():
            self._clear()
            with replace_when_whole(note) as partial:
                partial.write_text(self._description, encoding="utf-8")

    def _clear(self) -> None:
        """Remove all but the lock."""
        for path in self._folder.iterdir():
            if path.name != LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def part(self, number: int, make: Callable[[], pa.Table]) -> None:
        """Make a part unless it is there, whole and of this encoder."""
        path = self._part(number)
        rows = self._rows_of(path)
        if rows is not None:
            self.resumed_rows += rows
            return
        table = make()
        with replace_when_whole(path) as partial, open_writer(str(partial), self._schema) as writer:
            writer.write_table(table)

    def _rows_of(self, path: Path) -> int | None:
        """Rows of a part that is done; None where it is missing, damaged or of another encoder."""
        if not path.is_file():
            return None
        try:
            found = pq.ParquetFile(path)
            # the encoder's fingerprint stands there
            about = dict(found.schema_arrow.metadata or {})
            same = found.schema_arrow.equals(self._schema) and self._schema.metadata.items() <= about.items()
            return int(found.metadata.num_rows) if same else None
        except (OSError, pa.ArrowException):
            return None

    def finish(self, count: int) -> tuple[int, int]:
        """Join the parts into the target and remove them. Returns rows, and rows whose vector is zero.

        Raises
        ------
        DataError
            An input changed meanwhile, so that the parts are not all of one table.
        """
        for path, before in zip(self._paths, self._inputs, strict=True):
            if content_of_path(path) != before:
                raise DataError(f"{path} changed while it was encoded: run the command again when it is whole.")
        rows = zeros = 0
        schema = self._schema
        with (
            replace_when_whole(self._target, overwrite=self._overwrite) as partial,
            open_writer(str(partial), schema) as writer,
        ):
            for number in range(count):
                table = pq.read_table(self._part(number))
                vectors = table.column("vector").combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
                zeros += int((~vectors.any(axis=1)).sum())
                rows += table.num_rows
                writer.write_table(table.cast(schema))
        self._clear()
        return rows, zeros

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number:06d}.parquet"


def _target(out: str | os.PathLike[str], overwrite: bool) -> Path:
    target = local_path(os.fspath(out))
    if target.suffix != ".parquet":
        raise SettingError(f"An embedding table is a Parquet file: give a target that ends in .parquet, not {out}.")
    sweep_partials(target)
    refuse_taken(target, out, overwrite)
    return target


def _cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows` rows, the last one shorter, however the reader cuts its batches."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(held)
            yield table.slice(0, rows)
            held = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield pa.Table.from_batches(held)


def _entity_part(
    encoder: FrozenEncoder, source: EntitySource, table: pa.Table, schema: pa.Schema, size: int
) -> pa.Table:
    ids = as_strings(table.column("id"), f"{source.name}: column 'id'").cast(pa.string())
    types = (
        table.column("entity_type") if source.type_column else pa.array([source.entity_type] * len(ids), pa.string())
    )
    with source.named():
        vectors = encoder.encode_entities(table, entity_type=source.entity_type, batch_size=size)
    return pa.table([ids, types.cast(pa.string()), vector_array(vectors)], schema=schema)


def embed_entities(
    entities: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    encoder: FrozenEncoder | str | os.PathLike[str],
    entity_type: str | None = None,
    batch_size: int = 1_024,
    part_rows: int = PART_ROWS,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> EmbedReport:
    """Encode the entities of a table, or of a dataset folder (its pins and products), into an embedding table.

    Parameters
    ----------
    entities : path of a table with a column `id`, of a dataset folder, or several of these.
    out : the embedding table to write, `.parquet`.
    encoder : a `FrozenEncoder`, or the folder or hub name of one.
    entity_type : `pin` or `product`, where the table doesn't say it.
    batch_size : entities encoded at once.
    part_rows : rows of a part; what a killed run loses at most, and what is held in memory.
    threads : all cores if not given.
    overwrite : replace `out` if it exists.
    progress : shows progress; nothing if not given.

    Raises
    ------
    DataError
        If a table or column is missing, an id is null or stands twice (named), or a feature is not what it must be.
    OutputError
        If `out` exists and `overwrite` is not set, or cannot be written.
    """
    target = _target(out, overwrite)
    paths = [os.fspath(path) for path in ([entities] if isinstance(entities, str | os.PathLike) else entities)]
    sources = entity_sources(paths, entity_type)
    frozen = _encoder(encoder, threads)
    for source in sources:
        source.check_unique()
    schema = embedding_schema("entities", frozen.fingerprint, frozen.dim)
    run = _Run(
        target,
        overwrite,
        schema,
        paths,
        {
            "kind": "entities",
            "fingerprint": frozen.fingerprint,
            "entity_types": [source.entity_type for source in sources],
            "part_rows": part_rows,
            "batch_size": batch_size,
        },
    )
    config = frozen.config
    columns = config.entity_columns
    number = 0
    with run.begun(), progress("encoding entities", None) as advance:
        for source in sources:
            for table in _cut(source.batches(columns, min(part_rows, 16_384)), part_rows):
                part = (frozen, source, table, schema, batch_size)
                run.part(number, lambda part=part: _entity_part(*part))  # type: ignore[misc]
                number += 1
                advance(table.num_rows)
        if number == 0:
            raise DataError(f"{' and '.join(source.name for source in sources)} hold no entities.")
        rows, zeros = run.finish(number)
    return EmbedReport(
        path=str(target),
        kind="entities",
        rows=rows,
        resumed_rows=run.resumed_rows,
        skipped=0,
        zero_vectors=zeros,
        fingerprint=frozen.fingerprint,
        dim=frozen.dim,
    )


def _query_batches(path: str) -> tuple[str, Iterator[pa.RecordBatch]]:
    """What to call the queries in messages, and their column."""
    if is_dataset_folder(path):
        dataset = Dataset.open(path)
        dataset.require("queries", "query")
        return f"{path}: table queries", dataset.batches("queries", columns=["query"])
    names = read_schema(path).names
    if "query" not in names:
        raise DataError(f"{path} has no column 'query'; its columns are {', '.join(names)}.")
    return path, iter_batches(path, columns=["query"])


def embed_queries(
    queries: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    encoder: FrozenEncoder | str | os.PathLike[str],
    batch_size: int = 256,
    part_rows: int = PART_ROWS,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> EmbedReport:
    """Encode the distinct queries of a table, or of a dataset folder's `queries`, into an embedding table.

    Any table with a column `query` will do, such as pairs or engagements. Queries stand in the order in which they
    first appear. Rows whose query is null or blank are counted as skipped. The distinct texts are held in memory.

    Parameters and errors are those of `embed_entities`.
    """
    target = _target(out, overwrite)
    path = os.fspath(queries)
    name, batches = _query_batches(path)
    frozen = _encoder(encoder, threads)
    index = KeyIndex()
    skipped = 0
    with progress("reading queries", None) as advance:
        for batch in batches:
            texts = as_strings(batch.column("query"), f"{name}: column 'query'")
            said = pc.fill_null(pc.greater(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0), False)
            texts = texts.filter(said)
            skipped += batch.num_rows - len(texts)
            index.intern(texts)
            advance(batch.num_rows)
    if len(index) == 0:
        raise DataError(f"{name} holds no queries; give a table with at least one.")
    schema = embedding_schema("queries", frozen.fingerprint, frozen.dim)
    run = _Run(
        target,
        overwrite,
        schema,
        [path],
        {
            "kind": "queries",
            "fingerprint": frozen.fingerprint,
            "part_rows": part_rows,
            "batch_size": batch_size,
        },
    )

    def make(start: int, stop: int) -> pa.Table:
        texts = index.strings(start, stop).cast(pa.string())
        vectors = frozen.encode_queries(texts.to_pylist(), batch_size=batch_size)
        return pa.table([texts, vector_array(vectors)], schema=schema)

    starts = range(0, len(index), part_rows)
    with run.begun(), progress("encoding queries", len(index)) as advance:
        for number, start in enumerate(starts):
            stop = min(start + part_rows, len(index))
            run.part(number, lambda start=start, stop=stop: make(start, stop))  # type: ignore[misc]
            advance(stop - start)
        rows, zeros = run.finish(len(starts))
    return EmbedReport(
        path=str(target),
        kind="queries",
        rows=rows,
        resumed_rows=run.resumed_rows,
        skipped=skipped,
        zero_vectors=zeros,
        fingerprint=frozen.fingerprint,
        dim=frozen.dim,
    )
