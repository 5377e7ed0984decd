"""The models of the stack, trained with the features of one encoder or of the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.ab.embeddings import Embeddings
from evaluation.ab.settings import QUALITY, AbSettings
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import split_rows
from omnifeat.errors import DataError
from ranking.ads import AdsEngagementModel
from ranking.judgments import agreed_grades
from ranking.l1 import L1Ranker
from ranking.l2 import L2Ranker
from ranking.rank_features import RankFeatures
from ranking.relevance import AdsRelevanceModel, RelevanceModel
from ranking.stack import ColumnsOf, FeatureSource, Joined, SearchStack, SecondStage, WeightedSum
from ranking.stack.stack import RELEVANCE_FEATURE

__all__ = ["L1_COLUMNS", "FeaturesOf", "Learner"]

L1_COLUMNS = ("cosine", "bm25_title", "bm25_description", "matched_share", "entity_engaged", "is_product")
"""What L1 sees of a candidate, of those columns that there are."""

_PAIR = ["query", "entity_id", "entity_type"]


@dataclass(frozen=True)
class FeaturesOf:
    """The features that one encoder gives: those of L2, relevance and ads models, and the cheap ones of L1."""

    all: FeatureSource
    light: FeatureSource

    @classmethod
    def make(cls, shared: RankFeatures, embeddings: Embeddings) -> "FeaturesOf":
        """Text and counts, which all arms share, and the cosine of one encoder."""
        joined = Joined([shared, embeddings.cosine()])
        names = {"cosine", *(column.name for column in shared.columns)}
        return cls(joined, ColumnsOf(joined, [name for name in L1_COLUMNS if name in names]))


class Learner:
    """Trains the models on a dataset's impressions and judgments.

    Raises
    ------
    DataError
        If the dataset has no impressions or judgments, records no split, or the part has no impression of a type.
    """

    def __init__(self, dataset: Dataset, settings: AbSettings) -> None:
        self._settings = settings
        dataset.require("impressions", "request_id", *_PAIR, "position", "action", "timestamp")
        dataset.require("judgments", *_PAIR, "grade")
        if dataset.info.split is None:
            raise DataError(
                f"{dataset.path} records no split in dataset.json, by which models and searches are kept apart"
            )
        shown = dataset.read("impressions", ["request_id", *_PAIR, "position", "action", "timestamp"])
        self._shown = split_rows(shown, dataset.info.split, settings.rankers_from)
        if not self._shown.num_rows:
            raise DataError(
                f"{dataset.path} has no impressions in its {settings.rankers_from} part; name another with "
                "--rankers-from"
            )
        judged = agreed_grades(dataset.read("judgments"))
        self._judged = judged.filter(pc.is_in(judged["entity_type"], pa.array(["pin", "product"])))

    def relevance(self, features: FeatureSource, *, ads: bool = False) -> RelevanceModel:
        """Expected grades, from the judgments (of products alone for ads)."""
        pairs = self._judged.filter(pc.equal(self._judged["entity_type"], "product")) if ads else self._judged
        if not pairs.num_rows:
            raise DataError("the dataset has no judgments of products, from which relevance of ads could be learnt")
        model = (AdsRelevanceModel if ads else RelevanceModel)(**self._common())
        return model.fit(features.compute(pairs.select(_PAIR)), pairs["grade"], query_ids=pairs["query"])

    def l2(self, features: FeatureSource, relevance: RelevanceModel) -> SecondStage:
        """L2 by what people did, with the expected grade as one feature more."""
        table = features.compute(self._shown)
        table = table.append_column(RELEVANCE_FEATURE, pa.array(relevance.predict(table)))
        ranker = L2Ranker(validation_fraction=0.2, num_leaves=15, **self._common()).fit(
            table,
            self._shown["action"],
            query_ids=self._shown["request_id"],
            split_ids=self._shown["query"],
            positions=np.asarray(self._shown["position"].to_numpy()) - 1,
        )
        return SecondStage(
            features=features,
            scorer=ranker,
            relevance=relevance,
            utility=WeightedSum(self._settings.relevance_weight),
        )

    def engagement(self, features: FeatureSource) -> AdsEngagementModel:
        """Probability of a good click on a product that is shown first."""
        rows = self._shown.filter(pc.equal(self._shown["entity_type"], "product"))
        if not rows.num_rows:
            raise DataError("no product was shown in the impressions, from which clicks on ads could be learnt")
        good = pc.fill_null(pc.is_in(rows["action"], pa.array(QUALITY)), False)
        return AdsEngagementModel(**self._common()).fit(
            features.compute(rows),
            np.asarray(good.to_numpy()),
            query_ids=rows["request_id"],
            split_ids=rows["query"],
            positions=np.asarray(rows["position"].to_numpy()),
        )

    def l1(self, light: FeatureSource, stack: SearchStack) -> L1Ranker:
        """L1 that keeps what the stack's L2 would put on top, of what its retrievers find for logged queries."""
        queries = self._queries(self._settings.l1_queries)
        pairs, scores = stack.score_all(queries)
        groups = pc.binary_join_element_wise(pairs["query"], pairs["entity_type"], "\x1f")
        return L1Ranker(keep=self._settings.page, **self._common()).fit(light.compute(pairs), scores, query_ids=groups)

    def _queries(self, number: int) -> Sequence[str]:
        known = np.array(sorted(set(self._shown["query"].to_pylist())), dtype=object)
        rng = np.random.default_rng([self._settings.seed, 7])
        chosen: npt.NDArray[np.object_] = known[np.sort(rng.permutation(len(known))[:number])]
        return [str(query) for query in chosen]

    def _common(self) -> dict[str, Any]:
        return {"seed": self._settings.seed, "threads": self._settings.threads}
