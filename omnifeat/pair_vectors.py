"""The distinct queries and entities that a table of pairs names, numbered, and their vectors.

The work goes in this order, so that each distinct query and entity is encoded once, whatever the number of pairs, and
so that what cannot be scored is known before anything is encoded:

1. `number` gives each pair's query and entity a row number, batch by batch;
2. `read_ids` looks through the entities: which are known, and with which queries they were engaged;
3. `look_up` copies the vectors that embedding tables hold;
4. `encode` encodes the rest.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.ahead import ahead
from omnifeat.cosines import copy_rows, inverse_norms
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.entity_sources import EntitySource
from omnifeat.errors import DataError
from omnifeat.feature_columns import ENGAGED, EngagedQueries, PairColumns
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.models.config import EncoderConfig
from omnifeat.models.training_record import TrainingRecord
from omnifeat.scratch import Scratch
from omnifeat.text.normalise import normalise

__all__ = ["PairEncoder", "PairVectors", "Progress", "no_progress"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Shows how far a step is: takes its description and total, gives a context with a function to call with counts."""

_SCAN_ROWS = 16_384  # entities read at once
_ENCODE_ROWS = 16_384  # texts handed to the encoder at once; it cuts them into its own batches

_ANY_TYPE = 0  # tag of entities whose type is not said
_QUERY_TYPE = 1  # tag of pairs of a query with a query
_MOST_TYPES = 255
_IDS_SHOWN = _SCAN_ROWS  # of each source, to say how it writes its ids


class PairEncoder(Protocol):
    """What is asked of an encoder: a `FrozenEncoder`, or anything with these."""

    config: EncoderConfig
    fingerprint: str
    record: TrainingRecord | None

    @property
    def dim(self) -> int:
        """Width of the embeddings."""

    def encode_queries(self, texts: Any, batch_size: int = ...) -> Float32:
        """Embeddings `(n, dim)` of texts."""

    def encode_entities(self, table: Any, entity_type: str | None = ..., batch_size: int = ...) -> Float32:
        """Embeddings `(n, dim)` of entities."""

    def encode_compatibility(
        self, table: Any, column: str, entity_type: str | None = ..., batch_size: int = ...
    ) -> tuple[Float32, Bools]:
        """Existing embeddings `(n, dim)` of entities, and which of them there are."""


def no_progress(description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
    """A progress display that shows nothing."""
    return nullcontext(lambda count: None)


class PairVectors:
    """Rows and vectors of the queries and entities of a table of pairs.

    After `encode`: `query_vectors` float32 (Q, dim) and `entity_vectors` float32 (E, dim), with `query_norms`
    (Q, W + B) and `entity_norms` (E, W + B), one over the lengths at the prefix widths and of the blocks; 0 marks what
    has no vector or a zero vector.
    `compatibility` maps the name of an existing embedding to its (E, dim) vectors and (E,) norms. Engaged queries of
    entity row e are the query rows `engaged[engaged_starts[e] : engaged_starts[e] + engaged_lengths[e]]`.
    """

    def __init__(self, encoder: PairEncoder, scratch: Scratch, *, threads: int, progress: Progress) -> None:
        self._encoder = encoder
        self._scratch = scratch
        self._threads = threads
        self._progress = progress
        self._tag_of: dict[str | None, int] = {None: _ANY_TYPE, "query": _QUERY_TYPE}
        self.queries = KeyIndex(threads)
        self.entities = KeyIndex(threads)
        self.widths = sorted({*encoder.config.matryoshka, encoder.dim})
        self.blocks = encoder.config.blocks if len(encoder.config.blocks) > 1 else {}
        self.engaged_starts: Int64 = np.zeros(0, dtype=np.int64)
        self.engaged_lengths: Int64 = np.zeros(0, dtype=np.int64)
        self.engaged: Int32 = np.zeros(0, dtype=np.int32)
        self.compatibility: dict[str, tuple[Float32, Float32]] = {}
        self.queries_encoded = 0
        self.entities_encoded = 0
        self.ids_shown: list[str] = []  # some ids of the entities that there are, as they are written

    @property
    def types(self) -> dict[int, str | None]:
        """The entity type that each tag of `entities` stands for; None for one that is not said."""
        return {tag: kind for kind, tag in self._tag_of.items()}

    # ---- 1. numbers

    def number(
        self, queries: pa.LargeStringArray, ids: pa.LargeStringArray, types: pa.LargeStringArray | None
    ) -> tuple[Int32, Int32]:
        """Row numbers of the query and of the entity of some pairs, int32 (n,) each; -1 for null."""
        tags = np.full(len(ids), _ANY_TYPE, dtype=np.uint8) if types is None else self._tags(types)
        return self.queries.intern(queries), self.entities.intern(ids, tags)

    def _tags(self, types: pa.LargeStringArray) -> UInt8:
        encoded = types.dictionary_encode()
        tags = []
        for text in encoded.dictionary.to_pylist():
            tag = self._tag_of.setdefault(text, len(self._tag_of))
            if tag > _MOST_TYPES:
                raise DataError(f"There are more than {_MOST_TYPES} entity types; is 'entity_type' the right column?")
            tags.append(tag)
        lookup = np.array([*tags, _ANY_TYPE], dtype=np.uint8)
        return lookup[pc.fill_null(encoded.indices, len(tags)).to_numpy(zero_copy_only=False)]

    # ---- 2. which entities are known

    def read_ids(self, sources: Sequence[EntitySource]) -> None:
        """Look for the pairs' entities in the sources, and number the queries that they were engaged with.

        Raises
        ------
        DataError
            If an id is null or stands twice in a source, or a pair without a type names an id of several entities.
        """
        count = len(self.entities)
        self._known: Bools = np.zeros(count, dtype=np.bool_)
        self._has_vector: Bools = np.zeros(count, dtype=np.bool_)
        self._type_of: UInt8 = np.full(count, _ANY_TYPE, dtype=np.uint8)  # of the entity that was found
        self._said_by: Int32 = np.zeros(count, dtype=np.int32)  # table that said it, from 1; 0 for none
        self._tables_read: list[str] = []
        self.ids_shown = []
        self._has_query_entities = bool((self.entities.tags == _QUERY_TYPE).any())
        self._entity_tags_present = [int(tag) for tag in np.unique(self.entities.tags) if tag != _QUERY_TYPE]
        self.engaged_starts = np.zeros(count, dtype=np.int64)
        self.engaged_lengths = np.zeros(count, dtype=np.int64)
        parts: list[Int32] = []
        total = 0
        for source in sources:
            source.check_unique()
            known_before = self._known.copy()
            here: Bools = np.zeros(count, dtype=np.bool_)
            first_row = 1
            for batch in source.batches([ENGAGED], _SCAN_ROWS):
                ids, types = source.ids(batch, first_row), source.types(batch, first_row)
                if first_row == 1:
                    self.ids_shown += ids.slice(0, _IDS_SHOWN).to_pylist()
                positions, rows = self._match(ids, types)
                again = np.flatnonzero(known_before[rows])
                if len(again):
                    text = self.entities.take(rows[again[:1]])[0]
                    raise DataError(
                        f"The id {text!r} stands in {source.name} and in another table of entities; give the pairs a "
                        "column 'entity_type', or one of the tables."
                    )
                self._refuse_ambiguous(source.name, rows, here)
                self._note_types(source.name, positions, rows, types)
                self._known[rows] = True
                if ENGAGED in batch.schema.names and len(rows):
                    where = f"{source.name}: column '{ENGAGED}'"
                    lengths, engaged = self._engaged_of(batch.column(ENGAGED).take(pa.array(positions)), where)
                    self.engaged_starts[rows] = total + np.cumsum(lengths) - lengths
                    self.engaged_lengths[rows] = lengths
                    parts.append(engaged)
                    total += len(engaged)
                first_row += batch.num_rows
        self.engaged = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)

    def _refuse_ambiguous(self, name: str, rows: Int32, here: Bools) -> None:
        """Mark entity rows as found in a table, and refuse one that two of its rows answer to."""
        distinct, counts = np.unique(rows, return_counts=True)
        several = distinct[(counts > 1) | here[distinct]]
        if len(several):
            text = self.entities.take(several[:1])[0]
            raise DataError(
                f"{name} holds the id {text!r} as entities of several types, and the pairs don't say which they mean; "
                "give the pairs a column 'entity_type' with a type in each row."
            )
        here[distinct] = True

    def _note_types(self, name: str, positions: Int64, rows: Int32, types: pa.LargeStringArray | None) -> None:
        """Keep the types that a table says of entity rows, and refuse an id that may stand for two entities.

        Only pairs without a type ask: two tables that say different types of an id, or one of which says a type and
        the other none, may mean two entities. Nothing else in them tells.
        """
        if self._tables_read[-1:] != [name]:
            self._tables_read.append(name)
        of_any = self.entities.tags[rows] == _ANY_TYPE
        positions, rows = positions[of_any], rows[of_any]
        tags = np.full(len(rows), _ANY_TYPE, dtype=np.uint8) if types is None else self._tags(types)[positions]
        seen = self._said_by[rows] > 0
        other = np.flatnonzero(seen & (tags != self._type_of[rows]))
        if len(other):
            row, tag = rows[other[0]], int(tags[other[0]])
            self._refuse_types(
                int(row), (name, tag), (self._tables_read[self._said_by[row] - 1], int(self._type_of[row]))
            )
        self._type_of[rows] = tags
        self._said_by[rows] = len(self._tables_read)

    def _refuse_types(self, row: int, one: tuple[str, int], other: tuple[str, int]) -> None:
        """Say of which types two tables, each a name and a tag, call the entity of a row."""
        text = self.entities.take(np.array([row], dtype=np.int32))[0]
        if _ANY_TYPE not in (one[1], other[1]):
            raise DataError(
                f"The id {text!r} is a {self.types[one[1]]} in {one[0]} and a {self.types[other[1]]} in {other[0]}, "
                "and the pairs don't say which they mean; give the pairs a column 'entity_type' with a type in each "
                "row."
            )
        typed, untyped = (one, other) if other[1] == _ANY_TYPE else (other, one)
        raise DataError(
            f"The id {text!r} is a {self.types[typed[1]]} in {typed[0]}, while {untyped[0]} does not say its type, so "
            "that the two may be different entities, and the pairs don't say which they mean; name the type of the "
            "table of entities with --entity-type (entity_type), or give the pairs a column 'entity_type' with a type "
            "in each row."
        )

    def _engaged_of(self, lists: pa.Array, where: str) -> tuple[Int64, Int32]:
        """Lengths (n,) and the query rows, one after the other, of lists of query texts; null texts are left out."""
        if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
            raise DataError(f"{where} must be a list of text, but its type is {lists.type}.")
        owners = pc.list_parent_indices(lists).to_numpy()
        rows = self.queries.intern(as_strings(pc.list_flatten(lists), where))
        kept = rows >= 0
        return np.bincount(owners[kept], minlength=len(lists)).astype(np.int64), rows[kept]

    def _match(self, ids: pa.LargeStringArray, types: pa.LargeStringArray | None) -> tuple[Int64, Int32]:
        """Positions in the batch and entity rows of the entities that pairs name.

        An id whose type is not said, here or in the pairs, matches any type.
        """
        row_tags = None if types is None else self._tags(types)
        positions: list[Int64] = []
        rows: list[Int32] = []
        for tag in self._entity_tags_present:
            found = self.entities.find(ids, np.full(len(ids), tag, dtype=np.uint8))
            hit = found >= 0
            if row_tags is not None and tag != _ANY_TYPE:
                hit &= (row_tags == tag) | (row_tags == _ANY_TYPE)
            positions.append(np.flatnonzero(hit))
            rows.append(found[hit])
        if not rows:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
        return np.concatenate(positions), np.concatenate(rows)

    # ---- 3. vectors of embedding tables

    def look_up(self, tables: Sequence[EmbeddingTable]) -> None:
        """Make room for the vectors and copy those that the tables hold. Of tables that share a key, the first counts.

        Raises
        ------
        DataError
            If a table has a key twice, or a vector is null, NaN or infinite, or a pair without a type names an id of
            entities of several types.
        """
        dim = self._encoder.dim
        self.query_vectors = self._scratch.matrix(len(self.queries), dim)
        self.entity_vectors = self._scratch.matrix(len(self.entities), dim)
        self._query_has_vector: Bools = np.zeros(len(self.queries), dtype=np.bool_)
        for table in tables:
            table.check_unique()
            here: Bools = np.zeros(len(self.entities), dtype=np.bool_)
            with self._progress(f"reading {table.path}", None) as advance:
                for batch in ahead(table.batches(), self._threads):
                    if table.kind == "queries":
                        found = self.queries.find(batch.keys)
                        self._copy(batch.vectors, found, self.query_vectors, self._query_has_vector)
                        if self._has_query_entities:
                            as_entities = np.full(len(batch.keys), _QUERY_TYPE, dtype=np.uint8)
                            found = self.entities.find(batch.keys, as_entities)
                            self._copy(batch.vectors, found, self.entity_vectors, self._has_vector)
                    else:
                        if len(self.ids_shown) < _IDS_SHOWN:
                            self.ids_shown += batch.keys.slice(0, _IDS_SHOWN).to_pylist()
                        positions, rows = self._match(batch.keys, batch.types)
                        self._refuse_ambiguous(table.path, rows, here)
                        self._note_types(table.path, positions, rows, batch.types)
                        self._copy(batch.vectors, rows, self.entity_vectors, self._has_vector, positions)
                    advance(len(batch.keys))

    def _copy(self, vectors: Float32, rows: Int32, into: Float32, done: Bools, positions: Int64 | None = None) -> None:
        """Copy vectors (those at `positions`, or all) to the rows that have none yet; row -1 is skipped."""
        if positions is None:
            positions = np.arange(len(rows))
        wanted = rows >= 0
        wanted[wanted] = ~done[rows[wanted]]
        copy_rows(vectors, positions[wanted], into, rows[wanted])
        done[rows[wanted]] = True

    def unknown_entities(self) -> Bools:
        """Entity rows, bool (E,), that no source and no embedding table has; a query that stands as one needs none."""
        unknown = ~(self._known | self._has_vector)
        if self._has_query_entities:
            unknown &= (self.entities.tags != _QUERY_TYPE) | _blank(self.entities)
        return unknown

    def blank_queries(self) -> Bools:
        """Query rows, bool (Q,), whose text is empty or white space."""
        return _blank(self.queries)

    def query_texts(self) -> Int64:
        """A number per query row, int64 (Q,), equal for texts that normalise to the same."""
        texts = KeyIndex(self._threads)
        parts = [
            texts.intern(
                as_strings(
                    normalise(self.queries.strings(start, min(start + _ENCODE_ROWS, len(self.queries)))), "query"
                )
            )
            for start in range(0, len(self.queries), _ENCODE_ROWS)
        ]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)

    # ---- 4. vectors of the encoder

    def encode(self, sources: Sequence[EntitySource], blank: Bools) -> None:
        """Encode the queries and entities that no table held, and the existing embeddings of the entities."""
        self._encode_texts(
            self.queries, np.flatnonzero(~self._query_has_vector & ~blank), self.query_vectors, "encoding queries"
        )
        as_entities = np.flatnonzero((self.entities.tags == _QUERY_TYPE) & ~self._has_vector & ~self.unknown_entities())
        self._encode_texts(self.entities, as_entities, self.entity_vectors, "encoding queries that stand as entities")
        self.queries_encoded = int((~self._query_has_vector & ~blank).sum()) + len(as_entities)
        self._encode_entities(sources)
        self.query_norms, self.entity_norms = self.norms(self.query_vectors), self.norms(self.entity_vectors)

    def norms(self, vectors: Float32) -> Float32:
        """One over the lengths of vectors at the prefix widths and of the blocks, float32 (n, W + B)."""
        return inverse_norms(vectors, self.widths, self._threads, blocks=list(self.blocks.values()))

    def columns(self, *, engaged: bool, leave_out: Int64 | None) -> PairColumns:
        """The cosine columns of pairs of these rows, after `encode`.

        Parameters
        ----------
        engaged
            Whether the sources tell the engaged queries.
        leave_out
            See `PairColumns`.
        """
        of_entities = EngagedQueries(self.engaged_starts, self.engaged_lengths, self.engaged)
        order = [name for name in self._encoder.config.compatibility if name in self.compatibility]
        return PairColumns(
            widths=self.widths,
            queries=self.query_vectors,
            query_norms=self.query_norms,
            whole_query_norms=np.ascontiguousarray(self.query_norms[:, len(self.widths) - 1]),
            entities=self.entity_vectors,
            entity_norms=self.entity_norms,
            compatibility={name: self.compatibility[name] for name in order},
            engaged=of_entities if engaged else None,
            leave_out=leave_out,
            threads=self._threads,
            blocks=self.blocks,
            trained=self._encoder.config.entity.trained,
        )

    def _encode_texts(self, keys: KeyIndex, rows: Int64, into: Float32, description: str) -> None:
        if len(rows) == 0:
            return
        with self._progress(description, len(rows)) as advance:
            for start in range(0, len(rows), _ENCODE_ROWS):
                part = rows[start : start + _ENCODE_ROWS]
                into[part] = self._encoder.encode_queries(keys.take(part))
                advance(len(part))

    def _encode_entities(self, sources: Sequence[EntitySource]) -> None:
        config = self._encoder.config
        inputs = config.entity_columns
        for source in sources:
            names = [name for name in config.compatibility if name in source.schema.names]
            for name in names:
                if name not in self.compatibility:
                    room = self._scratch.matrix(len(self.entities), self._encoder.dim)
                    self.compatibility[name] = room, np.zeros(len(self.entities), dtype=np.float32)
            if not names and not bool((self._known & ~self._has_vector).any()):
                continue
            with self._progress(f"encoding entities of {source.name}", None) as advance:
                for table, owners, rows in self._gathered(source, [*inputs, *names], bool(names), advance):
                    with source.named():
                        self._encode_rows(source, table, owners, rows, names)
        if (self._known & ~self._has_vector).any():
            names_read = ", ".join(source.name for source in sources)
            raise DataError(f"{names_read} changed while it was read; run again once nothing writes to it.")

    def _gathered(
        self, source: EntitySource, columns: Sequence[str], everything: bool, advance: Callable[[int], None]
    ) -> Iterable[tuple[pa.Table, Int64, Int32]]:
        """The source's entities that pairs name, enough at a time to keep the encoder busy.

        Gives tables with, for some entity rows, the position of each in the table. An entity has two rows where some
        pairs say its type and others don't. Without `everything`, only rows that have no vector yet.
        """
        parts: list[pa.Table] = []
        owners: list[Int64] = []
        rows: list[Int32] = []
        first_row, gathered = 1, 0
        for batch in source.batches(columns, _SCAN_ROWS):
            positions, found = self._match(source.ids(batch, first_row), source.types(batch, first_row))
            if not everything:
                positions, found = positions[~self._has_vector[found]], found[~self._has_vector[found]]
            if len(found):
                distinct, owner = np.unique(positions, return_inverse=True)
                parts.append(pa.table(batch.take(pa.array(distinct))))
                owners.append(owner + gathered)
                rows.append(found)
                gathered += len(distinct)
            first_row += batch.num_rows
            advance(batch.num_rows)
            if gathered >= _ENCODE_ROWS:
                yield pa.concat_tables(parts), np.concatenate(owners), np.concatenate(rows)
                parts, owners, rows, gathered = [], [], [], 0
        if parts:
            yield pa.concat_tables(parts), np.concatenate(owners), np.concatenate(rows)

    def _encode_rows(
        self, source: EntitySource, table: pa.Table, owners: Int64, rows: Int32, names: Sequence[str]
    ) -> None:
        missing = ~self._has_vector[rows]
        if missing.any():
            needed, owner = np.unique(owners[missing], return_inverse=True)
            vectors = self._encoder.encode_entities(table.take(pa.array(needed)), entity_type=source.entity_type)
            self.entity_vectors[rows[missing]] = vectors[owner]
            self._has_vector[rows[missing]] = True
            self.entities_encoded += len(needed)
        for name in names:
            vectors, present = self._encoder.encode_compatibility(table, name, entity_type=source.entity_type)
            into, norms = self.compatibility[name]
            into[rows] = vectors[owners]
            norms[rows] = np.where(present, inverse_norms(vectors)[:, 0], np.float32(0.0))[owners]


def _blank(keys: KeyIndex) -> Bools:
    blank = np.zeros(len(keys), dtype=np.bool_)
    for start in range(0, len(keys), _ENCODE_ROWS):
        texts = keys.strings(start, min(start + _ENCODE_ROWS, len(keys)))
        trimmed = pc.utf8_trim_whitespace(texts)
        blank[start : start + len(texts)] = pc.equal(pc.binary_length(trimmed), 0).to_numpy(zero_copy_only=False)
    return blank
