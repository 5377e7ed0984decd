"""Scores of every row by rankers that never saw its query: query-wise cross-validation of sets of features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.model_selection import GroupKFold

from omnifeat.errors import SettingError
from ranking.features import select_features
from ranking.groups import check_grades, encode_queries
from ranking.ranker import LambdaRanker
from ranking.relevance import RelevanceModel

__all__ = ["CrossValidation", "cross_validate", "query_folds"]


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold scores.

    `scores` holds float64 (n,) per feature set, averaged over the seeds; comparable within a query only. `folds` is
    int64 (n, seeds), the fold in which each row was held out. `importances` holds float64 (features,) per feature set,
    total gain, averaged over all rankers, in the order of the set.
    """

    scores: dict[str, npt.NDArray[np.float64]]
    folds: npt.NDArray[np.int64]
    importances: dict[str, npt.NDArray[np.float64]]


def query_folds(query_ids: Any, rows: int, *, folds: int = 5, seed: int = 0) -> npt.NDArray[np.int64]:
    """The fold of each row, int64 (rows,), 0 to folds - 1; rows of one query share a fold.

    Folds depend on the set of query ids and the seed, not on the order of rows.

    Raises
    ------
    SettingError
        Fewer than two folds, or fewer queries than folds.
    """
    codes, queries = encode_queries(query_ids, rows)
    if folds < 2:
        raise SettingError(f"Cross-validation needs two folds or more; got {folds}.")
    if len(queries) < folds:
        raise SettingError(f"There are {len(queries)} queries for {folds} folds; ask for {len(queries)} folds at most.")
    fold_of_row = np.empty(rows, dtype=np.int64)
    splitter = GroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(codes, groups=codes)):
        fold_of_row[held_out] = fold
    return fold_of_row


def cross_validate(
    data: Any,
    labels: Any,
    query_ids: Any,
    feature_sets: Mapping[str, Sequence[str]],
    *,
    folds: int = 5,
    seeds: Sequence[int] = (0,),
    ranker: LambdaRanker | RelevanceModel | None = None,
    advance: Callable[[int], None] | None = None,
) -> CrossValidation:
    """Score each row by a ranker trained on the other folds, once per feature set, all in the same folds.

    Each seed draws its own folds and is the ranker's seed too; scores are averaged over the seeds. In every one of
    them a query is scored by a ranker that never saw it.

    Parameters
    ----------
    data : pandas, Polars or Arrow table, dict of columns
        Holds every feature named in `feature_sets`, n rows in any order.
    labels, query_ids : (n,)
        As in `LambdaRanker.fit`.
    feature_sets : mapping of name to columns
        What to compare.
    ranker : LambdaRanker, RelevanceModel or None
        Settings to train with, those of a `LambdaRanker` if None; it stays as it is. Of its `monotonic_cst`, a feature
        set takes the features that it has.
    advance : function of a count, or None
        Called with 1 after each ranker of folds x seeds x feature sets.

    Raises
    ------
    SettingError
        No feature set, an empty one, no seed, or folds that don't fit the queries.
    DataError
        As in `LambdaRanker.fit`, or a feature is not in the table.
    """
    if not feature_sets:
        raise SettingError("Cross-validation needs at least one feature set; got none.")
    if not seeds:
        raise SettingError("Cross-validation needs at least one seed; got none.")
    tables = {}
    for name, columns in feature_sets.items():
        if not columns:
            raise SettingError(f"Feature set {name!r} is empty; name its columns.")
        tables[name] = select_features(data, columns)
    rows = next(iter(tables.values())).num_rows
    grades = check_grades(labels, rows)
    codes, queries = encode_queries(query_ids, rows)
    template = LambdaRanker() if ranker is None else ranker

    fold_of_row = np.column_stack([query_folds(codes, rows, folds=folds, seed=seed) for seed in seeds])
    scores = {name: np.zeros(rows) for name in tables}
    importances = {name: np.zeros(len(columns)) for name, columns in feature_sets.items()}
    for name, table in tables.items():
        monotonic = {
            feature: direction
            for feature, direction in (template.monotonic_cst or {}).items()
            if feature in table.column_names
        }
        for place, seed in enumerate(seeds):
            for fold in range(folds):
                held_out = np.flatnonzero(fold_of_row[:, place] == fold)
                kept = np.flatnonzero(fold_of_row[:, place] != fold)
                fitted = clone(template).set_params(seed=seed, monotonic_cst=monotonic)
                fitted.fit(table.take(kept), grades[kept], query_ids=queries[codes[kept]])
                scores[name][held_out] += fitted.predict(table.take(held_out)) / len(seeds)
                importances[name] += fitted.feature_importances_ / (folds * len(seeds))
                if advance is not None:
                    advance(1)
    return CrossValidation(scores, fold_of_row, importances)
