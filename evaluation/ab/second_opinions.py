"""Judges beside the A/B test: interleaving on the same searches, and what the log alone says of the rankers.

Shapes: B sessions, L length of a list, n logged rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.ab.pages import Pages
from evaluation.ab.settings import FULFILLING, AbSettings
from evaluation.bootstrap import Interval
from evaluation.counterfactual import LoggedRows, estimate_exponent, ips, looks, naive, reranked, snips
from evaluation.interleaving import interleave
from evaluation.ratios import Ratios
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ACTIONS, ENTITY_TYPES
from omnifeat.data.splits import split_rows
from omnifeat.errors import DataError
from omnifeat.simulator import rates
from omnifeat.simulator.behaviour import ABSENT, Behaviour, Sessions
from ranking.stack import SecondStage

__all__ = ["Counterfactual", "Interleaved", "interleaved", "off_policy"]

FloatArray = npt.NDArray[np.float64]

_FULFILLING = np.array([action in FULFILLING for action in ACTIONS])
_CLIP = 2.0


@dataclass(frozen=True)
class Interleaved:
    """An arm against the control on one page.

    Attributes
    ----------
    wins
        Sessions whose credit went more to the arm, over those that were decided.
    credit
        Arm's share of all credited actions, less one half.
    decided, sessions
        How many there were.
    """

    wins: Interval
    credit: Interval
    decided: int
    sessions: int


@dataclass(frozen=True)
class Counterfactual:
    """Fulfilling actions a request of one re-ranking of the logged pages: the truth, and what the log says.

    `estimates` holds `naive`, `IPS`, `IPS clipped` and `SNIPS`, with the propensities' exponent taken from the log.
    """

    truth: float
    estimates: Mapping[str, Interval]


def interleaved(people: Behaviour, sessions: Sessions, arm: Pages, control: Pages, settings: AbSettings) -> Interleaved:
    """Team-draft of two lists on the page of each session; fulfilling actions are credited.

    `arm` and `control` hold what each session's lists show, the best first.
    """
    kinds = len(ENTITY_TYPES)
    keys = [np.where(one.kinds >= 0, one.rows * kinds + one.kinds, ABSENT) for one in (arm, control)]
    rng = np.random.default_rng([settings.seed, 11])
    coins = rng.random((len(sessions), -(-settings.page // 2))) < 0.5
    page, team = interleave(keys[0], keys[1], coins, settings.page)
    shown = Pages(np.where(page >= 0, page % kinds, ABSENT).astype(np.int8), np.where(page >= 0, page // kinds, 0))
    done = people.react(sessions, shown.kinds, shown.rows)
    counted = np.append(_FULFILLING, False)[done]
    ours, theirs = ((counted & (team == which)).sum(axis=1) for which in (0, 1))
    queries = len(people.queries)

    def by_query(values: npt.NDArray[np.generic]) -> FloatArray:
        return np.bincount(sessions.query, weights=values.astype(np.float64), minlength=queries).astype(np.float64)

    sums = np.column_stack([by_query(ours > theirs), by_query(ours)])
    counts = np.column_stack([by_query(ours != theirs), by_query(ours + theirs)])
    ratios = Ratios.make(sums, counts, resamples=settings.resamples, level=settings.level, seed=settings.seed)
    wins, _ = ratios.intervals()
    _, credit = ratios.combined(lambda values: values - 0.5).intervals()
    return Interleaved(wins, credit, int((ours != theirs).sum()), len(sessions))


def off_policy(
    dataset: Dataset, people: Behaviour, rankers: Mapping[str, SecondStage], settings: AbSettings
) -> tuple[float, int, dict[str, Counterfactual]]:
    """What the logged pages of the test part would get in the order of each ranker.

    Every page keeps its entities; only their order changes. The truth is the mean number of fulfilling actions of the
    new order by the world's law.

    Returns
    -------
    exponent, requests, found
        The exponent of the looks that the training and development parts tell, how many requests were re-ranked, and
        the figures of each ranker and of `logged`, the order as it was.

    Raises
    ------
    DataError
        If there are no impressions in the test part, or the log does not tell how positions are looked at.
    """
    names = ["request_id", "query", "entity_id", "entity_type", "position", "action", "timestamp"]
    shown = dataset.read("impressions", names)
    split = dataset.info.split
    if split is None:
        raise DataError(f"{dataset.path} records no split, so no logged searches are left for estimates")
    rows = split_rows(shown, split, "test")
    if not rows.num_rows:
        raise DataError(f"{dataset.path} has no impressions in its test part, from which other orders could be judged")
    exponent = _exponent(split_rows(shown, split, "train"))
    request = _codes(rows["request_id"])
    order = np.lexsort((rows["position"].to_numpy(), request))
    rows, request = rows.take(pa.array(order)), request[order]
    reward = np.isin(rows["action"].to_numpy(zero_copy_only=False), FULFILLING).astype(np.float64)
    logged = LoggedRows(request, np.asarray(rows["position"].to_numpy(), np.int64), reward)
    wished = _wished(people, rows)
    # a request at the last of the features' days, as a search of the test part is served
    pairs = rows.select(["query", "entity_id", "entity_type"])
    query = _codes(rows["query"])[np.unique(request, return_index=True)[1]]
    found = {"logged": _judged(logged, logged.position, wished, exponent, query, settings)}
    for name, stage in rankers.items():
        features = stage.features.compute(pairs)
        grades = np.full(rows.num_rows, np.nan)
        if stage.relevance is not None:
            grades = stage.relevance.predict(features)
            features = features.append_column("relevance", pa.array(grades))
        scores = stage.utility.combine(stage.scorer.predict(features), grades)
        found[name] = _judged(logged, reranked(request, scores), wished, exponent, query, settings)
    return exponent, logged.requests, found


def _judged(
    logged: LoggedRows,
    position: npt.NDArray[np.int64],
    wished: FloatArray,
    exponent: float,
    query: npt.NDArray[np.int64],
    settings: AbSettings,
) -> Counterfactual:
    one = np.ones(logged.requests)
    parts = {
        "naive": (naive(logged, position, exponent), one),
        "IPS": (ips(logged, position, exponent), one),
        "IPS clipped": (ips(logged, position, exponent, _CLIP), one),
        "SNIPS": snips(logged, position, exponent, _CLIP),
    }
    size = int(query.max()) + 1
    sums, counts = (
        np.column_stack([np.bincount(query, weights=part[which], minlength=size) for part in parts.values()]).astype(
            np.float64
        )
        for which in (0, 1)
    )
    ratios = Ratios.make(sums, counts, resamples=settings.resamples, level=settings.level, seed=settings.seed)
    truth = float((wished * looks(position, rates.POSITION_EXPONENT)).sum() / logged.requests)
    return Counterfactual(truth, dict(zip(parts, ratios.intervals(), strict=True)))


def _wished(people: Behaviour, rows: pa.Table) -> FloatArray:
    """Probability (n,) of a fulfilling action at a place that is looked at."""
    number = rows.num_rows
    query = people.query_rows(rows["query"])
    nobody = np.zeros(number, np.int64)
    sessions = Sessions(np.arange(number), query, nobody.astype(np.int8), nobody.astype(np.int32), nobody)
    kinds = np.zeros((number, 1), np.int8)
    at = np.zeros((number, 1), np.int64)
    types = np.asarray(rows["entity_type"].to_pylist())
    for kind, entity_type in enumerate(ENTITY_TYPES[:2]):
        of_type = types == entity_type
        kinds[of_type] = kind
        at[of_type, 0] = people.rows(entity_type, rows["entity_id"].filter(pa.array(of_type)))
    wished: FloatArray = people.chances(sessions, kinds, at)[:, 0, _FULFILLING].sum(axis=1)
    return wished


def _exponent(rows: pa.Table) -> float:
    pair = _codes(_joined(rows))
    acted = rows["action"].is_valid().to_numpy()
    return estimate_exponent(pair, np.asarray(rows["position"].to_numpy(), np.int64), acted)


def _joined(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["query"], rows["entity_type"], rows["entity_id"], "\x1f")


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(), np.int64)
