"""L1: the light ranker that lets through what L2 is to score (section 5.2 and Figure 4 of the paper).

It sees every retrieved candidate, so it must be cheap: few features, a small ensemble, and a cost per candidate that
is stated with the model. It is best when nothing that L2 would put on top is lost, and it is trained for that: its
grades are places in L2's own order.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from omnifeat.cores import thread_count
from omnifeat.errors import DataError, SettingError
from ranking.base import TrainingFeatures
from ranking.features import FeatureManifest, select_features
from ranking.forest import read_forest
from ranking.groups import check_grades, encode_queries, to_numpy
from ranking.held_out import check_evaluation
from ranking.ranker import LambdaRanker

__all__ = ["TARGETS", "L1Ranker", "grades_of_scores"]

TARGETS = ("scores", "grades")
_LEVELS = 3  # grades of distillation above 0: the top, three times as many, ten times as many

FloatArray = npt.NDArray[np.float64]


class L1Ranker(LambdaRanker):
    """A small ranker trained to keep what another puts on top.

    The order of rows, of queries and of columns, and how queries are named, don't change the model.

    Parameters
    ----------
    target : str
        What `fit` is given: `scores` of the ranker to be kept up with (any finite numbers, comparable within a
        query), or `grades`, whole numbers from 0.
    keep : int
        Of each query, how many of the highest scores are to be kept; they get grade 3, the next up to 3 x keep
        grade 2, up to 10 x keep grade 1, the others 0. Equal scores get equal grades.
    max_features : int or None
        Features at most: a first ensemble over all chooses those of the largest gain for their cost, and only they
        are asked for later on. None for all.
    feature_costs : mapping of str to float or None
        Cost of having a feature for one candidate, in visits to a tree's node (some nanoseconds); 1 where not named.
    n_estimators, num_leaves
        Small by default: 20 trees of 15 leaves.
    and the others
        As in `LambdaRanker`.

    Attributes
    ----------
    cost_ : dict of str to float
        Per candidate: `node_visits` (mean over the rows of training, all trees together), `features` (the sum of
        their costs) and `total`.
    left_out_ : list of str
        Features that `max_features` left out.
    and those of `LambdaRanker`.
    """

    kind: ClassVar[str] = "l1"
    _fitted: ClassVar[Mapping[str, Any]] = {**LambdaRanker._fitted, "left_out_": list[str]}

    def __init__(
        self,
        *,
        target: str = "scores",
        keep: int = 10,
        max_features: int | None = None,
        feature_costs: Mapping[str, float] | None = None,
        n_estimators: int = 20,
        learning_rate: float = 0.2,
        num_leaves: int = 15,
        min_child_samples: int = 20,
        reg_lambda: float = 0.0,
        colsample_bytree: float = 1.0,
        eval_at: int = 10,
        truncation_level: int = 100,
        early_stopping_rounds: int = 10,
        validation_fraction: float | None = None,
        position_bias_regularization: float = 0.0,
        label_gain: Sequence[float] | None = None,
        monotonic_cst: Mapping[str, int] | None = None,
        seed: int = 0,
        threads: int | None = None,
        encoder_fingerprint: str | None = None,
        lightgbm_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            num_leaves=num_leaves,
            min_child_samples=min_child_samples,
            reg_lambda=reg_lambda,
            colsample_bytree=colsample_bytree,
            eval_at=eval_at,
            truncation_level=truncation_level,
            early_stopping_rounds=early_stopping_rounds,
            validation_fraction=validation_fraction,
            position_bias_regularization=position_bias_regularization,
            label_gain=label_gain,
            monotonic_cst=monotonic_cst,
            seed=seed,
            threads=threads,
            encoder_fingerprint=encoder_fingerprint,
            lightgbm_parameters=lightgbm_parameters,
        )
        self.target = target
        self.keep = keep
        self.max_features = max_features
        self.feature_costs = feature_costs

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        query_ids: Any,
        positions: Any = None,
        split_ids: Any = None,
        eval_X: Any = None,
        eval_y: Any = None,
        eval_query_ids: Any = None,
    ) -> Self:
        """Train on n rows, in any order.

        Parameters
        ----------
        y : (n,) numbers
            Scores to keep up with, or grades (see `target`).
        X, query_ids, positions, split_ids, eval_X, eval_y, eval_query_ids
            As in `LambdaRanker.fit`.

        Raises
        ------
        DataError, SettingError, FingerprintError
            As in `LambdaRanker.fit`; a score that is no finite number; a feature cost that is none.
        """
        self._check_common_settings(("eval_at", "truncation_level", "keep"))
        if self.target not in TARGETS:
            raise SettingError(f"The 'target' of L1Ranker must be one of {', '.join(TARGETS)}; got {self.target!r}.")
        has_evaluation = check_evaluation(eval_X, eval_y, eval_query_ids)
        training = self._training_features(X)
        costs = self._costs(training.plain)
        grades = self._grades(y, query_ids, len(training.values), "label")
        eval_grades = None
        if has_evaluation:
            eval_grades = self._grades(eval_y, eval_query_ids, len(to_numpy(eval_y)), "evaluation label")
        rest = (self.label_gain, query_ids, positions, split_ids, eval_X, eval_grades, eval_query_ids)
        self.left_out_: list[str] = []
        wanted = self.max_features
        if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1):
            raise SettingError(f"The 'max_features' setting of L1Ranker must be a whole number from 1; got {wanted!r}.")
        if wanted is not None and wanted < len(training.plain):
            if not training.manifest.named:
                raise SettingError("The 'max_features' setting needs features with names; give a table, not an array.")
            self._fit_grades(training, grades, *rest)
            gains = self.feature_importances_[self._columns()]
            worth = gains / costs
            chosen = sorted(np.lexsort((np.arange(len(worth)), -worth))[:wanted].tolist())
            self.left_out_ = [name for place, name in enumerate(training.plain) if place not in chosen]
            training = _narrowed(training, chosen)
            if eval_X is not None:
                rest = (*rest[:4], select_features(eval_X, training.plain), *rest[5:])
        return self._fit_grades(training, grades, *rest)

    def predict(self, X: Any, *, encoder_fingerprint: str | None = None) -> FloatArray:
        """Scores float64 (n,), in the order of the rows; higher is better, comparable within a query only.

        By a compiled loop over the trees, to the bit what LightGBM gives (see `ranking.forest`).

        Raises
        ------
        NotFittedError, DataError, FingerprintError
            As in `LambdaRanker.predict`.
        """
        values = self._values(X, encoder_fingerprint)
        forest = self._forest
        if forest is None:
            return self._boosted(values)
        return forest.predict(values, thread_count(self.threads))

    @property
    def cost_(self) -> dict[str, float]:
        """Cost of one candidate, in visits to a tree's node: `node_visits`, `features` and `total`."""
        self._check_fitted()
        forest = self._forest
        visits = float("nan") if forest is None else forest.node_visits
        features = float(self._costs(list(self.manifest_.names)).sum())
        return {"node_visits": visits, "features": features, "total": visits + features}

    def _use(self, texts: Mapping[str, str], manifest: FeatureManifest, fingerprint: str | None) -> None:
        super()._use(texts, manifest, fingerprint)
        # Of another objective (by `lightgbm_parameters`) a prediction may be more than the sum of leaves.
        ranks = "\nobjective=lambdarank" in texts[""] or "\nobjective=rank_xendcg" in texts[""]
        self._forest = read_forest(texts[""]) if ranks else None

    def _costs(self, names: Sequence[str]) -> FloatArray:
        given = dict(self.feature_costs or {})
        for name, cost in given.items():
            if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 < cost < float("inf"):
                raise SettingError(f"The cost of feature {name!r} must be a number above 0; got {cost!r}.")
        return np.array([float(given.get(name, 1.0)) for name in names])

    def _graded(self, y: Any, query_ids: Any, rows: int) -> tuple[npt.NDArray[np.int64], Sequence[float] | None]:
        return self._grades(y, query_ids, rows, "label"), self.label_gain

    def _grades(self, y: Any, query_ids: Any, rows: int, what: str) -> npt.NDArray[np.int64]:
        if self.target == "grades":
            return check_grades(y, rows, what)
        scores = check_scores(y, rows, what)
        codes, _ = encode_queries(query_ids, rows)
        return grades_of_scores(scores, codes, self.keep)


def grades_of_scores(scores: FloatArray, codes: npt.NDArray[np.int64], keep: int) -> npt.NDArray[np.int64]:
    """Grades 3, 2, 1, 0 by place in the query: of the first `keep`, 3 x keep, 10 x keep, and the others.

    The place of a row is 1 and the number of rows of its query with a higher score. `scores` float64 (n,), `codes`
    int64 (n,); returns int64 (n,). A query of one score alone gets grade 0: there is nothing to choose.
    """
    order = np.lexsort((-scores, codes))
    ordered_codes, ordered = codes[order], scores[order]
    new_query = np.r_[True, ordered_codes[1:] != ordered_codes[:-1]]
    new_score = new_query | np.r_[True, ordered[1:] != ordered[:-1]]
    places = np.arange(len(order))
    first_of_query = places[new_query][np.cumsum(new_query) - 1]
    above = places[new_score][np.cumsum(new_score) - 1] - first_of_query
    grades = np.empty(len(order), dtype=np.int64)
    grades[order] = _LEVELS - np.searchsorted([keep, 3 * keep, 10 * keep], above, side="right")
    distinct_scores = np.bincount(ordered_codes, weights=new_score)
    grades[distinct_scores[codes] == 1] = 0
    return grades


def check_scores(scores: Any, rows: int, what: str = "score") -> FloatArray:
    """Scores as float64 (rows,); raises `DataError` for another number of them, or one that is no finite number."""
    raw = to_numpy(scores)
    if raw.ndim != 1 or len(raw) != rows:
        raise DataError(f"There must be one {what} for each of the {rows} rows; got shape {raw.shape} instead.")
    try:
        found = raw.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"Every {what} must be a number; got {raw.dtype} values instead.") from None
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found))[0])
        raise DataError(f"The {what} of row {row + 1} is {raw[row]}; give every row a finite number.")
    return found


def _narrowed(training: TrainingFeatures, chosen: Sequence[int]) -> TrainingFeatures:
    """The same rows with some of the features."""
    plain = [training.plain[place] for place in chosen]
    manifest = training.manifest
    kept = [place for place, name in enumerate(manifest.names) if name in plain]
    return TrainingFeatures(
        np.ascontiguousarray(training.values[:, chosen]),
        [training.names[place] for place in chosen],
        plain,
        FeatureManifest(
            tuple(manifest.names[place] for place in kept), tuple(manifest.types[place] for place in kept), True
        ),
        training.fingerprint,
    )
