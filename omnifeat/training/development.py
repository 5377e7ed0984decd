"""Recall@10 on development pairs while training runs: what early stop and the choice of weights go by.

Shapes: Q queries, N entities of the corpus, P pairs, D width of the vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from omnifeat.models.blocks import joined
from omnifeat.models.encoding import entity_blocks, query_blocks
from omnifeat.models.omni import OmniModel
from omnifeat.models.query_table import QueryTable
from omnifeat.ranks import Excluded, id_order, ranks_of_positives
from omnifeat.training.prepare import TrainingData
from omnifeat.training.tasks import ENTITY, QUERY
from omnifeat.training.threads import thread_limit

__all__ = ["DevelopmentPairs", "DevelopmentSet", "DevelopmentVectors", "prepare_development_set"]

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]

_AT_ONCE = 1_024


@dataclass(frozen=True, eq=False)
class DevelopmentPairs:
    """Pairs of one set.

    Attributes
    ----------
    name, entity_type
        Of the set.
    encoder
        The learned encoder of the entities where a task of the set trains it, else an existing embedding.
    queries, positives
        int64 (P,): rows of the development queries, and positions in the corpus of the type.
    excluded
        The query's other development positives, which are no negatives.
    known
        The query's development and training positives: what is left out of the corpus when new pairs are measured, as
        who remembers what a query was trained on would else look worse for it.
    is_new
        bool (P,): the pair was not trained on.
    """

    name: str
    entity_type: str
    encoder: str
    queries: Rows
    positives: Rows
    excluded: Excluded
    known: Excluded
    is_new: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class DevelopmentVectors:
    """Vectors of the development queries and corpora, by block, each float32 (n, width of the block).

    A corpus stands under its type and the encoder of its entities. Existing embeddings are in the learned block alone.
    """

    queries: Mapping[str, Vectors]
    corpora: Mapping[tuple[str, str], Mapping[str, Vectors]]

    def beside(self, others: "DevelopmentVectors") -> "DevelopmentVectors":
        """These blocks, and then the others of the same corpora."""
        corpora = {key: {**found, **others.corpora.get(key, {})} for key, found in self.corpora.items()}
        return DevelopmentVectors({**self.queries, **others.queries}, corpora)

    def alone(self, *blocks: str) -> "DevelopmentVectors":
        """Only some of the blocks, and only corpora that have them."""
        corpora = {
            key: {name: found[name] for name in blocks}
            for key, found in self.corpora.items()
            if set(blocks) <= set(found)
        }
        return DevelopmentVectors({name: self.queries[name] for name in blocks}, corpora)


@dataclass(frozen=True, eq=False)
class DevelopmentSet:
    """Pairs to rank, and the entities of each type to rank them among (rows of the entity table, in id order)."""

    data: TrainingData
    queries: QueryTable
    corpora: Mapping[str, Rows]
    pairs: list[DevelopmentPairs]

    def recall_at_10(self, model: OmniModel, device: torch.device) -> dict[str, float]:
        """Recall@10 of the learned block alone, on all pairs; see `recall`."""
        return self.recall(self.vectors(model, device, ("learned",)), {"learned": 1.0})

    def vectors(self, model: OmniModel, device: torch.device, blocks: Sequence[str]) -> DevelopmentVectors:
        """Encode queries and corpora, in evaluation mode, and without gradients; only the blocks asked for."""
        was_training = model.training
        model.eval()
        with torch.no_grad():
            of_queries = self._encode(model, QUERY, np.arange(len(self.queries)), blocks, device)
            corpora = {
                (kind, encoder): self._encode_entities(model, kind, encoder, self.corpora[kind], blocks, device)
                for kind, encoder in sorted({(pairs.entity_type, pairs.encoder) for pairs in self.pairs})
            }
        model.train(was_training)
        return DevelopmentVectors(of_queries, corpora)

    def recall(
        self, vectors: DevelopmentVectors, shares: Mapping[str, float], *, new: bool = False
    ) -> dict[str, float]:
        """Share of pairs whose entity is among the ten nearest of its type, the query's other positives left out.

        Parameters
        ----------
        vectors
            From `vectors`.
        shares
            Block -> its share of the cosine. Where a corpus lacks a block, the others stand for it.
        new
            Measure pairs that were not trained on alone, with what the query was trained on left out of the corpus.

        Returns
        -------
        dict
            One entry a set that has such pairs, and `mean`, the mean over the sets: a small set counts as much as a
            large one. Empty if no set has such pairs.
        """
        recall = {}
        for pairs in self.pairs:
            chosen = np.flatnonzero(pairs.is_new) if new else np.arange(len(pairs.queries))
            corpus = vectors.corpora.get((pairs.entity_type, pairs.encoder))
            if corpus is None or not len(chosen):
                continue
            corpus_ND = _joined(corpus, shares)
            queries_QD = _joined({name: vectors.queries[name] for name in corpus}, shares)
            order_N = np.arange(len(corpus_ND), dtype=np.int64)  # corpora are sorted by id
            left_out = pairs.known if new else pairs.excluded
            with thread_limit(None):  # the ranks are counted by numba, which would leave torch another number
                ranks = ranks_of_positives(
                    queries_QD, corpus_ND, order_N, pairs.queries[chosen], pairs.positives[chosen], left_out
                )
            recall[pairs.name] = float((ranks <= 10).mean())
        return recall | {"mean": float(np.mean(list(recall.values())))} if recall else {}

    def _encode_entities(
        self, model: OmniModel, kind: str, encoder: str, rows: Rows, blocks: Sequence[str], device: torch.device
    ) -> dict[str, Vectors]:
        if encoder in (ENTITY, QUERY):
            return self._encode(model, kind, rows, blocks, device)
        if "learned" not in blocks:
            return {}
        column, project = self.data.vectors[kind, encoder], model.compatibility[encoder]
        parts = [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]
        found = [project(torch.from_numpy(column.rows(part)).to(device)) for part in parts]
        return {"learned": np.concatenate([block.float().cpu().numpy() for block in found])}

    def _encode(
        self, model: OmniModel, kind: str, rows: Rows, blocks: Sequence[str], device: torch.device
    ) -> dict[str, Vectors]:
        found: dict[str, list[Vectors]] = {name: [] for name in blocks}
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            if kind == QUERY:
                encoded = query_blocks(model, self.queries, part, device, only=blocks)
            else:
                encoded = entity_blocks(model, self.data.entities[kind], part, device, only=blocks)
            for name in blocks:
                found[name].append(encoded[name].float().cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}


def _joined(blocks: Mapping[str, Vectors], shares: Mapping[str, float]) -> Vectors:
    vectors = joined([torch.from_numpy(block) for block in blocks.values()], [shares[name] for name in blocks])
    return np.ascontiguousarray(vectors.numpy())


def prepare_development_set(data: TrainingData, *, max_pairs: int, max_corpus: int, seed: int) -> DevelopmentSet | None:
    """The development part with at most `max_pairs` pairs a set and `max_corpus` entities a type; None if it is empty.

    Entities are all of the type where there are no more than `max_corpus`, else a random sample and the positives.
    Queries suggested for queries are ranked among all queries that are suggested in the development part.
    """
    if not data.development_pair_sets:
        return None
    generator = np.random.default_rng([seed, 2])
    corpora: dict[str, Rows] = {}
    chosen = {}
    for pairs in data.development_pair_sets:
        size = min(max_pairs, len(pairs))
        chosen[pairs.name] = np.sort(generator.choice(len(pairs), size, replace=False))
    for kind in {pairs.entity_type for pairs in data.development_pair_sets}:
        of_kind = [pairs for pairs in data.development_pair_sets if pairs.entity_type == kind]
        everything = (
            np.unique(np.concatenate([pairs.entities for pairs in of_kind]))
            if kind == QUERY
            else np.arange(len(data.entities[kind]))
        )
        if len(everything) > max_corpus:
            everything = np.sort(generator.choice(everything, max_corpus, replace=False))
        positives = np.concatenate([pairs.entities[chosen[pairs.name]] for pairs in of_kind])
        rows = np.union1d(everything, positives).astype(np.int64)
        ids = data.development_catalogue.queries if kind == QUERY else data.entities[kind].ids
        corpora[kind] = rows[np.argsort(id_order(ids.take(pa.array(rows))), kind="stable")]

    queries = QueryTable.prepare(
        data.development_catalogue.queries.to_pylist(),
        data.ngram_tokenizer,
        data.query_tokenizer,
        data.text_tokenizer,
    )
    prepared = []
    for pairs in data.development_pair_sets:
        position = np.full(data.development_catalogue.size(pairs.entity_type), -1, np.int64)
        position[corpora[pairs.entity_type]] = np.arange(len(corpora[pairs.entity_type]))
        inside = position[pairs.entities] >= 0
        own = pairs.queries[inside], position[pairs.entities[inside]]
        trained = _trained_pairs(data, pairs.entity_type, position)
        rows = chosen[pairs.name]
        encoders = [task.encoder for task in data.tasks if task.pairs == pairs.name]
        positives = position[pairs.entities[rows]]
        keys, size = trained[0] * len(position) + trained[1], len(position)
        prepared.append(
            DevelopmentPairs(
                name=pairs.name,
                entity_type=pairs.entity_type,
                encoder=next((name for name in encoders if name in (ENTITY, QUERY)), encoders[0]),
                queries=pairs.queries[rows],
                positives=positives,
                excluded=Excluded.from_pairs(*own, len(queries)),
                known=Excluded.from_pairs(
                    np.concatenate([own[0], trained[0]]), np.concatenate([own[1], trained[1]]), len(queries)
                ),
                is_new=~np.isin(pairs.queries[rows] * size + positives, keys),
            )
        )
    return DevelopmentSet(data, queries, corpora, prepared)


def _trained_pairs(data: TrainingData, entity_type: str, position: Rows) -> tuple[Rows, Rows]:
    """Training pairs of a type as development queries and positions in the corpus; those that stand in neither are
    left out."""
    of_queries = pc.fill_null(
        pc.index_in(data.catalogue.queries, value_set=data.development_catalogue.queries), -1
    ).to_numpy(zero_copy_only=False)
    sets = [pairs for pairs in data.pair_sets if pairs.entity_type == entity_type]
    if not sets:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    queries = of_queries[np.concatenate([pairs.queries for pairs in sets])].astype(np.int64)
    entities = np.concatenate([pairs.entities for pairs in sets])
    if entity_type == QUERY:
        entities = of_queries[entities].astype(np.int64)
    places = np.where(entities >= 0, position[entities], -1)
    kept = (queries >= 0) & (places >= 0)
    return queries[kept], places[kept]
