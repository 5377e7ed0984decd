"""Search for settings of a ranker within a budget, by Optuna.

Queries are cut in two by a hash. Each trial trains on the one part, of which it holds out a share for early stopping,
and is judged by NDCG@k on the other, which neither its trees nor the number of them have seen. The first trial is the
ranker as it was given. The best settings' figure is that of the best of many, and so a little too good: measure the
ranker on queries that the search did not have.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from omnifeat.errors import DataError, MissingDependencyError, SettingError
from ranking.actions import action_gains
from ranking.base import held_out_queries
from ranking.features import select_features
from ranking.groups import encode_queries, to_numpy
from ranking.l1 import L1Ranker
from ranking.l2 import L2Ranker
from ranking.metrics import QueryRanks, kept_of_top
from ranking.ranker import LambdaRanker

__all__ = ["SPACE", "Range", "Tuning", "tune"]


@dataclass(frozen=True)
class Range:
    """Values to search between, both ends included; on a logarithmic scale where `log` is set."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


SPACE: Mapping[str, Range] = {
    "learning_rate": Range(0.01, 0.3, log=True),
    "num_leaves": Range(4, 127, log=True, whole=True),
    "min_child_samples": Range(5, 200, log=True, whole=True),
    "reg_lambda": Range(1e-3, 10.0, log=True),
    "colsample_bytree": Range(0.4, 1.0),
}
_COST = ("num_leaves", "n_estimators")  # what L1 costs is set, not searched for


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    `best` holds the settings of the best trial, `value` its figure and `first` that of the ranker as it was given,
    `trials` one dict a trial: `trial`, `value` and the settings. `ranker` is fitted anew on all rows with `best`,
    holding out queries for early stopping.
    """

    best: dict[str, Any]
    value: float
    first: float
    trials: list[dict[str, Any]]
    ranker: LambdaRanker


def tune(
    ranker: LambdaRanker,
    X: Any,
    y: Any,
    *,
    query_ids: Any,
    trials: int = 50,
    seconds: float | None = None,
    judged_fraction: float = 0.3,
    space: Mapping[str, Range] | None = None,
    positions: Any = None,
    split_ids: Any = None,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> Tuning:
    """Search for the settings of a ranker that judge best on held-out queries.

    One seed and a number of trials give one result; with `seconds` the number of trials is as the machine was fast.

    Parameters
    ----------
    ranker : LambdaRanker, L1Ranker or L2Ranker
        Its settings are the first trial; those that are not searched for stay. Without a `validation_fraction`, 0.15
        is held out for early stopping.
    X, y, query_ids, positions, split_ids
        As in its `fit`; X is a table with names.
    trials, seconds
        The budget: trials at most, and seconds after which no new trial begins.
    judged_fraction
        Share of the queries that judge.
    space
        Settings to search; None takes `SPACE`, for `L1Ranker` without what makes it cost more.

    Raises
    ------
    MissingDependencyError
        Optuna is not installed.
    SettingError, DataError, FingerprintError
        No trial, an unknown setting, a range that is none; and what `fit` raises.
    """
    optuna = _optuna()
    if trials < 1:
        raise SettingError(f"A search needs one trial or more; got {trials}.")
    if seconds is not None and not seconds > 0:
        raise SettingError(f"The seconds of a search must be above 0; got {seconds}.")
    chosen = _space(ranker, space)
    table = select_features(X, _names(X))
    rows = table.num_rows
    codes, queries = encode_queries(query_ids, rows)
    split = (codes, queries) if split_ids is None else encode_queries(split_ids, rows)
    # Another salt than that of early stopping, else the same hash would decide both.
    judged = held_out_queries(*split, judged_fraction, seed=-1 - seed)
    labels, ids = to_numpy(y), queries[codes]
    shares = {"validation_fraction": ranker.validation_fraction or 0.15}
    more = {
        name: to_numpy(value)
        for name, value in (("positions", positions), ("split_ids", split_ids))
        if value is not None
    }
    kept = ~judged
    training, judging = table.filter(kept), table.filter(judged)

    def figure(settings: Mapping[str, Any]) -> float:
        fitted: LambdaRanker = clone(ranker).set_params(**{**shares, **settings})
        fitted.fit(training, labels[kept], query_ids=ids[kept], **{name: value[kept] for name, value in more.items()})
        found = judge(fitted, labels[judged], fitted.predict(judging), ids[judged])
        if advance is not None:
            advance(1)
        return found

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    first = {name: getattr(ranker, name) for name in chosen}
    start = figure(first)
    inside = all(item.low <= first[name] <= item.high for name, item in chosen.items())
    if inside:  # Optuna learns from it, but cannot where it lies outside of the ranges
        ranges = {name: _distribution(optuna, item) for name, item in chosen.items()}
        study.add_trial(optuna.trial.create_trial(params=first, distributions=ranges, value=start))
    if trials > 1:
        study.optimize(lambda trial: figure(_suggested(trial, chosen)), n_trials=trials - 1, timeout=seconds)
    done = [{"trial": 0, "value": start, **first}]
    for trial in study.trials[1 if inside else 0 :]:
        done.append({"trial": len(done), "value": float(trial.value), **trial.params})
    best = max(done, key=lambda item: item["value"])
    settings, value = {name: best[name] for name in chosen}, best["value"]
    final: LambdaRanker = clone(ranker).set_params(**{**shares, **settings})
    final.fit(table, labels, query_ids=ids, **more)
    return Tuning(settings, value, start, done, final)


def judge(ranker: LambdaRanker, labels: Any, scores: Any, query_ids: Any) -> float:
    """The figure that a trial is judged by: mean NDCG@eval_at; of an L1 that keeps up, the top that it keeps.

    L1 is judged by how much of the reference's first `keep` stands among its own first 3 x `keep`.
    """
    if isinstance(ranker, L1Ranker) and ranker.target == "scores":
        found = kept_of_top(labels, scores, query_ids, top=ranker.keep, within=3 * ranker.keep)
        found = found[QueryRanks(scores, query_ids).sizes() > 3 * ranker.keep]  # the others lose nothing
    else:
        if isinstance(ranker, L2Ranker) and to_numpy(labels).dtype.kind == "O":
            gains = action_gains(labels, len(scores), ranker.action_gains)
        elif ranker.label_gain is not None:
            gains = np.asarray(ranker.label_gain, dtype=np.float64)[np.asarray(labels, dtype=np.int64)]
        else:
            gains = np.exp2(np.minimum(np.asarray(labels, dtype=np.float64), 30)) - 1
        found = QueryRanks(scores, query_ids).ndcg(gains, ranker.eval_at)
        found = found[~np.isnan(found)]
    if not len(found):
        raise DataError(
            "No query that judges says anything (a positive, or for L1 more than three times what it keeps); "
            "give more queries, or a larger judged fraction."
        )
    return float(found.mean())


def _space(ranker: LambdaRanker, space: Mapping[str, Range] | None) -> dict[str, Range]:
    if space is None:
        light = isinstance(ranker, L1Ranker)
        return {name: item for name, item in SPACE.items() if not (light and name in _COST)}
    known = ranker.get_params(deep=False)
    for name, item in space.items():
        if name not in known or isinstance(known[name], bool) or not isinstance(known[name], int | float):
            raise SettingError(f"Setting {name!r} of {type(ranker).__name__} cannot be searched; it is no number.")
        finite = math.isfinite(item.low) and math.isfinite(item.high)
        if not finite or item.low >= item.high or (item.log and item.low <= 0):
            raise SettingError(f"The range of {name!r}, {item.low} to {item.high}, is none; give low < high.")
    if not space:
        raise SettingError("There is no setting to search; name at least one.")
    return dict(space)


def _suggested(trial: Any, space: Mapping[str, Range]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, item in space.items():
        if item.whole:
            settings[name] = trial.suggest_int(name, int(item.low), int(item.high), log=item.log)
        else:
            settings[name] = trial.suggest_float(name, item.low, item.high, log=item.log)
    return settings


def _distribution(optuna: Any, item: Range) -> Any:
    if item.whole:
        return optuna.distributions.IntDistribution(int(item.low), int(item.high), log=item.log)
    return optuna.distributions.FloatDistribution(item.low, item.high, log=item.log)


def _names(X: Any) -> Sequence[str]:
    names = getattr(X, "column_names", None) or getattr(X, "columns", None)
    if names is None and isinstance(X, Mapping):
        names = list(X)
    if names is None:
        raise SettingError("A search takes a table whose features have names, not a plain array.")
    return [str(name) for name in names]


def _optuna() -> Any:
    try:
        library = importlib.import_module("optuna")
    except ImportError:
        raise MissingDependencyError(
            "The search for settings needs Optuna; install it with: pip install 'omnifeat[tune]'"
        ) from None
    library.logging.set_verbosity(library.logging.WARNING)
    return library
