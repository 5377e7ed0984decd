"""The stages of relevance and ads as the commands use them, and scikit-learn's checks of estimators that apply."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.utils import estimator_checks

from ranking.ads import AdsEngagementModel
from ranking.relevance import AdsRelevanceModel, RelevanceModel
from ranking.stage import Evaluation, FitData, MeasureSettings
from ranking.stages import STAGES

CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_get_params_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
]


@pytest.mark.parametrize("kind", [RelevanceModel, AdsEngagementModel, AdsRelevanceModel])
@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learn_checks(kind: type, check: str) -> None:
    run: Callable[..., None] = getattr(estimator_checks, check)
    run(kind.__name__, kind())


def rows(seed: int = 0) -> tuple[pa.Table, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    good = rng.normal(size=600)
    frame = pd.DataFrame(
        {
            "query": [f"q{n}" for n in rng.integers(40, size=600)],
            "grade": np.clip(np.round(good + rng.normal(scale=0.4, size=600)), 0, 3).astype(int),
            "action": np.where(rng.random(600) < 1 / (1 + np.exp(1 - 2 * good)), "long_click", None),
            "position": rng.integers(1, 6, size=600),
        }
    )
    return pa.table({"good": good}), frame


@pytest.mark.parametrize("name", ["relevance", "ads-relevance", "ads-engagement"])
def test_a_stage_fits_and_measures(name: str) -> None:
    stage = STAGES[name]
    model = {"relevance": RelevanceModel, "ads-relevance": AdsRelevanceModel, "ads-engagement": AdsEngagementModel}[
        name
    ](n_estimators=20, threads=1)
    assert model.kind == stage.kind
    features, frame = rows()
    positions = frame["position"] if stage.positions else None
    stage.fit(model, FitData(features, frame[stage.label], frame["query"], positions=positions))
    features, frame = rows(1)
    found = stage.measure(model, frame[stage.label], model.predict(features), frame["query"], MeasureSettings())
    assert len(found.queries) == found.counts["queries"] == frame["query"].nunique()
    assert all(len(values) == len(found.queries) for values in found.per_query.values())
    assert all(isinstance(value, float) for value in found.totals.values())
    if name == "ads-engagement":
        assert found.totals["AUC"] > 0.7
        assert found.counts["long clicks"] == int((frame["action"] == "long_click").sum())
    else:
        assert found.totals["Spearman"] > 0.6


def test_golden_relevance_figures() -> None:
    # q: grades by score 2, 0, 1; r: nothing relevant
    found: Evaluation = STAGES["relevance"].measure(
        RelevanceModel(), [1, 2, 0, 0], np.array([0.2, 1.9, 0.4, 0.1]), ["q", "q", "q", "r"], MeasureSettings()
    )
    log2 = math.log2
    assert found.per_query["NDCG@10"][0] == pytest.approx((2 + 1 / 2) / (2 + 1 / log2(3)))
    assert math.isnan(found.per_query["NDCG@10"][1])
    top = found.per_query["weighted top-8 relevance"]
    np.testing.assert_allclose(top, [(2 + 1 / 2) / (1 + 1 / log2(3) + 1 / 2), 0])
    assert found.counts == {"queries": 2, "queries without a positive": 1}
    assert found.totals["accuracy"] == 0.75  # 0.2, 1.9, 0.4, 0.1 are 0, 2, 0, 0 where 1, 2, 0, 0 were given
    assert found.totals["mean absolute error"] == pytest.approx((0.8 + 0.1 + 0.4 + 0.1) / 4)


def test_golden_engagement_figures() -> None:
    found = STAGES["ads-engagement"].measure(
        AdsEngagementModel(), ["save", "long_click", None, "long_click"], np.array([0.8, 0.4, 0.1, 0.35]),
        ["q", "q", "r", "r"], MeasureSettings(),
    )  # fmt: skip
    assert found.totals["AUC"] == 0.5
    loss = -(math.log(0.2) + math.log(0.4) + math.log(0.9) + math.log(0.35)) / 4
    assert found.totals["log loss"] == pytest.approx(loss)
    assert found.totals["normalised entropy"] == pytest.approx(loss / math.log(2))
    np.testing.assert_allclose(found.per_query["MRR of a long click"], [1 / 2, 1])
