"""Recall@10 on development pairs while training runs: what early stop and the choice of weights go by.

Shapes: Q queries, N entities of the corpus, P pairs, D width of the vectors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from omnifeat.models.omni import OmniModel
from omnifeat.ranks import Excluded, id_order, ranks_of_positives
from omnifeat.training.encoding import QueryTable, encode_distinct_entities, encode_distinct_queries
from omnifeat.training.prepare import TrainingData
from omnifeat.training.tasks import ENTITY, QUERY
from omnifeat.training.threads import thread_limit

__all__ = ["DevelopmentSet", "prepare_development_set"]

Rows = NDArray[np.int64]

_AT_ONCE = 1_024


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of one set; `positives` are positions in the corpus of the type, `excluded` all positives of a query.

    `encoder` is the learned one where a task of the set trains it, else an existing embedding.
    """

    name: str
    entity_type: str
    encoder: str
    queries: Rows
    positives: Rows
    excluded: Excluded


@dataclass(frozen=True, eq=False)
class DevelopmentSet:
    """Pairs to rank, and the entities of each type to rank them among (rows of the entity table, in id order)."""

    data: TrainingData
    queries: QueryTable
    corpora: Mapping[str, Rows]
    pairs: list[_Pairs]

    def recall_at_10(self, model: OmniModel, device: torch.device) -> dict[str, float]:
        """Share of pairs whose entity is among the ten nearest of its type, the query's other positives left out.

        Returns
        -------
        dict
            One entry a set of pairs, and `mean`, the mean over the sets: a small set counts as much as a large one.
        """
        was_training = model.training
        model.eval()
        with torch.no_grad():
            queries_QD = self._encode(model, QUERY, np.arange(len(self.queries)), device)
            corpora = {
                (kind, encoder): self._encode_entities(model, kind, encoder, self.corpora[kind], device)
                for kind, encoder in sorted({(pairs.entity_type, pairs.encoder) for pairs in self.pairs})
            }
        model.train(was_training)
        recall = {}
        for pairs in self.pairs:
            corpus_ND = corpora[pairs.entity_type, pairs.encoder]
            order_N = np.arange(len(corpus_ND), dtype=np.int64)  # corpora are sorted by id
            with thread_limit(None):  # the ranks are counted by numba, which would leave torch another number
                ranks = ranks_of_positives(
                    queries_QD, corpus_ND, order_N, pairs.queries, pairs.positives, pairs.excluded
                )
            recall[pairs.name] = float((ranks <= 10).mean())
        return recall | {"mean": float(np.mean(list(recall.values())))}

    def _encode_entities(
        self, model: OmniModel, kind: str, encoder: str, rows: Rows, device: torch.device
    ) -> NDArray[np.float32]:
        if encoder in (ENTITY, QUERY):
            return self._encode(model, kind, rows, device)
        column, project = self.data.vectors[kind, encoder], model.compatibility[encoder]
        blocks = [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]
        vectors = [project(torch.from_numpy(column.rows(block)).to(device)) for block in blocks]
        return np.concatenate([block.float().cpu().numpy() for block in vectors])

    def _encode(self, model: OmniModel, kind: str, rows: Rows, device: torch.device) -> NDArray[np.float32]:
        blocks = []
        for start in range(0, len(rows), _AT_ONCE):
            block = rows[start : start + _AT_ONCE]
            if kind == QUERY:
                vectors = encode_distinct_queries(model, self.queries, block, device)
            else:
                vectors = encode_distinct_entities(model, self.data.entities[kind], block, None, device)
            blocks.append(vectors.float().cpu().numpy())
        return np.concatenate(blocks)


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

    queries = QueryTable.prepare(data.development_catalogue.queries.to_pylist(), data.query_tokenizer)
    prepared = []
    for pairs in data.development_pair_sets:
        position = np.full(data.development_catalogue.size(pairs.entity_type), -1, np.int64)
        position[corpora[pairs.entity_type]] = np.arange(len(corpora[pairs.entity_type]))
        inside = position[pairs.entities] >= 0
        excluded = Excluded.from_pairs(pairs.queries[inside], position[pairs.entities[inside]], len(queries))
        rows = chosen[pairs.name]
        encoders = [task.encoder for task in data.tasks if task.pairs == pairs.name]
        encoder = next((name for name in encoders if name in (ENTITY, QUERY)), encoders[0])
        positives = position[pairs.entities[rows]]
        prepared.append(_Pairs(pairs.name, pairs.entity_type, encoder, pairs.queries[rows], positives, excluded))
    return DevelopmentSet(data, queries, corpora, prepared)
