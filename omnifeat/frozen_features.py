"""Cosine features of (query, entity) pairs that are in memory: what `FrozenEncoder.featurize` does.

The columns, their names and the reasons in `unscored` are those of `omnifeat.featurize`, which streams files, looks up
embedding tables and keeps to a memory limit.

Shape legend: P pairs, Q distinct texts, E entities that pairs name, D dim.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.cosines import inverse_norms
from omnifeat.data.files import as_table, like_input
from omnifeat.errors import DataError
from omnifeat.feature_columns import ENGAGED, REASONS, UNSCORED, EngagedQueries, PairColumns, reason_column
from omnifeat.models.config import EncoderConfig
from omnifeat.text import normalise

__all__ = ["PairEncoder", "featurize_pairs"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_SEPARATOR = "\x1f"  # stands in no id


class PairEncoder(Protocol):
    """What is asked of an encoder."""

    config: EncoderConfig

    def encode_queries(self, texts: Any, batch_size: int = ...) -> Float32:
        """Embeddings `(n, dim)` of texts."""

    def encode_entities(self, table: Any, entity_type: str | None = ..., batch_size: int = ...) -> Float32:
        """Embeddings `(n, dim)` of entities."""

    def encode_compatibility(
        self, table: Any, column: str, entity_type: str | None = ..., batch_size: int = ...
    ) -> tuple[Float32, Bools]:
        """Existing embeddings `(n, dim)` of entities, and which of them there are."""


def featurize_pairs(
    encoder: PairEncoder,
    pairs: Any,
    entities: Any,
    *,
    entity_type: str | None,
    leave_out_own_query: bool,
    column_prefix: str,
    strict: bool,
) -> Any:
    """The pairs with their cosine columns; see `FrozenEncoder.featurize`."""
    table, catalogue = as_table(pairs), as_table(entities)
    _check_columns(table, catalogue)
    queries = _text_column(table, "query")
    entity_rows_P, is_query_P = _entity_rows(table, catalogue, entity_type)
    null_entity_P = pc.is_null(_text_column(table, "entity_id")).to_numpy(zero_copy_only=False)

    # every distinct text once, whether it is a pair's query, a query that stands as an entity, or an engaged one
    used_E, used_rows_P = _numbered(entity_rows_P)
    used = catalogue.take(pa.array(used_E))
    engaged, lengths_E = _engaged_queries(used)
    entity_queries = _text_column(table, "entity_id").filter(pa.array(is_query_P))
    texts = pa.concat_arrays([queries, entity_queries, engaged])
    encoded_texts = pc.dictionary_encode(texts)
    distinct, rows = encoded_texts.dictionary, pc.fill_null(encoded_texts.indices, -1).to_numpy().astype(np.int64)
    blank_Q = _blank(distinct)
    vectors_QD = np.zeros((len(distinct), encoder.config.dim), np.float32)
    if not blank_Q.all():
        vectors_QD[~blank_Q] = encoder.encode_queries(distinct.filter(pa.array(~blank_Q)))
    query_rows_P, entity_query_rows, engaged_rows = np.split(rows, [len(queries), len(queries) + len(entity_queries)])

    entities_ED = np.zeros((0, encoder.config.dim), np.float32)
    if len(used):
        entities_ED = encoder.encode_entities(used, entity_type)
    # queries that stand as entities come after the entities proper
    all_entities_D = np.concatenate([entities_ED, vectors_QD])
    candidate_rows_P = used_rows_P.copy()
    candidate_rows_P[is_query_P] = np.where(entity_query_rows >= 0, entity_query_rows + len(entities_ED), -1)

    codes_P = _reason_codes(
        query_rows_P, blank_Q, candidate_rows_P, null_entity_P, vectors_QD, all_entities_D, len(used)
    )
    if strict:
        _refuse_unscored(codes_P, table)
    widths = sorted({*encoder.config.matryoshka, encoder.config.dim})
    query_norms_QW = inverse_norms(vectors_QD, widths)
    compatibility = {}
    for name in encoder.config.compatibility:
        if name in catalogue.column_names:
            existing_ED = np.zeros_like(all_entities_D)  # zero for queries that stand as entities
            if len(used):
                existing_ED[: len(used)], _ = encoder.encode_compatibility(used, name, entity_type)
            compatibility[name] = existing_ED, inverse_norms(existing_ED)[:, 0]
    of_entities, keys_Q = None, None
    if ENGAGED in catalogue.column_names:
        counts_E = np.append(lengths_E, np.zeros(len(vectors_QD), np.int64))
        of_entities = EngagedQueries(np.cumsum(counts_E) - counts_E, counts_E, engaged_rows)
        if leave_out_own_query:
            codes = pc.dictionary_encode(normalise(distinct)).indices
            keys_Q = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    columns = PairColumns(
        widths=widths,
        queries=vectors_QD,
        query_norms=query_norms_QW,
        whole_query_norms=np.ascontiguousarray(query_norms_QW[:, -1]),
        entities=all_entities_D,
        entity_norms=inverse_norms(all_entities_D, widths),
        compatibility=compatibility,
        engaged=of_entities,
        leave_out=keys_Q,
    )
    found = columns.of(np.where(codes_P == 0, query_rows_P, -1), np.where(codes_P == 0, candidate_rows_P, -1))
    named = dict(zip(columns.names, found, strict=True))
    return like_input(_with_columns(table, named, reason_column(codes_P), column_prefix), pairs)


def _check_columns(pairs: pa.Table, entities: pa.Table) -> None:
    for name, table, needed in (("pairs", pairs, ("query", "entity_id")), ("entities", entities, ("id",))):
        for column in needed:
            if column not in table.column_names:
                there = ", ".join(table.column_names) or "no columns"
                raise DataError(f"Table '{name}' has no column '{column}'; it has {there}.")


def _text_column(table: pa.Table, column: str) -> pa.Array:
    array = table.column(column).combine_chunks()
    try:
        return array.cast(pa.large_string())
    except pa.ArrowNotImplementedError as error:
        raise DataError(f"Column '{column}' holds {array.type} where text is needed; cast it to string.") from error


def _entity_rows(pairs: pa.Table, entities: pa.Table, entity_type: str | None) -> tuple[Int64, Bools]:
    """Row of each pair's entity, -1 for none, and whether the entity is itself a query.

    Types are compared where both tables say them; elsewhere the id alone decides.
    """
    wanted, ids = _text_column(pairs, "entity_id"), _text_column(entities, "id")
    is_query_P = np.zeros(len(wanted), np.bool_)
    if "entity_type" in pairs.column_names:
        pair_types = pc.fill_null(_text_column(pairs, "entity_type"), "")
        is_query_P = pc.equal(pair_types, "query").to_numpy(zero_copy_only=False)
        types = None
        if entity_type is not None:
            types = pa.repeat(pa.scalar(entity_type, pa.large_string()), len(ids))
        elif "entity_type" in entities.column_names:
            types = pc.fill_null(_text_column(entities, "entity_type"), "")
        if types is not None:
            separator = pa.scalar(_SEPARATOR, pa.large_string())
            wanted = pc.binary_join_element_wise(pair_types, wanted, separator)
            ids = pc.binary_join_element_wise(types, ids, separator)
    if pc.count_distinct(ids).as_py() < len(ids):
        counts = pc.value_counts(ids)
        twice = next(item["values"].as_py() for item in counts if item["counts"].as_py() > 1)
        raise DataError(
            f"Table 'entities' has the id {twice.split(_SEPARATOR)[-1]!r} more than once; keep one of them, "
            "or give both tables a column 'entity_type' that tells them apart."
        )
    found = pc.fill_null(pc.index_in(wanted, value_set=ids, skip_nulls=True), -1).to_numpy(zero_copy_only=False)
    return np.where(is_query_P, -1, found.astype(np.int64)), is_query_P


def _numbered(rows_P: Int64) -> tuple[Int64, Int64]:
    """Distinct row numbers of 0 or more, and each pair's place among them (-1 stays)."""
    distinct, places = np.unique(rows_P, return_inverse=True)
    missing = int((distinct < 0).sum())
    return distinct[missing:].astype(np.int64), (places - missing).astype(np.int64)


def _engaged_queries(entities: pa.Table) -> tuple[pa.Array, Int64]:
    """Engaged queries of all entities, one after another, and how many each has; nulls are left out."""
    if ENGAGED not in entities.column_names:
        return pa.array([], pa.large_string()), np.zeros(len(entities), np.int64)
    lists = entities.column(ENGAGED).combine_chunks()
    if pa.types.is_null(lists.type):
        return pa.array([], pa.large_string()), np.zeros(len(entities), np.int64)
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        raise DataError(f"Column '{ENGAGED}' holds {lists.type} where lists of text are needed.")
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    texts = pc.list_flatten(lists).cast(pa.large_string())
    kept = pc.is_valid(texts)
    counts = np.bincount(owners[kept.to_numpy(zero_copy_only=False)], minlength=len(entities))
    return texts.filter(kept), counts.astype(np.int64)


def _blank(texts: pa.Array) -> Bools:
    blank: Bools = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0).to_numpy(zero_copy_only=False)
    return blank


def _reason_codes(
    query_rows_P: Int64,
    blank_Q: Bools,
    entity_rows_P: Int64,
    null_entity_P: Bools,
    queries_QD: Float32,
    entities_D: Float32,
    proper_entities: int,
) -> Int64:
    """Why each pair has no cosine, as a place in `REASONS` from 1; 0 where it has one."""
    # a blank text that stands as an entity is unknown, rather than known and zero
    blank_E = np.append(np.zeros(proper_entities, np.bool_), blank_Q)
    # row -1, no row, reads the value appended
    blank_P = np.append(blank_Q, False)[query_rows_P]
    unknown_P = np.append(blank_E, True)[entity_rows_P]
    zero_query_P = np.append(np.all(queries_QD == 0, axis=1), False)[query_rows_P]
    zero_entity_P = np.append(np.all(entities_D == 0, axis=1), False)[entity_rows_P]
    holds = np.stack([query_rows_P < 0, blank_P, null_entity_P, unknown_P, zero_query_P, zero_entity_P])
    return np.where(holds.any(axis=0), holds.argmax(axis=0) + 1, 0)


def _refuse_unscored(codes_P: Int64, pairs: pa.Table) -> None:
    unscored = np.flatnonzero(codes_P)
    if len(unscored):
        row = int(unscored[0])
        identifier = pairs.column("entity_id")[row].as_py()
        raise DataError(
            f"Row {row} of the pairs (entity_id {identifier!r}) cannot be scored: {REASONS[codes_P[row] - 1]}; mend "
            "it, or leave out 'strict' to keep such rows with nulls."
        )


def _with_columns(
    pairs: pa.Table, columns: Mapping[str, Float32], reasons: pa.StringArray, column_prefix: str
) -> pa.Table:
    arrays = {name: pa.array(np.ascontiguousarray(values), from_pandas=True) for name, values in columns.items()}
    arrays[UNSCORED] = reasons
    for name, array in arrays.items():
        if column_prefix + name in pairs.column_names:
            raise DataError(
                f"The pairs have a column '{column_prefix + name}' already; give a 'column_prefix' for the new ones."
            )
        pairs = pairs.append_column(column_prefix + name, array)
    return pairs
