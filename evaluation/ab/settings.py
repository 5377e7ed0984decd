"""What a simulated A/B test is made with, and which actions count."""

from dataclasses import dataclass

from evaluation.bootstrap import check_bootstrap
from omnifeat.data.splits import SPLITS
from omnifeat.errors import SettingError

__all__ = ["FULFILLING", "KINDS", "PAPER", "PLACES", "QUALITY", "AbSettings"]

FULFILLING = ("save", "long_click", "add_to_cart", "checkout")
"""Actions that fulfil a search: a save, a long click, and what is stronger. A click alone does not."""

QUALITY = ("long_click", "add_to_cart", "checkout")
"""Actions on an ad that are a good click: people went to the shop and stayed, or bought. A save is no click."""

KINDS = ("organic", "ads")

PLACES = {
    "organic": {
        "retrieval": "Pin and product retrieval",
        "l1": "L1 scoring",
        "l2": "L2 scoring and relevance model",
        "all": "All three places",
    },
    "ads": {
        "retrieval": "Product ads retrieval",
        "engagement": "Ads search engagement model",
        "relevance": "Ads search relevance model",
        "all": "All three places",
    },
}
"""Kind -> where the encoder is replaced -> as the report names it; `all` is beyond the paper."""

PAPER: dict[str, dict[str, dict[str, float]]] = {
    "organic": {
        "retrieval": {"fulfilment": 0.041, "relevance": 0.005},
        "l1": {"fulfilment": 0.005, "relevance": 0.0},
        "l2": {"fulfilment": 0.028, "relevance": 0.030},
    },
    "ads": {"retrieval": {"gctr": 0.0527}, "engagement": {"gctr": 0.0296}, "relevance": {"gctr": 0.0155}},
}
"""Relative gains that the paper's Tables 7 and 8 have."""


@dataclass(frozen=True, kw_only=True)
class AbSettings:
    """Settings of a simulated A/B test.

    Attributes
    ----------
    kind
        `organic` (Table 7) or `ads` (Table 8).
    sessions
        Searches of each arm.
    rankers_from
        Part of the split whose impressions the models learn from. Embeddings, engaged queries and counts come from
        the training part: on its rows they know what was done, and a model would trust them too much. The rows of the
        development part have them as searches have.
    reference_entities
        Entity embeddings of the reference: `existing` for PinSage of pins and ItemSage of products, as SearchSage has
        them; `learned` for those of its entity encoder.
    page
        Results on a page.
    graded
        Pins, the first of a query's list, whose relevance is measured.
    retrieved_pins, retrieved_products
        Candidates of each retriever.
    l1_keep
        Candidates of each type that L1 keeps.
    l1_queries
        Queries whose candidates L1 learns from.
    relevance_weight
        Of the expected grade in the utility of L2.
    products_every
        Every so-manieth place is a product's.
    ad_share
        Products that are advertised, by a hash of the id.
    ad_places
        Places on the page that hold ads, from 1.
    ad_least_grade
        Expected grade below which an ad is not shown.
    index
        `exact`, or `hnsw` for the graph that the paper retrieves from.
    null_tests
        A/A tests with other random numbers, of which a few leave zero out by luck.
    resamples, level
        Of the bootstrap over queries.
    seed
        Of sessions, moods, raters, models and resamples.
    threads
        Null for all cores.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """

    kind: str = "organic"
    sessions: int = 20_000
    rankers_from: str = "development"
    reference_entities: str = "existing"
    page: int = 12
    graded: int = 8
    retrieved_pins: int = 100
    retrieved_products: int = 50
    l1_keep: int = 60
    l1_queries: int = 500
    relevance_weight: float = 0.5
    products_every: int = 3
    ad_share: float = 0.3
    ad_places: tuple[int, ...] = (2, 5, 8, 11)
    ad_least_grade: float = 1.5
    index: str = "exact"
    null_tests: int = 40
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        check_bootstrap(self.resamples, self.level)
        for name, known in (
            ("kind", KINDS),
            ("rankers_from", SPLITS),
            ("reference_entities", ("existing", "learned")),
            ("index", ("exact", "hnsw")),
        ):
            if getattr(self, name) not in known:
                raise SettingError(
                    f"the {name} of an A/B test must be {' or '.join(known)}, got '{getattr(self, name)}'"
                )
        for name in ("sessions", "page", "graded", "retrieved_pins", "retrieved_products", "l1_keep", "l1_queries"):
            if getattr(self, name) < 1:
                raise SettingError(f"the {name} of an A/B test must be 1 or more, got {getattr(self, name)}")
        if self.null_tests < 0:
            raise SettingError(f"the null_tests of an A/B test must be 0 or more, got {self.null_tests}")
        if not 0 < self.ad_share <= 1:
            raise SettingError(f"the share of advertised products must be above 0 and at most 1, got {self.ad_share}")
        if not self.ad_places or min(self.ad_places) < 1 or len(set(self.ad_places)) < len(self.ad_places):
            raise SettingError(f"the places of ads must be distinct numbers from 1, got {self.ad_places}")
        if self.seed < 0:
            raise SettingError(f"the seed of an A/B test must be 0 or more, got {self.seed}")
