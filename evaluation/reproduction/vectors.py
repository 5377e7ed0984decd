"""Vectors of a study's queries and entities: whatever is measured of an encoder, each text and entity is encoded once.

Groups of pairs share queries, and those of one entity type share most entities, so what all of them need is encoded
together and each takes its rows.

Shapes: Q queries, N entities, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from evaluation.baselines import entity_texts
from evaluation.catalogue import scored_entities
from evaluation.reproduction.questions import PairGroup
from omnifeat.data.dataset import Dataset
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.encoding import encode_distinct_queries
from omnifeat.models.query import QueryEncoder
from omnifeat.models.query_table import QueryTable
from omnifeat.pretrained import PretrainedEncoder
from omnifeat.training.pooled_outputs import PooledOutputs
from omnifeat.training.threads import thread_limit

__all__ = ["Entities", "PretrainedSource", "StudyVectors", "TrainedSource", "VectorSource", "Vectors"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_EMBEDDING_OF = {"pin": "pinsage", "product": "itemsage"}


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors of a group's queries float32 (Q, D) and entities (N, D), and which entities have one, bool (N,)."""

    queries: FloatArray
    entities: FloatArray
    present: BoolArray


class Entities:
    """Rows of the entities of a study's groups, those of a type read once for all systems."""

    def __init__(self, dataset: Dataset, groups: Mapping[str, PairGroup]) -> None:
        self._dataset = dataset
        ids: dict[str, list[pa.StringArray]] = {}
        for group in groups.values():
            ids.setdefault(group.entity_type, []).append(group.pairs.entity_ids)
        self._ids = {entity_type: pc.unique(pa.chunked_array(listed)) for entity_type, listed in ids.items()}
        self._tables: dict[str, pa.Table] = {}

    def ids(self, entity_type: str) -> pa.StringArray:
        """Ids of all entities of a type, each once; none where no group is of it."""
        return self._ids.get(entity_type, pa.array([], pa.string()))

    def of_type(self, entity_type: str) -> pa.Table:
        """Rows in the order of `ids`, with `id`."""
        if entity_type not in self._tables:
            self._tables[entity_type] = scored_entities(self._dataset, entity_type, self.ids(entity_type))
        return self._tables[entity_type]

    def rows(self, group: PairGroup) -> IntArray | slice:
        """Where the group's `entity_ids` stand among `ids`; a slice, which copies nothing, where they are all."""
        ids = self.ids(group.entity_type)
        if ids.equals(group.pairs.entity_ids):
            return slice(None)
        return np.asarray(pc.index_in(group.pairs.entity_ids, ids)).astype(np.int64)

    def table(self, group: PairGroup) -> pa.Table:
        """Rows in the order of the group's `entity_ids`, with `id`."""
        rows, table = self.rows(group), self.of_type(group.entity_type)
        return table if isinstance(rows, slice) else table.take(pa.array(rows))


class VectorSource(Protocol):
    """An encoder, as a study asks it."""

    def queries(self, texts: pa.StringArray) -> FloatArray:
        """Vectors float32 (Q, D)."""

    def entities(self, table: pa.Table, entity_type: str, existing: bool) -> tuple[FloatArray, BoolArray] | None:
        """Vectors float32 (N, D) of pins or products, and who has one; None where it has none of the kind."""


class TrainedSource:
    """A trained model; read when first asked, as a study that goes on may need nothing of it.

    Where its query transformer was not trained, `pooled` keeps the outputs that all models over it share.
    """

    def __init__(self, path: Path, threads: int | None, pooled: PooledOutputs | None = None) -> None:
        self._path, self._threads, self._pooled = path, threads, pooled

    @cached_property
    def _encoder(self) -> FrozenEncoder:
        return FrozenEncoder.from_pretrained(self._path, threads=self._threads)

    def queries(self, texts: pa.StringArray) -> FloatArray:
        encoder = self._encoder
        query, alone = encoder.model.query, list(encoder.blocks) == ["learned"]
        fixed = encoder.config.query.trainable_layers == 0
        if self._pooled is None or not alone or not fixed or not isinstance(query, QueryEncoder):
            return encoder.encode_queries(texts)
        with thread_limit(self._threads), torch.inference_mode():
            table = QueryTable.prepare(texts.to_pylist(), encoder.ngrams, encoder.query_tokenizer)
            table = self._pooled.of(table, query, encoder.device)
            found = encode_distinct_queries(encoder.model, table, np.arange(len(table)), encoder.device)
            return found.cpu().numpy()

    def entities(self, table: pa.Table, entity_type: str, existing: bool) -> tuple[FloatArray, BoolArray] | None:
        encoder, column = self._encoder, _EMBEDDING_OF[entity_type]
        if not existing:
            return encoder.encode_entities(table, entity_type), np.ones(len(table), dtype=bool)
        if column not in encoder.config.compatibility_widths or column not in table.column_names:
            return None
        return encoder.encode_compatibility(table, column, entity_type)


class PretrainedSource:
    """An encoder that was not trained here; it reads all text of an entity."""

    def __init__(self, encoder: PretrainedEncoder) -> None:
        self._encoder = encoder

    def queries(self, texts: pa.StringArray) -> FloatArray:
        return self._encoder.encode(texts.to_pylist())

    def entities(self, table: pa.Table, entity_type: str, existing: bool) -> tuple[FloatArray, BoolArray] | None:
        return self._encoder.encode(entity_texts(table)), np.ones(len(table), dtype=bool)


class StudyVectors:
    """Vectors of a study's groups by one encoder; what was encoded is held as long as this object is.

    Parameters
    ----------
    source
        The encoder.
    groups
        All groups that are measured with it.
    entities
        Of these groups.
    """

    def __init__(self, source: VectorSource, groups: Mapping[str, PairGroup], entities: Entities) -> None:
        self._source, self._all = source, entities
        self._texts = pc.unique(
            pa.chunked_array(
                [pa.array(group.pairs.queries, pa.string()) for group in groups.values()] + [entities.ids("query")]
            )
        )
        self._encoded: dict[tuple[str, bool], tuple[FloatArray, BoolArray] | None] = {}

    def of(self, group: PairGroup, *, existing: bool = False) -> Vectors | None:
        """Vectors of one of the groups.

        Parameters
        ----------
        existing
            Whether pins and products are told by PinSage and ItemSage, brought to the queries' width, in place of the
            model's entity encoder (section 3.4.3).

        Returns
        -------
        None where the encoder has no vectors of the kind.
        """
        queries = self._of_texts(pa.array(group.pairs.queries, pa.string()))
        if group.entity_type == "query":
            return Vectors(queries, self._of_texts(group.pairs.entity_ids), np.ones(len(group.pairs.entity_ids), bool))
        key = (group.entity_type, existing)
        if key not in self._encoded:
            self._encoded[key] = self._source.entities(self._all.of_type(group.entity_type), *key)
        of_type = self._encoded[key]
        if of_type is None:
            return None
        vectors, present = of_type
        rows = self._all.rows(group)
        return Vectors(queries, vectors[rows], present[rows])

    @cached_property
    def _of_all_texts(self) -> FloatArray:
        return self._source.queries(self._texts)

    def _of_texts(self, texts: pa.StringArray) -> FloatArray:
        return self._of_all_texts[np.asarray(pc.index_in(texts, self._texts))]
