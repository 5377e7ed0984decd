"""Cosine features of (query, entity) pairs, from a frozen encoder: the main job.

Pairs are read twice. The first reading looks at their queries and entity ids alone and numbers the distinct ones;
those are then encoded once each, or looked up in embedding tables. The second reading gathers the vectors by number,
a batch at a time, and writes the pairs with their features. What is held is the vectors of the distinct queries and
entities (in a mapped file beyond the memory limit), their texts, and a batch of pairs.

| column | what it is |
|---|---|
| `cosine` | of the learned query and entity embeddings |
| `cosine_<w>` | the same over the first w dimensions, for each prefix width that was trained |
| `cosine_pinsage`, `cosine_itemsage` | of the query embedding and the entity's existing embedding (section 3.4.3) |
| `max_cosine_engaged_queries`, `mean_cosine_engaged_queries` | of the query and the entity's engaged queries |
| `unscored` | null, or why the pair has no cosine |

All cosines are float32 within [-1, 1]. A pair that cannot be scored has nulls and the reason. A pair whose entity lacks
PinSage, say, or engaged queries, is scored and has a null in those columns only.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.ahead import ahead
from omnifeat.cosines import engaged_cosines, pair_cosines, thread_count
from omnifeat.data.files import TableWriter, as_table, iter_batches, like_input, read_schema
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.entity_sources import EntitySource, entity_sources
from omnifeat.errors import DataError, OutputError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.keys import as_strings
from omnifeat.pair_vectors import ENGAGED, PairVectors, Progress, no_progress
from omnifeat.scratch import RowNumbers, Scratch, parse_bytes

__all__ = ["FeaturizeReport", "featurize", "featurize_file"]

UNSCORED = "unscored"
ENGAGED_COLUMNS = ("max_cosine_engaged_queries", "mean_cosine_engaged_queries")
BATCH_SIZE = 65_536
MEMORY_LIMIT = "4GB"

# What the `unscored` column says; 0 is null, a pair with a cosine.
_REASONS = (
    "query is null",
    "query is blank",
    "entity_id is null",
    "entity_id is not among the entities",
    "query vector is zero",
    "entity vector is zero",
)
_QUERY_NULL, _QUERY_BLANK, _ENTITY_NULL, _ENTITY_UNKNOWN, _QUERY_ZERO, _ENTITY_ZERO = range(1, 7)

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeaturizeReport:
    """What was done: `unscored` maps each reason to its count of rows.

    `queries` and `entities` are the distinct ones of the pairs; engaged queries are encoded besides.
    """

    rows: int
    unscored: Mapping[str, int]
    columns: tuple[str, ...]
    fingerprint: str
    queries: int
    entities: int
    queries_encoded: int
    entities_encoded: int

    @property
    def unscored_rows(self) -> int:
        """Rows without a cosine."""
        return sum(self.unscored.values())


@dataclass(frozen=True)
class _Pairs:
    """A table of pairs that can be read more than once."""

    name: str
    schema: pa.Schema
    read: Callable[[Sequence[str] | None, int], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, kw_only=True)
class _Options:
    encoder: FrozenEncoder
    encoder_name: str
    sources: list[EntitySource]
    tables: list[EmbeddingTable]
    leave_out_own_query: bool
    column_prefix: str
    strict: bool
    batch_size: int
    memory_limit: int
    threads: int
    progress: Progress = no_progress


@dataclass
class _State:
    """What the second reading needs."""

    vectors: PairVectors
    numbers: RowNumbers
    query_reasons: UInt8  # (Q,)
    entity_reasons: UInt8  # (E,)
    query_texts: Int64 | None
    queries_of_pairs: int
    unscored: Counter[int] = field(default_factory=Counter)


def _load_encoder(encoder: Any, threads: int | None) -> tuple[FrozenEncoder, str]:
    if isinstance(encoder, str | os.PathLike):
        return FrozenEncoder.from_pretrained(os.fspath(encoder), threads=threads), os.fspath(encoder)
    return encoder, "the given encoder"


def _options(
    *,
    encoder: Any,
    entities: Any,
    embeddings: Any,
    entity_type: str | None,
    leave_out_own_query: bool,
    column_prefix: str,
    strict: bool,
    batch_size: int,
    memory_limit: str | int,
    threads: int | None,
    progress: Progress,
) -> _Options:
    if batch_size < 1:
        raise SettingError(f"The 'batch_size' setting must be 1 or more. Got {batch_size} instead.")
    limit, workers = parse_bytes(memory_limit), thread_count(threads)
    paths = [embeddings] if isinstance(embeddings, str | os.PathLike) else list(embeddings or ())
    frozen, name = _load_encoder(encoder, threads)
    tables = [EmbeddingTable.open(os.fspath(path)) for path in paths]
    for table in tables:
        table.check_encoder(name, frozen.fingerprint, frozen.dim)
    if entities is None and not any(table.kind == "entities" for table in tables):
        raise SettingError("There are no entities to score: give a table of entities, or an embedding table of them.")
    return _Options(
        encoder=frozen,
        encoder_name=name,
        sources=[] if entities is None else entity_sources(entities, entity_type),
        tables=tables,
        leave_out_own_query=leave_out_own_query,
        column_prefix=column_prefix,
        strict=strict,
        batch_size=batch_size,
        memory_limit=limit,
        threads=workers,
        progress=progress,
    )


def _feature_names(options: _Options) -> list[str]:
    """Names of the columns to come, without prefix, `unscored` last."""
    config = options.encoder.config
    present = {name for source in options.sources for name in source.schema.names}
    names = ["cosine", *(f"cosine_{width}" for width in sorted(config.matryoshka) if width < options.encoder.dim)]
    names += [f"cosine_{name}" for name in config.compatibility if name in present]
    if ENGAGED in present:
        names += ENGAGED_COLUMNS
    return [*names, UNSCORED]


def _output_schema(pairs: _Pairs, options: _Options) -> pa.Schema:
    for name in ("query", "entity_id"):
        if name not in pairs.schema.names:
            raise DataError(
                f"{pairs.name} has no column '{name}'; its columns are {', '.join(pairs.schema.names)}. "
                "Pairs need 'query' and 'entity_id'."
            )
    schema = pairs.schema
    for name in _feature_names(options):
        column = options.column_prefix + name
        if column in pairs.schema.names:
            raise DataError(
                f"{pairs.name} has a column '{column}' already; put another name before the new columns with "
                "--column-prefix (column_prefix)."
            )
        schema = schema.append(pa.field(column, pa.string() if name == UNSCORED else pa.float32()))
    fingerprint = {b"omnifeat.fingerprint": options.encoder.fingerprint.encode()}
    return schema.with_metadata({**(schema.metadata or {}), **fingerprint})


def _number_pairs(pairs: _Pairs, vectors: PairVectors, numbers: RowNumbers, options: _Options) -> None:
    """The first reading."""
    columns = ["query", "entity_id", *(["entity_type"] if "entity_type" in pairs.schema.names else [])]
    with options.progress("reading pairs", None) as advance:
        for batch in ahead(pairs.read(columns, options.batch_size), options.threads):
            texts = [as_strings(batch.column(name), f"{pairs.name}: column '{name}'") for name in columns]
            numbers.append(*vectors.number(texts[0], texts[1], texts[2] if len(texts) == 3 else None))
            advance(batch.num_rows)
    if len(numbers) == 0:
        raise DataError(f"{pairs.name} holds no pairs; give a table with at least one row.")


def _reasons(query_rows: Int32, entity_rows: Int32, query_reasons: UInt8, entity_reasons: UInt8) -> UInt8:
    """Why each pair cannot be scored, uint8 (P,), 0 where it can: the query's reason before the entity's."""
    # row -1 reads the last element: the reason for null
    of_query = np.append(query_reasons, np.uint8(_QUERY_NULL))[query_rows]
    of_entity = np.append(entity_reasons, np.uint8(_ENTITY_NULL))[entity_rows]
    return np.where(of_query > 0, of_query, of_entity)


def _refuse_unscored(pairs: _Pairs, state: _State, options: _Options) -> None:
    """Under `strict`, name the first pair that cannot be scored.

    Raises
    ------
    DataError
        If there is one.
    """
    for start in range(0, len(state.numbers), options.batch_size):
        count = min(options.batch_size, len(state.numbers) - start)
        query_rows, entity_rows = state.numbers.read(start, count)
        reasons = _reasons(query_rows, entity_rows, state.query_reasons, state.entity_reasons)
        bad = np.flatnonzero(reasons)
        if len(bad):
            row = int(bad[0])
            identifier = ""
            if reasons[row] in (_ENTITY_UNKNOWN, _ENTITY_ZERO):
                identifier = f" (entity_id {state.vectors.entities.take(entity_rows[row : row + 1])[0]!r})"
            raise DataError(
                f"{pairs.name}, row {start + row + 1}: {_REASONS[reasons[row] - 1]}{identifier}; mend it, or leave out "
                "--strict (strict) to keep such rows with nulls."
            )


def _prepare(pairs: _Pairs, options: _Options, scratch: Scratch) -> _State:
    """Everything up to the second reading."""
    vectors = PairVectors(options.encoder, scratch, threads=options.threads, progress=options.progress)
    numbers = scratch.row_numbers()
    _number_pairs(pairs, vectors, numbers, options)
    queries_of_pairs = len(vectors.queries)  # engaged queries come on top
    vectors.read_ids(options.sources)
    vectors.look_up(options.tables)
    blank = vectors.blank_queries()
    state = _State(
        vectors=vectors,
        numbers=numbers,
        query_reasons=np.where(blank, _QUERY_BLANK, 0).astype(np.uint8),
        entity_reasons=np.where(vectors.unknown_entities(), _ENTITY_UNKNOWN, 0).astype(np.uint8),
        query_texts=None,
        queries_of_pairs=queries_of_pairs,
    )
    if options.strict:  # before hours of encoding
        _refuse_unscored(pairs, state, options)
    if options.leave_out_own_query and len(vectors.engaged):
        state.query_texts = vectors.query_texts()
    vectors.encode(options.sources, blank)
    zero_queries = (vectors.query_norms[:, -1] == 0) & (state.query_reasons == 0)
    zero_entities = (vectors.entity_norms[:, -1] == 0) & (state.entity_reasons == 0)
    state.query_reasons[zero_queries] = _QUERY_ZERO
    state.entity_reasons[zero_entities] = _ENTITY_ZERO
    if options.strict:
        _refuse_unscored(pairs, state, options)
    return state


def _features(
    state: _State, names: Sequence[str], query_rows: Int32, entity_rows: Int32, threads: int
) -> list[pa.Array]:
    """The feature columns of some pairs, in the order of `names`."""
    vectors = state.vectors
    reasons = _reasons(query_rows, entity_rows, state.query_reasons, state.entity_reasons)
    scored = reasons == 0
    state.unscored.update(dict(enumerate(np.bincount(reasons, minlength=len(_REASONS) + 1).tolist())))
    query_rows = np.where(scored, query_rows, np.int32(-1))
    entity_rows = np.where(scored, entity_rows, np.int32(-1))
    values: dict[str, npt.NDArray[np.float32]] = {}
    cosines = pair_cosines(
        vectors.query_vectors,
        vectors.entity_vectors,
        query_rows,
        entity_rows,
        widths=vectors.widths,
        query_norms_QW=vectors.query_norms,
        entity_norms_EW=vectors.entity_norms,
        threads=threads,
    )
    for index, width in enumerate(vectors.widths):
        values["cosine" if index == len(vectors.widths) - 1 else f"cosine_{width}"] = cosines[:, index]
    whole_norms = np.ascontiguousarray(vectors.query_norms[:, -1])
    for name, (existing, norms) in vectors.compatibility.items():
        values[f"cosine_{name}"] = pair_cosines(
            vectors.query_vectors,
            existing,
            query_rows,
            entity_rows,
            query_norms_QW=whole_norms[:, None],
            entity_norms_EW=norms[:, None],
            threads=threads,
        )[:, 0]
    if ENGAGED_COLUMNS[0] in names:
        engaged = engaged_cosines(
            vectors.query_vectors,
            whole_norms,
            query_rows,
            entity_rows,
            vectors.engaged_starts,
            vectors.engaged_lengths,
            vectors.engaged,
            leave_out=state.query_texts,
            threads=threads,
        )
        for index, name in enumerate(ENGAGED_COLUMNS):
            values[name] = engaged[:, index]
    columns = [pa.array(np.ascontiguousarray(values[name]), from_pandas=True) for name in names if name != UNSCORED]
    if scored.all():
        return [*columns, pa.nulls(len(reasons), pa.string())]
    index = pa.array(reasons.astype(np.int32) - 1, mask=scored)
    return [*columns, pa.DictionaryArray.from_arrays(index, pa.array(_REASONS, pa.string())).dictionary_decode()]


def _second_reading(
    pairs: _Pairs, state: _State, options: _Options, columns: Sequence[str] | None
) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
    """Batches of the pairs, with their features."""
    names = _feature_names(options)
    done = 0
    with options.progress("featurizing pairs", len(state.numbers)) as advance:
        for batch in ahead(pairs.read(columns, options.batch_size), options.threads):
            if done + batch.num_rows > len(state.numbers):
                break
            query_rows, entity_rows = state.numbers.read(done, batch.num_rows)
            yield batch, _features(state, names, query_rows, entity_rows, options.threads)
            done += batch.num_rows
            advance(batch.num_rows)
    if done != len(state.numbers):
        raise DataError(f"{pairs.name} changed while it was read; run again once nothing writes to it.")


def _report(state: _State, options: _Options) -> FeaturizeReport:
    unscored = {_REASONS[code - 1]: count for code, count in sorted(state.unscored.items()) if code > 0 and count > 0}
    report = FeaturizeReport(
        rows=len(state.numbers),
        unscored=unscored,
        columns=tuple(options.column_prefix + name for name in _feature_names(options)),
        fingerprint=options.encoder.fingerprint,
        queries=state.queries_of_pairs,
        entities=len(state.vectors.entities),
        queries_encoded=state.vectors.queries_encoded,
        entities_encoded=state.vectors.entities_encoded,
    )
    if report.unscored_rows:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in unscored.items())
        logger.info("%d of %d pairs could not be scored: %s", report.unscored_rows, report.rows, reasons)
    return report


def featurize(
    pairs: Any,
    *,
    encoder: FrozenEncoder | str | os.PathLike[str],
    entities: Any = None,
    embeddings: Any = None,
    entity_type: str | None = None,
    leave_out_own_query: bool = True,
    column_prefix: str = "",
    strict: bool = False,
    batch_size: int = BATCH_SIZE,
    memory_limit: str | int = MEMORY_LIMIT,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Any:
    """Add cosine features to a table of pairs that is in memory; `featurize_file` does the same from file to file.

    Parameters
    ----------
    pairs : pandas, Polars or Arrow table with text columns `query`, `entity_id` and maybe `entity_type` (`pin`,
        `product`, or `query`, where `entity_id` is the text of a query). Other columns are kept.
    encoder : a `FrozenEncoder`, or the folder or hub name of one.
    entities : table of entities with a column `id`, its path, a dataset folder (then its pins and products), or a list
        of these. May be left out where `embeddings` hold the entities.
    embeddings : path or paths of embedding tables made by `omnifeat embed` with this encoder. Queries and entities that
        they hold are not encoded.
    entity_type : type of all `entities`, where the tables don't say it.
    leave_out_own_query : leave a pair's own query out of its entity's engaged queries. Left in, a pair that was engaged
        has a largest cosine of 1 for no other reason than that it was engaged: a label in disguise.
    column_prefix : put before the names of the new columns.
    strict : fail at the first pair that cannot be scored.
    batch_size : pairs worked on at once.
    memory_limit : what the vectors may take in memory, such as `4GB`; beyond it they are kept in a temporary file.
    threads : all cores if not given.
    progress : shows progress; nothing if not given.

    Returns
    -------
    The same type of table with float32 columns `cosine`, ... and text `unscored`; rows in their order, a pandas index
    kept.

    Raises
    ------
    DataError
        If a table, column or id is not what it must be.
    FingerprintError
        If an embedding table was made by another encoder; names both.
    SettingError
        If a setting is not what it must be.
    """
    options = _options(
        encoder=encoder,
        entities=entities,
        embeddings=embeddings,
        entity_type=entity_type,
        leave_out_own_query=leave_out_own_query,
        column_prefix=column_prefix,
        strict=strict,
        batch_size=batch_size,
        memory_limit=memory_limit,
        threads=threads,
        progress=progress,
    )
    table = as_table(pairs)

    def read(columns: Sequence[str] | None, size: int) -> Iterator[pa.RecordBatch]:
        return iter((table if columns is None else table.select(columns)).to_batches(max_chunksize=size))

    source = _Pairs("the table of pairs", table.schema, read)
    schema = _output_schema(source, options)
    fields = [schema.field(options.column_prefix + name) for name in _feature_names(options)]
    with Scratch(options.memory_limit) as scratch:
        state = _prepare(source, options, scratch)
        parts: list[list[pa.Array]] = [[] for _ in fields]
        for _, columns in _second_reading(source, state, options, ["query"]):
            for part, column in zip(parts, columns, strict=True):
                part.append(column)
        _report(state, options)
    for new, part in zip(fields, parts, strict=True):
        table = table.append_column(new, pa.chunked_array(part, new.type))
    return like_input(table, pairs)


def featurize_file(
    pairs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    encoder: FrozenEncoder | str | os.PathLike[str],
    entities: Any = None,
    embeddings: Any = None,
    entity_type: str | None = None,
    leave_out_own_query: bool = True,
    column_prefix: str = "",
    strict: bool = False,
    batch_size: int = BATCH_SIZE,
    memory_limit: str | int = MEMORY_LIMIT,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> FeaturizeReport:
    """Add cosine features to a table of pairs in a file, streaming: CSV, JSONL, Parquet or Arrow by suffix.

    Parameters are those of `featurize`; `out` appears when it is whole.

    Raises
    ------
    DataError, FingerprintError, SettingError
        As `featurize`.
    OutputError
        If `out` exists and `overwrite` is not set, or cannot be written.
    """
    target = os.fspath(out)
    if "://" not in target and Path(target).exists() and not overwrite:
        raise OutputError(f"{target} exists already; choose another place, or replace it with --overwrite.")
    path = os.fspath(pairs)
    schema_of_pairs = read_schema(path)
    options = _options(
        encoder=encoder,
        entities=entities,
        embeddings=embeddings,
        entity_type=entity_type,
        leave_out_own_query=leave_out_own_query,
        column_prefix=column_prefix,
        strict=strict,
        batch_size=batch_size,
        memory_limit=memory_limit,
        threads=threads,
        progress=progress,
    )
    source = _Pairs(
        path,
        schema_of_pairs,
        lambda columns, size: iter_batches(path, columns=columns, batch_size=size),
    )
    schema = _output_schema(source, options)
    with Scratch(options.memory_limit) as scratch, TableWriter(target, schema) as writer:
        state = _prepare(source, options, scratch)
        for batch, columns in ahead(_second_reading(source, state, options, None), options.threads):
            writer.write(pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema))
        return _report(state, options)
