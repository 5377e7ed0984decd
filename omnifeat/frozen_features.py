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

from omnifeat.cosines import engaged_cosines, inverse_norms, pair_cosines
from omnifeat.data.files import as_table, like_input
from omnifeat.errors import DataError
from omnifeat.models.config import EncoderConfig
from omnifeat.text import normalise

__all__ = ["PairEncoder", "featurize_pairs"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_ENGAGED = "engaged_queries"
_SEPARATOR = "\x1f"  # stands in no id
REASONS = (
    "query is null",
    "query is blank",
    "entity_id is null",
    "entity_id is not among the entities",
    "query vector is zero",
    "entity vector is zero",
)


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

    reasons = _reasons(query_rows_P, blank_Q, candidate_rows_P, null_entity_P, vectors_QD, all_entities_D, len(used))
    if strict:
        _refuse_unscored(reasons, table)
    scored_P = reasons.is_null().to_numpy(zero_copy_only=False)
    query_rows_P = np.where(scored_P, query_rows_P, -1)
    candidate_rows_P = np.where(scored_P, candidate_rows_P, -1)

    columns = _learned_cosines(encoder.config, vectors_QD, all_entities_D, query_rows_P, candidate_rows_P)
    own_rows_P = np.where(is_query_P, -1, candidate_rows_P)
    for name in encoder.config.compatibility:
        if name in catalogue.column_names:
            existing_ED = np.zeros_like(entities_ED)
            if len(used):
                existing_ED, _ = encoder.encode_compatibility(used, name, entity_type)
            columns[f"cosine_{name}"] = pair_cosines(vectors_QD, existing_ED, query_rows_P, own_rows_P)[:, 0]
    if _ENGAGED in catalogue.column_names:
        keys_Q = None
        if leave_out_own_query:
            codes = pc.dictionary_encode(normalise(distinct)).indices
            keys_Q = codes.to_numpy(zero_copy_only=False).astype(np.int64)
        both = engaged_cosines(
            vectors_QD,
            np.ascontiguousarray(inverse_norms(vectors_QD)[:, 0]),
            query_rows_P,
            own_rows_P,
            np.cumsum(lengths_E) - lengths_E,
            lengths_E,
            engaged_rows,
            leave_out=keys_Q,
        )
        columns["max_cosine_engaged_queries"] = both[:, 0]
        columns["mean_cosine_engaged_queries"] = both[:, 1]
    return like_input(_with_columns(table, columns, reasons, column_prefix), pairs)


def _learned_cosines(
    config: EncoderConfig, queries_QD: Float32, entities_D: Float32, query_rows_P: Int64, entity_rows_P: Int64
) -> dict[str, Float32]:
    widths = [*sorted(width for width in config.matryoshka if width < config.dim), config.dim]
    cosines = pair_cosines(queries_QD, entities_D, query_rows_P, entity_rows_P, widths=widths)
    columns = {"cosine": cosines[:, -1]}
    for index, width in enumerate(widths[:-1]):
        columns[f"cosine_{width}"] = cosines[:, index]
    return columns


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
    if _ENGAGED not in entities.column_names:
        return pa.array([], pa.large_string()), np.zeros(len(entities), np.int64)
    lists = entities.column(_ENGAGED).combine_chunks()
    if pa.types.is_null(lists.type):
        return pa.array([], pa.large_string()), np.zeros(len(entities), np.int64)
    if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
        raise DataError(f"Column '{_ENGAGED}' holds {lists.type} where lists of text are needed.")
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    texts = pc.list_flatten(lists).cast(pa.large_string())
    kept = pc.is_valid(texts)
    counts = np.bincount(owners[kept.to_numpy(zero_copy_only=False)], minlength=len(entities))
    return texts.filter(kept), counts.astype(np.int64)


def _blank(texts: pa.Array) -> Bools:
    blank: Bools = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0).to_numpy(zero_copy_only=False)
    return blank


def _reasons(
    query_rows_P: Int64,
    blank_Q: Bools,
    entity_rows_P: Int64,
    null_entity_P: Bools,
    queries_QD: Float32,
    entities_D: Float32,
    proper_entities: int,
) -> pa.StringArray:
    """Why each pair has no cosine, null where it has one; the query's reason before the entity's."""
    # a blank text that stands as an entity is unknown, rather than known and zero
    blank_E = np.append(np.zeros(proper_entities, np.bool_), blank_Q)
    # row -1, no row, reads the value appended
    blank_P = np.append(blank_Q, False)[query_rows_P]
    unknown_P = np.append(blank_E, True)[entity_rows_P]
    zero_query_P = np.append(np.all(queries_QD == 0, axis=1), False)[query_rows_P]
    zero_entity_P = np.append(np.all(entities_D == 0, axis=1), False)[entity_rows_P]
    holds = [query_rows_P < 0, blank_P, null_entity_P, unknown_P, zero_query_P, zero_entity_P]
    first = np.argmax([*holds, np.ones(len(query_rows_P), np.bool_)], axis=0)
    index = pa.array(first.astype(np.int32), mask=first == len(REASONS))
    return pa.DictionaryArray.from_arrays(index, pa.array(REASONS, pa.string())).dictionary_decode()


def _refuse_unscored(reasons: pa.StringArray, pairs: pa.Table) -> None:
    unscored = np.flatnonzero(reasons.is_valid().to_numpy(zero_copy_only=False))
    if len(unscored):
        row = int(unscored[0])
        identifier = pairs.column("entity_id")[row].as_py()
        raise DataError(
            f"Row {row} of the pairs (entity_id {identifier!r}) cannot be scored: {reasons[row].as_py()}; mend it, or "
            "leave out 'strict' to keep such rows with nulls."
        )


def _with_columns(
    pairs: pa.Table, columns: Mapping[str, Float32], reasons: pa.StringArray, column_prefix: str
) -> pa.Table:
    arrays = {name: pa.array(np.ascontiguousarray(values), from_pandas=True) for name, values in columns.items()}
    arrays["unscored"] = reasons
    for name, array in arrays.items():
        if column_prefix + name in pairs.column_names:
            raise DataError(
                f"The pairs have a column '{column_prefix + name}' already; give a 'column_prefix' for the new ones."
            )
        pairs = pairs.append_column(column_prefix + name, array)
    return pairs
