"""What `omnifeat.featurize` and `FrozenEncoder.featurize` are made of: pairs read twice, vectors gathered, columns
worked out batch by batch.

The two readings and the columns are described in `omnifeat.featurize`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.ahead import ahead
from omnifeat.data.entity_types import type_texts
from omnifeat.data.files import as_table, like_input
from omnifeat.data.meeting import nothing_shared, other_writing
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.entity_sources import EntitySource
from omnifeat.errors import DataError
from omnifeat.feature_columns import (
    ENGAGED,
    KNOWLEDGE,
    REASONS,
    TRAINED_ON,
    UNSCORED,
    PairColumns,
    column_names,
    reason_column,
    trained_on_column,
)
from omnifeat.keys import KeyDigest, as_strings
from omnifeat.pair_knowledge import PairKnowledge
from omnifeat.pair_vectors import PairEncoder, PairVectors, Progress, no_progress
from omnifeat.scratch import RowNumbers, Scratch

__all__ = [
    "FeatureOptions",
    "FeaturizeReport",
    "PairTable",
    "PreparedPairs",
    "feature_names",
    "featurize_table",
    "featurized_batches",
    "make_report",
    "output_schema",
    "prepare",
]

# Places in `REASONS`, from 1; 0 is a pair with a cosine.
_QUERY_NULL, _QUERY_BLANK, _ENTITY_NULL, _ENTITY_UNKNOWN, _QUERY_ZERO, _ENTITY_ZERO = range(1, 7)

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_IDS_SHOWN = 1_000  # of the ids that are not found, to say how they are written

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeaturizeReport:
    """What was done: `unscored` maps each reason to its count of rows.

    `trained_on` maps `pair`, `query` and `neither` to the rows whose pair, or query alone, the encoder was trained on;
    None for an encoder that records no training pairs, so that nobody can tell.

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
    trained_on: Mapping[str, int] | None
    hint: str | None = None
    """Where entities were not found for how their ids are written, or for their type: an example. Null otherwise."""

    @property
    def unscored_rows(self) -> int:
        """Rows without a cosine."""
        return sum(self.unscored.values())


@dataclass(frozen=True)
class PairTable:
    """A table of pairs that can be read more than once; `held` if it is in memory, where nobody changes it."""

    name: str
    schema: pa.Schema
    read: Callable[[Sequence[str] | None, int], Iterator[pa.RecordBatch]]
    held: bool = False

    @property
    def keys(self) -> list[str]:
        """The columns that say which query and entity a pair is of."""
        return ["query", "entity_id", *(["entity_type"] if "entity_type" in self.schema.names else [])]

    def texts(self, batch: pa.RecordBatch, first_row: int) -> list[pa.LargeStringArray]:
        """The key columns of a batch as text; raises `DataError` for an id that is none."""
        return [
            (type_texts if name == "entity_type" else as_strings)(
                batch.column(name), f"{self.name}: column '{name}'", first_row
            )
            for name in self.keys
        ]


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """Settings of a run, checked, with everything opened; `encoder_name` is what messages call the encoder."""

    encoder: PairEncoder
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


class NumbersInMemory:
    """As `RowNumbers`, for pairs that are in memory themselves and take more room than their numbers."""

    def __init__(self) -> None:
        self._parts: list[tuple[Int32, Int32]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, query_rows: Int32, entity_rows: Int32) -> None:
        """Add the row numbers of the next pairs."""
        self._parts.append((query_rows, entity_rows))
        self._count += len(query_rows)

    def read(self, start: int, count: int) -> tuple[Int32, Int32]:
        """The row numbers of pairs start..start + count."""
        if len(self._parts) > 1:
            queries, entities = zip(*self._parts, strict=True)
            self._parts = [(np.concatenate(queries), np.concatenate(entities))]
        queries_P, entities_P = self._parts[0] if self._parts else (np.zeros(0, np.int32), np.zeros(0, np.int32))
        return queries_P[start : start + count], entities_P[start : start + count]


@dataclass
class PreparedPairs:
    """What the second reading needs."""

    vectors: PairVectors
    numbers: RowNumbers | NumbersInMemory
    digest: str
    query_reasons: UInt8  # (Q,)
    entity_reasons: UInt8  # (E,)
    query_texts: Int64 | None
    queries_of_pairs: int
    knowledge: PairKnowledge | None
    unscored: Counter[int] = field(default_factory=Counter)
    known: Counter[int] = field(default_factory=Counter)


def feature_names(options: FeatureOptions) -> list[str]:
    """Names of the columns to come, without prefix, `unscored` last; `trained_on` where the encoder has a record."""
    config, dim = options.encoder.config, options.encoder.dim
    present = _source_columns(options)
    widths = sorted({*config.matryoshka, dim})
    compatibility = [name for name in config.compatibility if name in present]
    told = [] if options.encoder.record is None else [TRAINED_ON]
    names = column_names(widths, compatibility, ENGAGED in present, list(config.blocks), config.entity.trained)
    return [*names, *told, UNSCORED]


def _source_columns(options: FeatureOptions) -> set[str]:
    return {name for source in options.sources for name in source.schema.names}


def output_schema(pairs: PairTable, options: FeatureOptions) -> pa.Schema:
    """The pairs' columns and the new ones; the encoder's fingerprint goes into the metadata.

    Raises
    ------
    DataError
        If the pairs lack a column that is needed, or have one of a new name.
    """
    for name in ("query", "entity_id"):
        if name not in pairs.schema.names:
            raise DataError(
                f"{pairs.name} has no column '{name}'; its columns are {', '.join(pairs.schema.names)}. "
                "Pairs need 'query' and 'entity_id'."
            )
    schema = pairs.schema
    for name in feature_names(options):
        column = options.column_prefix + name
        if column in pairs.schema.names:
            raise DataError(
                f"{pairs.name} has a column '{column}' already; put another name before the new columns with "
                "--column-prefix (column_prefix)."
            )
        schema = schema.append(pa.field(column, pa.string() if name in (TRAINED_ON, UNSCORED) else pa.float32()))
    fingerprint = {b"omnifeat.fingerprint": options.encoder.fingerprint.encode()}
    return schema.with_metadata({**(schema.metadata or {}), **fingerprint})


def _number_pairs(
    pairs: PairTable, vectors: PairVectors, numbers: RowNumbers | NumbersInMemory, options: FeatureOptions
) -> str:
    """The first reading; gives the digest of what was read."""
    digest = KeyDigest()
    with options.progress("reading pairs", None) as advance:
        for batch in ahead(pairs.read(pairs.keys, options.batch_size), options.threads):
            texts = pairs.texts(batch, len(numbers) + 1)
            if not pairs.held:
                digest.add(texts)
            numbers.append(*vectors.number(texts[0], texts[1], texts[2] if len(texts) == 3 else None))
            advance(batch.num_rows)
    if len(numbers) == 0:
        raise DataError(f"{pairs.name} holds no pairs; give a table with at least one row.")
    return digest.value()


def _reasons(query_rows: Int32, entity_rows: Int32, query_reasons: UInt8, entity_reasons: UInt8) -> UInt8:
    """Why each pair cannot be scored, uint8 (P,), 0 where it can: the query's reason before the entity's."""
    # row -1 reads the last element: the reason for null
    of_query = np.append(query_reasons, np.uint8(_QUERY_NULL))[query_rows]
    of_entity = np.append(entity_reasons, np.uint8(_ENTITY_NULL))[entity_rows]
    return np.where(of_query > 0, of_query, of_entity)


def _refuse_unscored(pairs: PairTable, state: PreparedPairs, options: FeatureOptions) -> None:
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
                f"{pairs.name}, row {start + row + 1}: {REASONS[reasons[row] - 1]}{identifier}; mend it, or leave out "
                "--strict (strict) to keep such rows with nulls."
            )


def prepare(pairs: PairTable, options: FeatureOptions, scratch: Scratch) -> PreparedPairs:
    """Everything up to the second reading."""
    vectors = PairVectors(options.encoder, scratch, threads=options.threads, progress=options.progress)
    numbers = NumbersInMemory() if pairs.held else scratch.row_numbers()
    digest = _number_pairs(pairs, vectors, numbers, options)
    queries_of_pairs = len(vectors.queries)  # engaged queries come on top
    vectors.read_ids(options.sources)
    vectors.look_up(options.tables)
    blank = vectors.blank_queries()
    record = options.encoder.record
    knowledge = (
        None
        if record is None
        else PairKnowledge.of(record, vectors.queries, queries_of_pairs, vectors.entities, vectors.types)
    )
    state = PreparedPairs(
        vectors=vectors,
        numbers=numbers,
        digest=digest,
        query_reasons=np.where(blank, _QUERY_BLANK, 0).astype(np.uint8),
        entity_reasons=np.where(vectors.unknown_entities(), _ENTITY_UNKNOWN, 0).astype(np.uint8),
        query_texts=None,
        queries_of_pairs=queries_of_pairs,
        knowledge=knowledge,
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
    state: PreparedPairs, columns: PairColumns, names: Sequence[str], query_rows: Int32, entity_rows: Int32
) -> list[pa.Array]:
    """The columns of some pairs, in the order of `names`: features, maybe `trained_on`, and `unscored` last."""
    reasons = _reasons(query_rows, entity_rows, state.query_reasons, state.entity_reasons)
    state.unscored.update(dict(enumerate(np.bincount(reasons, minlength=len(REASONS) + 1).tolist())))
    scored = reasons == 0
    found = columns.of(np.where(scored, query_rows, np.int32(-1)), np.where(scored, entity_rows, np.int32(-1)))
    values = dict(zip(columns.names, found, strict=True))
    arrays = [pa.array(np.ascontiguousarray(values[name]), from_pandas=True) for name in names if name in values]
    if state.knowledge is not None:
        known = state.knowledge.codes(query_rows, entity_rows)
        state.known.update(dict(enumerate(np.bincount(known, minlength=len(KNOWLEDGE)).tolist())))
        arrays.append(trained_on_column(known))
    return [*arrays, reason_column(reasons)]


def featurized_batches(
    pairs: PairTable, state: PreparedPairs, options: FeatureOptions, columns: Sequence[str] | None
) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
    """Batches of the pairs, with their features; all `columns` of them if None.

    Raises
    ------
    DataError
        After the last batch, if the pairs are not those of the first reading: nothing of it is to be kept then.
    """
    names = feature_names(options)
    of_pairs = state.vectors.columns(engaged=ENGAGED in _source_columns(options), leave_out=state.query_texts)
    done, digest = 0, KeyDigest()
    with options.progress("featurizing pairs", len(state.numbers)) as advance:
        for batch in ahead(pairs.read(columns, options.batch_size), options.threads):
            if done + batch.num_rows > len(state.numbers):
                break
            if not pairs.held:
                digest.add(pairs.texts(batch, done + 1))
            query_rows, entity_rows = state.numbers.read(done, batch.num_rows)
            yield batch, _features(state, of_pairs, names, query_rows, entity_rows)
            done += batch.num_rows
            advance(batch.num_rows)
    if done != len(state.numbers) or digest.value() != state.digest:
        raise DataError(f"{pairs.name} changed while it was read; run again once nothing writes to it.")


def featurize_table(pairs: Any, options: FeatureOptions) -> Any:
    """The pairs of a table in memory with their features, in the library that they came in."""
    table = as_table(pairs, "keys")

    def read(columns: Sequence[str] | None, size: int) -> Iterator[pa.RecordBatch]:
        return iter((table if columns is None else table.select(columns)).to_batches(max_chunksize=size))

    source = PairTable("the table of pairs", table.schema, read, held=True)
    schema = output_schema(source, options)
    fields = [schema.field(options.column_prefix + name) for name in feature_names(options)]
    with Scratch(options.memory_limit) as scratch:
        state = prepare(source, options, scratch)
        parts: list[list[pa.Array]] = [[] for _ in fields]
        for _, columns in featurized_batches(source, state, options, ["query"]):
            for part, column in zip(parts, columns, strict=True):
                part.append(column)
        report = make_report(state, options)
    if report.hint is not None:
        logger.warning("%s.", report.hint)
    for new, part in zip(fields, parts, strict=True):
        table = table.append_column(new, pa.chunked_array(part, new.type))
    return like_input(table, pairs)


def make_report(state: PreparedPairs, options: FeatureOptions) -> FeaturizeReport:
    """What was done, once all pairs went through `featurized_batches`."""
    unscored = {REASONS[code - 1]: count for code, count in sorted(state.unscored.items()) if code > 0 and count > 0}
    report = FeaturizeReport(
        rows=len(state.numbers),
        unscored=unscored,
        columns=tuple(options.column_prefix + name for name in feature_names(options)),
        fingerprint=options.encoder.fingerprint,
        queries=state.queries_of_pairs,
        entities=len(state.vectors.entities),
        queries_encoded=state.vectors.queries_encoded,
        entities_encoded=state.vectors.entities_encoded,
        trained_on=None if state.knowledge is None else {KNOWLEDGE[code]: state.known[code] for code in KNOWLEDGE},
        hint=_hint(state),
    )
    if report.unscored_rows:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in unscored.items())
        logger.info("%d of %d pairs could not be scored: %s", report.unscored_rows, report.rows, reasons)
    return report


def _hint(state: PreparedPairs) -> str | None:
    """Where entities of the pairs were not found: how each side writes their ids, if that is what keeps them apart."""
    vectors = state.vectors
    unknown = np.flatnonzero(state.entity_reasons == _ENTITY_UNKNOWN)
    if not len(unknown):
        return None
    some = vectors.entities.take(unknown[:_IDS_SHOWN])
    none_known = len(unknown) == len(state.entity_reasons)
    shared = set(some) & set(vectors.ids_shown)
    if shared:
        text = min(shared)
        which = "no entity_id of the pairs is" if none_known else "some entity_ids of the pairs are not"
        return (
            f"{which} among the entities of its entity_type, but {text!r} is an id of another type: check the column "
            "'entity_type' (pin, product or query)"
        )
    if none_known:
        return nothing_shared("entity_id", "the pairs", some, "the entities", vectors.ids_shown)
    found = other_writing(some, vectors.ids_shown, bare=True)
    if found is None:
        return None
    return (
        f"some entity_ids of the pairs stand in the entities in another writing: the pairs write {found[0]!r}, the "
        f"entities {found[1]!r}; they differ in {found[2]}"
    )
