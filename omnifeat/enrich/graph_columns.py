"""`pinsage` and `itemsage` of a dataset from its saves; what the vectors are is told in `omnifeat.enrich.graph`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from omnifeat.data.checks import check_entity_types
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import read_table
from omnifeat.data.locations import PathLike, join
from omnifeat.data.provenance import Provenance, provenance_in, with_provenance
from omnifeat.data.schema import TIMESTAMP
from omnifeat.data.splits import TimeSplit
from omnifeat.data.unique_ids import refuse_duplicate_ids
from omnifeat.data.writing import TableWriter
from omnifeat.engines import Store
from omnifeat.engines.store import MEMORY_LIMIT
from omnifeat.enrich.carry import enriched_dataset
from omnifeat.enrich.columns import filled_batches
from omnifeat.enrich.graph import SMOOTHING, BoardVectors, entity_vectors, fit_boards
from omnifeat.errors import DataError, SettingError

__all__ = ["GraphResult", "GraphSettings", "enrich_graph"]

COLUMNS = {"pins": ("pin", "pinsage"), "products": ("product", "itemsage")}
BOARDS_FILE = "graph_boards.parquet"


@dataclass(frozen=True, kw_only=True)
class GraphSettings:
    """How the graph is factorised.

    Attributes
    ----------
    width
        Of the vectors.
    least_saves
        Entities with fewer saves are not fitted, but placed by their boards.
    fitted
        Most entities that are fitted, a uniform sample by their ids: the rest are placed by their boards.
    seed
        Of the sample and of the SVD.
    until
        Saves before this moment count; None: those of the training part of the recorded split by time, or all of them.
    undated
        Count saves without a time too, of which nobody knows whether they lie after the split.
    """

    width: int = 64
    least_saves: int = 2
    fitted: int = 200_000
    seed: int = 0
    until: datetime | None = None
    undated: bool = False

    def __post_init__(self) -> None:
        sizes = {
            "width": self.width,
            "least number of saves": self.least_saves,
            "number of fitted entities": self.fitted,
        }
        for name, value in sizes.items():
            if value < 1:
                raise SettingError(f"The {name} must be at least 1, but is {value}.")
        if not 0 <= self.seed < 2**32:
            raise SettingError(f"The seed must be from 0 to {2**32 - 1}, but is {self.seed}.")


@dataclass(frozen=True)
class GraphResult:
    """What was written: saves that counted, and per table the entities with a vector and those without."""

    path: Path
    saves: int
    boards: int
    fitted: int
    with_vector: dict[str, int]
    without: dict[str, int]


def enrich_graph(
    dataset: Dataset,
    out: PathLike,
    settings: GraphSettings | None = None,
    *,
    boards_from: PathLike | None = None,
    replace: bool = False,
    memory_limit: str = MEMORY_LIMIT,
    threads: int | None = None,
    overwrite: bool = False,
    advance: Callable[[int], None] | None = None,
) -> GraphResult:
    """Write a dataset folder with `pinsage` of pins and `itemsage` of products filled from the boards.

    Products that have a column `pinsage` too get the same vectors there, since all are of one space.

    The board vectors stand in `graph_boards.parquet` beside the tables, and the columns record up to when saves went
    in, for `omnifeat validate --leaks`.

    Parameters
    ----------
    boards_from
        A folder that an earlier run wrote: its board vectors place the entities, and nothing is fitted.
    replace
        Replace vectors that are there; those of two sources do not share a space, so never some of them.
    advance
        Called with the number of saves read since the last call.

    Raises
    ------
    DataError
        `saves` or a column is missing, no save counts, or vectors are there already.
    SettingError
        The width is too large for the graph.
    OutputError
        `out` cannot be written.
    """
    settings = settings or GraphSettings()
    tables = [table for table in COLUMNS if dataset.has(table)]
    if not tables:
        raise DataError(f"{dataset.path} has neither pins nor products: add one of the tables")
    columns = {table: _columns(dataset, table) for table in tables}
    for table in tables:
        for column in columns[table]:
            _refuse_vectors(dataset, table, column, replace)
    refuse_duplicate_ids(dataset)
    earlier = None if boards_from is None else _read_boards(boards_from)
    with Store.open(memory_limit, threads) as store:
        last, undated = _store_saves(dataset, store, settings, advance)
        if earlier is None:
            boards, fitted = _fit(store, settings)
        else:
            boards, fitted = earlier[0], 0
            last, undated = _later(last, earlier[1]), undated + earlier[1].undated
        made = Provenance(
            made_by="omnifeat enrich graph",
            reads=("saves",),
            last=last,
            undated=undated,
            settings={"width": boards.vectors.shape[1], "seed": settings.seed, "smoothing": SMOOTHING},
        )
        info = dataset.info.model_copy(update={"created_by": "omnifeat enrich graph"})
        with_vector: dict[str, int] = {}
        without: dict[str, int] = {}
        replaced = {*tables, "graph_boards"}
        with enriched_dataset(dataset, out, info, replaced=replaced, overwrite=overwrite) as writer:
            for table in tables:
                place = _Placer(store, COLUMNS[table][0], boards)
                writer.write(table, filled_batches(dataset, table, columns[table], place, made))
                with_vector[table], without[table] = place.with_vector, place.without
            _write_boards(writer.folder / BOARDS_FILE, boards, made)
        saves = int(store.run("SELECT coalesce(sum(n), 0) FROM edges")[0][0])
    return GraphResult(Path(out), saves, len(boards.ids), fitted, with_vector, without)


def _columns(dataset: Dataset, table: str) -> list[str]:
    """The table's column, and `pinsage` of products that have one: it must stay in the space of the pins'."""
    own = COLUMNS[table][1]
    return list(dict.fromkeys([own, *(["pinsage"] if dataset.has_column(table, "pinsage") else [])]))


def _refuse_vectors(dataset: Dataset, table: str, column: str, replace: bool) -> None:
    if replace or not dataset.has_column(table, column):
        return
    for batch in dataset.batches(table, [column]):
        if batch.column(0).null_count < batch.num_rows:
            raise DataError(
                f"{dataset.place(table)} has vectors in '{column}' already, and those of another source have another "
                "space: replace them all with --replace, or leave them as they are"
            )


def _cutoff(dataset: Dataset, settings: GraphSettings) -> datetime | None:
    if settings.until is not None:
        return settings.until
    split = dataset.info.split
    return split.development_from - timedelta(days=split.gap_days) if isinstance(split, TimeSplit) else None


def _store_saves(
    dataset: Dataset, store: Store, settings: GraphSettings, advance: Callable[[int], None] | None
) -> tuple[datetime | None, int]:
    """Make the store's `edges` of saves that count; the time of the newest of them, and how many have none."""
    dataset.require("saves", "board_id", "entity_id", "entity_type")
    dated = dataset.has_column("saves", "timestamp")
    cutoff = _cutoff(dataset, settings)
    place = dataset.place("saves")
    columns = ["entity_type", "entity_id", "board_id", *(["timestamp"] if dated else [])]
    schema = pa.schema([(name, pa.string()) for name in columns[:3]])
    newest: list[int] = []
    undated, first_row = 0, 1

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal undated, first_row
        for batch in dataset.batches("saves", columns):
            check_entity_types(batch.column("entity_type"), place, first_row)
            first_row += batch.num_rows
            times = batch.column("timestamp") if dated else pa.nulls(batch.num_rows, TIMESTAMP)
            if cutoff is not None and times.null_count and not settings.undated:
                raise DataError(
                    f"{place} has saves without a timestamp, so that nobody can tell which lie before "
                    f"{cutoff:%Y-%m-%d %H:%M}: add the times, or count all such saves with --undated"
                )
            if cutoff is not None:
                batch = batch.filter(pc.fill_null(pc.less(times, pa.scalar(cutoff, TIMESTAMP)), True))  # noqa: PLW2901
                times = batch.column("timestamp") if dated else pa.nulls(batch.num_rows, TIMESTAMP)
            undated += times.null_count
            latest = pc.max(times.cast(pa.int64())).as_py()
            if latest is not None:
                newest[:] = [max([latest, *newest])]
            arrays = [batch.column(name).cast(pa.string()) for name in columns[:3]]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            if advance is not None:
                advance(batch.num_rows)

    store.read(
        "incoming",
        schema,
        batches(),
        "CREATE TABLE edges AS SELECT entity_type, entity_id, board_id, count(*) AS n FROM incoming GROUP BY ALL",
    )
    if not store.run("SELECT 1 FROM edges LIMIT 1"):
        when = f" before {cutoff:%Y-%m-%d %H:%M}, where the training part ends" if cutoff is not None else ""
        raise DataError(f"{place} has no save{when}: give saves of before that, or another moment with --until")
    try:
        last = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=newest[0]) if newest else None
    except OverflowError as error:
        raise DataError(f"{place} has times in no year from 1 to 9999: correct them or leave the rows out") from error
    return last, undated


def _fit(store: Store, settings: GraphSettings) -> tuple[BoardVectors, int]:
    totals = store.run("SELECT board_id, sum(n) FROM edges GROUP BY board_id ORDER BY board_id")
    board_ids = pa.array([board for board, _ in totals], pa.string())
    store.run(
        """
        CREATE TABLE fitted AS
        SELECT entity_type, entity_id, row_number() OVER (ORDER BY entity_type, entity_id) - 1 AS row FROM (
            SELECT entity_type, entity_id FROM edges GROUP BY entity_type, entity_id HAVING sum(n) >= ?
            ORDER BY md5_number_lower(concat_ws(chr(31), ?, entity_type, entity_id)), entity_type, entity_id LIMIT ?
        )
        """,
        settings.least_saves, str(settings.seed), settings.fitted,
    )  # fmt: skip
    number = int(store.run("SELECT count(*) FROM fitted")[0][0])
    counts = _matrix(
        store.batches(
            "SELECT row, board_id, n FROM edges JOIN fitted USING (entity_type, entity_id) ORDER BY row, board_id"
        ),
        board_ids,
        number,
    )
    per_board = np.array([int(total) for _, total in totals], dtype=np.float64)
    return fit_boards(counts, board_ids, per_board, width=settings.width, seed=settings.seed), number


def _matrix(batches: Iterator[pa.RecordBatch], board_ids: pa.Array, rows: int) -> Any:
    """Counts as a sparse matrix; saves to boards that are not among the ids are left out."""
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    for batch in batches:
        columns = pc.index_in(batch.column("board_id"), board_ids)
        known = columns.is_valid().to_numpy(zero_copy_only=False)
        parts.append(
            (
                batch.column("row").to_numpy(zero_copy_only=False)[known].astype(np.int64),
                pc.fill_null(columns, 0).to_numpy(zero_copy_only=False)[known],
                batch.column("n").to_numpy(zero_copy_only=False)[known].astype(np.float32),
            )
        )
    row, column, n = (np.concatenate([part[place] for part in parts]) if parts else np.zeros(0) for place in range(3))
    return sp.csr_matrix((n, (row.astype(np.int64), column.astype(np.int64))), shape=(rows, len(board_ids)))


class _Placer:
    """Gives the entities of a batch their vectors, and counts those that have one."""

    def __init__(self, store: Store, kind: str, boards: BoardVectors) -> None:
        self._store, self._kind, self._boards = store, kind, boards
        self.with_vector = 0
        self.without = 0

    def __call__(self, batch: pa.RecordBatch) -> pa.Array:
        schema = pa.schema([("row", pa.int64()), ("id", pa.string())])
        columns = [pa.array(np.arange(batch.num_rows)), batch.column("id").cast(pa.string())]
        ids = pa.RecordBatch.from_arrays(columns, schema=schema)
        self._store.read("ids", schema, iter([ids]), "CREATE OR REPLACE TABLE here AS SELECT * FROM ids")
        edges = self._store.batches(
            f"SELECT row, board_id, n FROM edges JOIN here ON entity_id = id WHERE entity_type = '{self._kind}' "
            "ORDER BY row, board_id"
        )
        vectors = entity_vectors(_matrix(edges, self._boards.ids, batch.num_rows), self._boards)
        missing = ~vectors.any(axis=1)
        self.without += int(missing.sum())
        self.with_vector += int((~missing).sum())
        flat = pa.array(vectors.ravel())
        return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=pa.array(missing))


def _later(one: datetime | None, other: Provenance) -> datetime | None:
    moments = [moment for moment in (one, other.last) if moment is not None]
    return max(moments) if moments else None


def _write_boards(path: Path, boards: BoardVectors, made: Provenance) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(boards.vectors.ravel()), boards.vectors.shape[1])
    table = pa.table({"board_id": boards.ids, "share": pa.array(boards.shares), "vector": vectors})
    with TableWriter(path, with_provenance(table.schema, {"vector": made})) as writer:
        writer.write(table)


def _read_boards(folder: PathLike) -> tuple[BoardVectors, Provenance]:
    path = join(folder, BOARDS_FILE)
    table = read_table(path, ["board_id", "share", "vector"])
    made = provenance_in(table.schema).get("vector")
    if made is None or table["vector"].null_count:
        raise DataError(f"{path} is not what `omnifeat enrich graph` wrote: give the folder of an earlier run")
    vectors = table["vector"].combine_chunks()
    width = vectors.type.list_size
    flat = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, width).astype(np.float32)
    shares = table["share"].to_numpy().astype(np.float64)
    return BoardVectors(table["board_id"].combine_chunks(), shares, flat), made
