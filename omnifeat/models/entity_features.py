"""Tables of pins and products, made ready for the entity encoder (sections 3.2, 3.3 and 3.4.2).

Shape legend: N entities of the table, B entities of a batch, G engaged queries of all entities together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from omnifeat.data.id_texts import id_texts
from omnifeat.errors import DataError
from omnifeat.models.config import EncoderConfig, EntityConfig
from omnifeat.models.entity import EntityInputs
from omnifeat.models.pieces import Pieces
from omnifeat.models.query_tokenizer import QueryTokenizer
from omnifeat.models.vectors import VectorColumn, averaged_vector_column, vector_column
from omnifeat.text import NgramTokenizer, TokenBags, gather_bags, normalise

__all__ = ["EntityTable", "entity_texts"]

Rows = npt.NDArray[np.int64]
_ENGAGED = "engaged_queries"


@dataclass(frozen=True, eq=False)
class EntityTable:
    """Entities as token bags and vectors; batches of them are cut by row number.

    Make one with `EntityTable.prepare`.

    Attributes
    ----------
    ids
        Ids of the entities, N strings.
    engaged_query_texts
        Distinct normalised texts of all engaged queries.
    text
        Word pieces of the fields that the block of text reads, N texts, where there is one; an entity without such text
        has no piece.
    """

    ids: pa.Array
    engaged_query_texts: pa.Array
    _base: TokenBags  # one bag an entity: all its text but the engaged queries
    _engaged: TokenBags  # one bag an engaged query text
    _engaged_offsets: Rows  # (N + 1,)
    _engaged_index: npt.NDArray[np.int32]  # (G,) into engaged_query_texts
    _continuous: tuple[tuple[int, VectorColumn | None], ...]  # width, column or None where the table lacks it
    text: Pieces | None = None

    @classmethod
    def prepare(
        cls,
        table: pa.Table,
        tokenizer: NgramTokenizer,
        config: EncoderConfig | EntityConfig,
        *,
        name: str = "entities",
        text_tokenizer: QueryTokenizer | None = None,
    ) -> "EntityTable":
        """Check a table of pins or products and tokenise its text.

        Every text is tokenised by itself, so that no bigram or trigram spans two fields. A column of the settings
        that the table lacks counts as empty; what is null or missing adds no token and zero vectors.

        Parameters
        ----------
        table
            `id` and any of the columns of pins and products. If there is an `entity_type` column, ids need be unique
            only within a type.
        tokenizer
            Tokenizer of the encoder.
        config
            Settings of the encoder, with the widths of the continuous features.
        name
            Name of the table, for messages.
        text_tokenizer
            Of the block of text, where there is one.

        Raises
        ------
        DataError
            There is no `id` column or no row, an id is null, empty or twice there, none of the columns that the
            encoder reads is there, or a column holds something else than text or finite vectors of the right width.
        """
        settings = config.entity if isinstance(config, EncoderConfig) else config
        ids = _checked_ids(table, name)
        text_fields = config.text.fields if isinstance(config, EncoderConfig) and text_tokenizer is not None else ()
        _check_columns(table, settings, text_fields, name)
        rows = len(ids)
        parts: list[tuple[TokenBags, Rows, Rows]] = []
        texts, offsets, index = _no_texts(rows)
        for field in settings.text_fields:
            if field not in table.column_names:
                continue
            if field == _ENGAGED:
                strings, owners = _strings_of(table, field, settings.max_engaged_queries, name)
                texts, offsets, index = _distinct_texts(strings, owners, rows)
            else:
                limit = settings.max_board_titles if field == "board_titles" else None
                strings, owners = _strings_of(table, field, limit, name)
                parts.append((tokenizer.encode(strings), np.arange(len(owners)), owners))
        continuous = tuple(
            (width, _continuous_column(table, column, width, name, ids))
            for column, width in settings.continuous.items()
        )
        return cls(
            ids=ids,
            engaged_query_texts=texts,
            _base=gather_bags(parts, rows),
            _engaged=tokenizer.encode(texts),
            _engaged_offsets=offsets,
            _engaged_index=index,
            _continuous=continuous,
            text=None if text_tokenizer is None else _pieces(table, text_fields, text_tokenizer, name),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def engaged_query_index(self, texts: pa.Array | pa.ChunkedArray) -> Rows:
        """Where each text, once normalised, stands in `engaged_query_texts`: int64; -1 for one that doesn't."""
        found = pc.index_in(normalise(texts), value_set=self.engaged_query_texts)
        index: Rows = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return index

    def inputs(self, rows: Rows, exclude_query: Rows | None = None) -> EntityInputs:
        """A batch of entities.

        Parameters
        ----------
        rows
            Row numbers, int64 `(B,)`; a row may stand several times.
        exclude_query
            For each row the index in `engaged_query_texts` of a query that is left out of the entity's engaged
            queries, -1 to leave none out: int64 `(B,)`. In training a pair's own query is left out: with it the
            entity's text would hold the label, and a model that matched the two would learn nothing else.
        """
        rows = np.asarray(rows, dtype=np.int64)
        starts = self._engaged_offsets[rows]
        lengths = self._engaged_offsets[rows + 1] - starts
        owners = np.repeat(np.arange(len(rows)), lengths)
        before = np.cumsum(lengths) - lengths
        engaged = self._engaged_index[np.repeat(starts - before, lengths) + np.arange(len(owners))].astype(np.int64)
        if exclude_query is not None:
            kept = engaged != np.asarray(exclude_query, dtype=np.int64)[owners]
            engaged, owners = engaged[kept], owners[kept]
        bags = gather_bags([(self._base, rows, np.arange(len(rows))), (self._engaged, engaged, owners)], len(rows))
        columns = [
            np.zeros((len(rows), width), np.float32) if column is None else column.rows(rows)
            for width, column in self._continuous
        ]
        continuous = np.concatenate([np.zeros((len(rows), 0), np.float32), *columns], axis=1)
        return EntityInputs(
            ids=torch.from_numpy(bags.ids),
            offsets=torch.from_numpy(bags.offsets),
            continuous=torch.from_numpy(continuous),
        )


def entity_texts(table: pa.Table, config: EntityConfig, *, name: str = "entities") -> list[pa.Array]:
    """All text of a table that the entity encoder reads, as `NgramTokenizer.fit` takes it: one array a column.

    Raises
    ------
    DataError
        A column holds something else than text.
    """
    limits = {_ENGAGED: config.max_engaged_queries, "board_titles": config.max_board_titles}
    return [
        _strings_of(table, field, limits.get(field), name)[0]
        for field in config.text_fields
        if field in table.column_names
    ]


def _checked_ids(table: pa.Table, name: str) -> pa.Array:
    if "id" not in table.column_names:
        raise DataError(
            f"Table '{name}' has no column 'id'; it has {', '.join(table.column_names) or 'no columns'}. "
            "Name the column of ids 'id'."
        )
    ids = id_texts(table.column("id"), f"Column 'id' of table '{name}'")
    if len(ids) == 0:
        raise DataError(f"Table '{name}' has no rows; give at least one entity.")
    empty = pc.fill_null(pc.equal(pc.utf8_length(ids), 0), True).to_numpy(zero_copy_only=False)
    if empty.any():
        raise DataError(f"Row {int(np.flatnonzero(empty)[0]) + 1} of table '{name}' has no id; give every row one.")
    keys = ids
    if "entity_type" in table.column_names:
        types = pc.fill_null(id_texts(table.column("entity_type"), f"Column 'entity_type' of table '{name}'"), "")
        keys = pc.binary_join_element_wise(types, ids, pa.scalar("\x1f", ids.type))
    codes = pc.dictionary_encode(keys)
    if len(codes.dictionary) < len(ids):
        numbers = codes.indices.to_numpy(zero_copy_only=False)
        # dictionary codes count upwards: the first row whose code is not new is the first repeat
        is_new = np.diff(np.maximum.accumulate(numbers), prepend=-1) > 0
        row = int(np.flatnonzero(~is_new)[0])
        first = int(np.flatnonzero(numbers == numbers[row])[0])
        raise DataError(
            f"Table '{name}' has the id {ids[row].as_py()!r} twice, in rows {first + 1} and {row + 1}; "
            "keep one of them."
        )
    return ids


def _pieces(table: pa.Table, fields: Sequence[str], tokenizer: QueryTokenizer, name: str) -> Pieces:
    """Word pieces of the fields' texts, joined by blanks; none where an entity has no text in any of them."""
    parts: list[list[str]] = [[] for _ in range(len(table))]
    for field in fields:
        if field in table.column_names:
            strings, owners = _strings_of(table, field, None, name)
            for text, owner in zip(strings.to_pylist(), owners.tolist(), strict=True):
                if text and not text.isspace():
                    parts[owner].append(text)
    texts = [" ".join(found) for found in parts]
    pieces = Pieces.prepare(texts, tokenizer)
    return pieces.without(np.asarray([not text for text in texts], dtype=np.bool_))


def _check_columns(table: pa.Table, config: EntityConfig, text_fields: Sequence[str], name: str) -> None:
    readable = list(dict.fromkeys([*config.text_fields, *config.continuous, *text_fields]))
    if "image_embedding" in config.continuous:
        readable.append("image_embeddings")
    if not any(column in table.column_names for column in readable):
        raise DataError(
            f"Table '{name}' has none of the columns that the encoder reads ({', '.join(readable)}); "
            "add one, or rename yours."
        )


def _is_text(data_type: pa.DataType) -> bool:
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    return bool(
        pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type)
    )


def _strings_of(table: pa.Table, field: str, limit: int | None, name: str) -> tuple[pa.Array, Rows]:
    """Texts of a column and the row of each; of lists, the first `limit` of each row, nulls left out."""
    array = table.column(field).combine_chunks()
    if pa.types.is_null(array.type):
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    if _is_text(array.type):
        return array, np.arange(len(array), dtype=np.int64)
    is_list = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    if not is_list or not (_is_text(array.type.value_type) or pa.types.is_null(array.type.value_type)):
        raise DataError(
            f"Column '{field}' of table '{name}' holds {array.type} where text or lists of text are needed; "
            "cast it to string."
        )
    if pa.types.is_null(array.type.value_type):
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    owners = pc.list_parent_indices(array).to_numpy(zero_copy_only=False).astype(np.int64)
    strings = pc.list_flatten(array)
    if strings.null_count:
        valid = pc.is_valid(strings)
        strings, owners = strings.filter(valid), owners[valid.to_numpy(zero_copy_only=False)]
    if limit is not None:
        lengths = np.bincount(owners, minlength=len(array))
        place_in_list = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        kept = place_in_list < limit
        strings, owners = strings.filter(pa.array(kept)), owners[kept]
    return strings, owners


def _no_texts(rows: int) -> tuple[pa.Array, Rows, npt.NDArray[np.int32]]:
    return pa.array([], pa.string()), np.zeros(rows + 1, np.int64), np.zeros(0, np.int32)


def _distinct_texts(strings: pa.Array, owners: Rows, rows: int) -> tuple[pa.Array, Rows, npt.NDArray[np.int32]]:
    """Distinct normalised texts, and per entity (offsets, index into them); empty texts are left out."""
    normal = normalise(strings)
    kept = pc.greater(pc.utf8_length(normal), 0)
    encoded = pc.dictionary_encode(normal.filter(kept))
    counts = np.bincount(owners[kept.to_numpy(zero_copy_only=False)], minlength=rows)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    return encoded.dictionary, offsets, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)


def _continuous_column(table: pa.Table, column: str, width: int, name: str, ids: pa.Array) -> VectorColumn | None:
    """A vector column; `image_embedding` is the average of `image_embeddings` where an entity has several images."""
    single = vector_column(table, column, width, name=name, ids=ids) if column in table.column_names else None
    if column != "image_embedding" or "image_embeddings" not in table.column_names:
        return single
    several = averaged_vector_column(table, "image_embeddings", width, name=name, ids=ids)
    if single is None:
        return several
    values = np.where(several.present[:, None], several.values, single.values)
    return VectorColumn(values, several.present | single.present)
