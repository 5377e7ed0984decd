"""The arms of a simulated A/B test: one stack with the reference everywhere, and stacks with ours in one place each."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xxhash

from evaluation.ab.embeddings import Embeddings
from evaluation.ab.learning import FeaturesOf, Learner
from evaluation.ab.settings import AbSettings
from evaluation.baselines import entity_texts
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.errors import SettingError
from omnifeat.retrieval.lexical import BM25Scorer
from ranking.rank_features import RankFeatures
from ranking.stack import (
    BestFirst,
    Catalogue,
    EngagementTimesRelevance,
    EveryNth,
    FirstStage,
    Remembered,
    Retriever,
    SearchStack,
    SecondStage,
    TokenRetriever,
)

__all__ = ["CONTROL", "ads_arms", "advertised", "organic_arms"]

CONTROL = "control"

_TEXT_FIELDS = ("title", "description")  # what a token index holds
_NAMED = {"reference": "the reference", "ours": "our encoder"}

Report = Callable[[str], None]


def organic_arms(
    dataset: Dataset,
    catalogue: Catalogue,
    shared: RankFeatures,
    reference: Embeddings,
    ours: Embeddings,
    settings: AbSettings,
    progress: Report,
) -> dict[str, SearchStack]:
    """Arm -> stack (Table 7). All share token-based retrieval and what is not replaced."""
    learner = Learner(dataset, settings)
    features = {"reference": FeaturesOf.make(shared, reference), "ours": FeaturesOf.make(shared, ours)}
    near = {name: _near(catalogue, one, settings) for name, one in (("reference", reference), ("ours", ours))}
    tokens = _tokens(dataset, catalogue, settings)
    second: dict[str, SecondStage] = {}
    for name, one in features.items():
        progress(f"training L2 and the relevance model with {_NAMED[name]}")
        second[name] = learner.l2(one.all, learner.relevance(one.all))
    bare = SearchStack(
        catalogue=catalogue,
        retrievers=(*tokens, *near["reference"]),
        l1=None,
        l2=second["reference"],
        blender=EveryNth(settings.products_every),
        depth=2 * settings.page,
    )
    whole = replace(bare, retrievers=(*tokens, *near["ours"]), l2=second["ours"])

    def first(name: str, stack: SearchStack) -> FirstStage:
        progress(f"training L1 with {_NAMED[name]}")
        scorer = learner.l1(features[name].light, stack)
        return FirstStage(features=features[name].light, scorer=scorer, keep=settings.l1_keep)

    control = replace(bare, l1=first("reference", bare))
    return {
        CONTROL: control,
        "retrieval": replace(control, retrievers=whole.retrievers),
        "l1": replace(control, l1=first("ours", bare)),
        "l2": replace(control, l2=second["ours"]),
        "all": replace(whole, l1=first("ours", whole)),
    }


def ads_arms(
    dataset: Dataset,
    catalogue: Catalogue,
    shared: RankFeatures,
    reference: Embeddings,
    ours: Embeddings,
    settings: AbSettings,
    progress: Report,
) -> dict[str, SearchStack]:
    """Arm -> stack of product ads (Table 8): retrieval, engagement model, relevance model; ads need no L1.

    Raises
    ------
    SettingError
        If no product is advertised.
    """
    learner = Learner(dataset, settings)
    rows = advertised(catalogue, settings)
    source = {name: FeaturesOf.make(shared, one).all for name, one in (("reference", reference), ("ours", ours))}
    k = settings.retrieved_products
    near = {
        name: one.retriever("near ads", rows, k, settings.index)
        for name, one in (("reference", reference), ("ours", ours))
    }
    token = _token(dataset, "token ads", catalogue, "product", rows, k)
    models = {}
    for name, one in source.items():
        progress(f"training the models of ads with {_NAMED[name]}")
        models[name] = (learner.engagement(one), learner.relevance(one, ads=True))

    def stack(retrieval: str, engagement: str, relevance: str) -> SearchStack:
        return SearchStack(
            catalogue=catalogue,
            retrievers=(token, near[retrieval]),
            l1=None,
            l2=SecondStage(
                features=source[engagement],
                scorer=models[engagement][0],
                relevance=models[relevance][1],
                relevance_features=source[relevance],
                relevance_as_feature=False,
                utility=EngagementTimesRelevance(least_grade=settings.ad_least_grade),
            ),
            blender=BestFirst(),
            depth=2 * len(settings.ad_places),
        )

    return {
        CONTROL: stack("reference", "reference", "reference"),
        "retrieval": stack("ours", "reference", "reference"),
        "engagement": stack("reference", "ours", "reference"),
        "relevance": stack("reference", "reference", "ours"),
        "all": stack("ours", "ours", "ours"),
    }


def advertised(catalogue: Catalogue, settings: AbSettings) -> npt.NDArray[np.int64]:
    """Rows of the products that are advertised: a share of them, by a hash of id and seed."""
    rows = catalogue.rows("product")
    ids = catalogue.ids.take(rows).to_pylist()
    most = settings.ad_share * 2**64
    chosen = [xxhash.xxh64_intdigest(one.encode(), seed=settings.seed & 0xFFFFFFFF) < most for one in ids]
    kept = rows[np.array(chosen, np.bool_)] if len(rows) else rows
    if not len(kept):
        raise SettingError(f"a share of {settings.ad_share} advertises none of {len(rows)} products; raise --ad-share")
    return kept


def _near(catalogue: Catalogue, embeddings: Embeddings, settings: AbSettings) -> tuple[Retriever, Retriever]:
    return (
        embeddings.retriever("near pins", catalogue.rows("pin"), settings.retrieved_pins, settings.index),
        embeddings.retriever("near products", catalogue.rows("product"), settings.retrieved_products, settings.index),
    )


def _tokens(dataset: Dataset, catalogue: Catalogue, settings: AbSettings) -> tuple[Retriever, Retriever]:
    pins, products = catalogue.rows("pin"), catalogue.rows("product")
    return (
        _token(dataset, "token pins", catalogue, "pin", pins, settings.retrieved_pins),
        _token(dataset, "token products", catalogue, "product", products, settings.retrieved_products),
    )


def _token(
    dataset: Dataset, name: str, catalogue: Catalogue, entity_type: str, rows: npt.NDArray[np.int64], k: int
) -> Retriever:
    """Token-based retrieval over titles and descriptions of some of the entities of a type."""
    table = ENTITY_TABLES[entity_type][0]
    fields = [field for field in _TEXT_FIELDS if dataset.has_column(table, field)]
    dataset.require(table, *(fields or _TEXT_FIELDS[:1]))
    first = catalogue.rows(entity_type)[0]
    texts = entity_texts(dataset.read(table, fields).take(rows - first), fields)
    return Remembered(TokenRetriever(name, BM25Scorer().fit(texts), rows, k))
