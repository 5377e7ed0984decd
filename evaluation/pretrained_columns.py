"""Cosine features of an encoder that was not trained here, beside which a trained one must prove its worth.

    pretrained_cosine                        of the query and the entity's text
    pretrained_max_cosine_engaged_queries    the largest to the entity's engaged queries, without the pair's own query

Shape suffixes: Q texts, E entities, P pairs, D dim.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.baselines import entity_texts
from omnifeat.cosines import engaged_cosines, inverse_norms, pair_cosines
from omnifeat.entity_sources import entity_sources
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.text.normalise import normalise

__all__ = ["PRETRAINED_COLUMNS", "PRETRAINED_FIELDS", "TextEncoder", "pretrained_columns"]

PRETRAINED_FIELDS = ("title", "description", "caption")
PRETRAINED_COLUMNS = ("pretrained_cosine", "pretrained_max_cosine_engaged_queries")
_ROWS = 16_384


class TextEncoder(Protocol):
    """What is asked of the encoder: a `PretrainedEncoder` has it."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors (n, D) of texts."""


def pretrained_columns(
    dataset_path: str, tables: Sequence[pa.Table], encoder: TextEncoder, fields: Sequence[str] = PRETRAINED_FIELDS
) -> list[pa.Table]:
    """The two float32 columns of each table of pairs (`query`, `entity_id`, `entity_type`), rows in their order.

    Each distinct query, entity that a pair names, and engaged query of such an entity is encoded once. An entity that
    is not there has nulls. Raises `DataError` for a table that is not what it must be.
    """
    entities = KeyIndex()
    entity_rows = [entities.intern(_keys(table)) for table in tables]
    texts_of_entity = [""] * len(entities)
    known = np.zeros(len(entities), dtype=np.bool_)
    lists: list[list[str]] = [[] for _ in range(len(entities))]
    for source in entity_sources(dataset_path):
        row = 1
        for batch in source.batches([*fields, "engaged_queries"], _ROWS):
            kinds = pa.repeat(pa.scalar(source.entity_type, pa.large_string()), batch.num_rows)
            found = entities.find(_joined(kinds, source.ids(batch, row)))
            row += batch.num_rows
            places = np.flatnonzero(found >= 0)
            some = pa.Table.from_batches([batch]).take(pa.array(places))
            for place, text in zip(found[places].tolist(), entity_texts(some, fields), strict=True):
                texts_of_entity[place], known[place] = text, True
            if "engaged_queries" in some.column_names:
                for place, items in zip(found[places].tolist(), some["engaged_queries"].to_pylist(), strict=True):
                    lists[place] = [item for item in items or () if item]
    queries = KeyIndex()
    query_rows = [queries.intern(as_strings(table["query"], "query")) for table in tables]
    engaged = np.concatenate(
        [queries.intern(pa.array(items, pa.large_string())) for items in lists] or [np.zeros(0, dtype=np.int32)]
    ).astype(np.int32)
    lengths = np.array([len(items) for items in lists], dtype=np.int64)
    query_texts = queries.strings()
    queries_QD = encoder.encode(query_texts.to_pylist())
    entities_ED = encoder.encode(texts_of_entity)
    entities_ED[~known] = 0
    norms = np.ascontiguousarray(inverse_norms(queries_QD)[:, 0])
    own = pc.dictionary_encode(normalise(query_texts)).indices.to_numpy(zero_copy_only=False).astype(np.int64)
    found_columns = []
    for of_query, of_entity in zip(query_rows, entity_rows, strict=True):
        cosine = pair_cosines(queries_QD, entities_ED, of_query, of_entity)[:, 0]
        both = engaged_cosines(
            queries_QD, norms, of_query, of_entity, np.cumsum(lengths) - lengths, lengths, engaged, leave_out=own
        )
        arrays: list[Any] = [
            pa.array(np.ascontiguousarray(values), from_pandas=True) for values in (cosine, both[:, 0])
        ]
        found_columns.append(pa.table(dict(zip(PRETRAINED_COLUMNS, arrays, strict=True))))
    return found_columns


def _keys(table: pa.Table) -> pa.LargeStringArray:
    return _joined(as_strings(table["entity_type"], "entity_type"), as_strings(table["entity_id"], "entity_id"))


def _joined(kinds: pa.Array, ids: pa.Array) -> pa.LargeStringArray:
    return as_strings(pc.binary_join_element_wise(kinds, ids, pa.scalar("\x1f", pa.large_string())), "entity_id")
