"""What every LightGBM model here shares: held features, one encoder, repeatable training, saving without pickle.

A model is a scikit-learn estimator that owns one or several boosters. It remembers names, order and types of the
features it was trained on (see `ranking.features`) and the frozen encoder behind them, and refuses any others.
"""

import functools
import importlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from omnifeat.data.splits import HashSplit
from omnifeat.errors import DataError, FingerprintError, SettingError
from ranking.features import FeatureManifest, Features, read_features

_MOST_LEAVES = 131_072  # that LightGBM takes

__all__ = [
    "LightGBMModel",
    "Rows",
    "Trained",
    "TrainingFeatures",
    "check_same_encoder",
    "held_out_queries",
    "lightgbm_library",
    "train_booster",
]

FloatArray = npt.NDArray[np.float64]

_log = logging.getLogger("ranking.lightgbm")


class _LogRecords:
    """LightGBM's lines, as records of the `ranking.lightgbm` logger rather than prints."""

    def info(self, line: str) -> None:
        _log.debug(line)

    def warning(self, line: str) -> None:
        _log.info(line)


@functools.cache
def lightgbm_library() -> Any:
    """The lightgbm module, imported when first needed: its OpenMP must not load before the caller's own."""
    library = importlib.import_module("lightgbm")
    library.register_logger(_LogRecords())
    return library


@dataclass(frozen=True)
class TrainingFeatures:
    """Features as a booster learns from them.

    `values` is float64 (n, features), columns sorted by name (a plain array's stay in place), because trees break
    ties between features by their place. `names` are in that order and as LightGBM's text form takes them; `plain`
    are the features' own names in the same order. `fingerprint` is the frozen encoder's, where one is known.
    """

    values: FloatArray
    names: list[str]
    plain: list[str]
    manifest: FeatureManifest
    fingerprint: str | None


@dataclass(frozen=True)
class Rows:
    """Rows for LightGBM, already in their final order (see `ranking.groups`).

    `values` float64 (n, features); `labels` (n,); `sizes` int64 (queries,) the rows of each query one after another;
    `weights` float64 (n,); `positions` int64 (n,) codes of where each row was shown.
    """

    values: FloatArray
    labels: npt.NDArray[Any]
    sizes: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float64] | None = None
    positions: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Trained:
    """A trained booster: LightGBM's `text` of the trees in use, their number, and the best evaluation score."""

    text: str
    trees: int
    best_score: float | None


def train_booster(
    parameters: Mapping[str, Any],
    names: Sequence[str],
    rows: Rows,
    evaluation: Rows | None = None,
    *,
    rounds: int,
    early_stopping_rounds: int = 30,
) -> Trained:
    """Train on `rows`; with an evaluation set, stop at the best number of trees by the first metric."""
    lightgbm = lightgbm_library()
    train_set = lightgbm.Dataset(
        rows.values,
        label=rows.labels,
        group=rows.sizes,
        weight=rows.weights,
        position=rows.positions,
        feature_name=list(names),
        params=dict(parameters),
    )
    sets, callbacks = [], []
    if evaluation is not None:
        sets.append(
            lightgbm.Dataset(
                evaluation.values,
                label=evaluation.labels,
                group=evaluation.sizes,
                weight=evaluation.weights,
                reference=train_set,
                params=dict(parameters),
            )
        )
        callbacks.append(lightgbm.early_stopping(early_stopping_rounds, first_metric_only=True, verbose=False))
    booster = lightgbm.train(
        dict(parameters),
        train_set,
        num_boost_round=rounds,
        valid_sets=sets,
        valid_names=["evaluation"] * len(sets),
        callbacks=callbacks,
    )
    best = booster.best_iteration if evaluation is not None else -1
    scores = booster.best_score.get("evaluation", {})
    trees = best if best > 0 else int(booster.num_trees() / booster.num_model_per_iteration())
    return Trained(
        booster.model_to_string(num_iteration=best), trees, float(next(iter(scores.values()))) if scores else None
    )


class LightGBMModel(BaseEstimator):
    """Base of the models: what is trained, kept, looked into and saved.

    A model sets `kind`, its name in a saved folder (registered in `ranking.saving`), lists its settings in its own
    `__init__`, and calls `_training_features` and `_use` in `fit` and `_values` in `predict`. What else `fit` found
    and a loaded model must know is named in `_fitted`, with its type (JSON values), and `_outputs` says which
    boosters go with it.

    The settings `encoder_fingerprint`, `threads` and `seed` must be among a model's own; `n_estimators`, `num_leaves`,
    `learning_rate`, `min_child_samples`, `reg_lambda`, `colsample_bytree`, `early_stopping_rounds`, `monotonic_cst`
    and `lightgbm_parameters` where it calls `_common_parameters`.

    Attributes
    ----------
    boosters_ : dict of str to lightgbm.Booster
        The model's boosters by name; a model of one booster calls it "".
    manifest_ : FeatureManifest
        Names, order and types of the features.
    feature_names_in_ : ndarray of str
        Features in the order of `fit`, where they have names.
    n_features_in_ : int
    encoder_fingerprint_ : str or None
        The encoder whose features the model takes.
    tables_ : dict of str to str
        Content of the files `training` and `development` that it learned from (see `omnifeat.data.identity`), where a
        command trained it; who measures the model on one of them is told.
    """

    kind: ClassVar[str] = ""
    _fitted: ClassVar[Mapping[str, Any]] = {}

    boosters_: dict[str, Any]
    manifest_: FeatureManifest
    n_features_in_: int
    feature_names_in_: npt.NDArray[Any]
    encoder_fingerprint_: str | None
    tables_: dict[str, str]

    @property
    def feature_importances_(self) -> FloatArray:
        """Total gain of the splits on each feature over all boosters, float64 (features,), in the order of `fit`."""
        self._check_fitted()
        importances = np.zeros(len(self.manifest_.names), dtype=np.float64)
        for booster in self.boosters_.values():
            importances[self._columns()] += booster.feature_importance(importance_type="gain")
        return importances

    def save(self, path: str | Path) -> None:
        """Write the model as a folder of text files (see `ranking.saving`); raises `OutputError` if it cannot be."""
        from ranking.saving import save_model

        save_model(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model written by `save`; raises `DataError` if it is of another kind, incomplete or changed."""
        from ranking.saving import load_model

        model = load_model(path)
        if not isinstance(model, cls):
            raise DataError(
                f"Folder {path} holds a model of kind {model.kind!r}, not a {cls.__name__}; load it with "
                f"ranking.load_model, or give the folder of a {cls.__name__}."
            )
        return model

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` or `load` has been called."""
        return hasattr(self, "boosters_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            name = type(self).__name__
            raise NotFittedError(f"This {name} is not fitted yet; call fit, or load a saved one.")

    def _training_features(self, X: Any) -> TrainingFeatures:
        """Features of `fit`; raises `DataError` for what is no feature, `FingerprintError` for another encoder's."""
        features = read_features(X)
        manifest = FeatureManifest.of(features)
        given: str | None = getattr(self, "encoder_fingerprint", None)
        if given is not None and not given.strip():
            raise SettingError(
                "The 'encoder_fingerprint' (--encoder-fingerprint) is empty; give the fingerprint that `omnifeat "
                "featurize --json` names, or leave it out."
            )
        fingerprint = given or features.fingerprint
        check_same_encoder(features, fingerprint)
        columns = model_order(manifest)
        plain = [manifest.names[index] for index in columns]
        return TrainingFeatures(manifest.align(features)[:, columns], _model_names(plain), plain, manifest, fingerprint)

    @staticmethod
    def _further_features(training: TrainingFeatures, X: Any) -> FloatArray:
        """Values of other rows (an evaluation set), float64 (n, features), in the columns of `training`."""
        features = read_features(X)
        check_same_encoder(features, training.fingerprint)
        return _ordered(training.manifest.align(features), training.manifest)

    def _use(self, texts: Mapping[str, str], manifest: FeatureManifest, fingerprint: str | None) -> None:
        """Take over trained boosters in LightGBM's text form, so that a model scores alike before and after saving."""
        lightgbm = lightgbm_library()
        self.boosters_ = {name: lightgbm.Booster(model_str=text) for name, text in texts.items()}
        self.manifest_ = manifest
        self.n_features_in_ = len(manifest.names)
        if manifest.named:
            self.feature_names_in_ = np.array(manifest.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.encoder_fingerprint_ = fingerprint
        self.tables_ = {}

    def _outputs(self) -> dict[str, int]:
        """Numbers that each booster gives a row, by the booster's name; a loaded model must have these and no others.

        Raises `ValueError` where what `fit` found does not fit together.
        """
        return {"": 1}

    def _booster_features(self, manifest: FeatureManifest) -> int:
        """Columns that a booster takes."""
        return len(manifest.names)

    def _values(self, X: Any, encoder_fingerprint: str | None = None) -> FloatArray:
        """Values to predict from, float64 (n, features) in the model's order of columns.

        Raises `NotFittedError`, `DataError` (a feature is missing or extra) or `FingerprintError`.
        """
        self._check_fitted()
        features = read_features(X)
        check_same_encoder(features, self.encoder_fingerprint_, encoder_fingerprint)
        return _ordered(self.manifest_.align(features), self.manifest_)

    def _boosted(self, values: FloatArray, name: str = "", **more: Any) -> FloatArray:
        """What a booster predicts of values from `_values`, float64; `more` goes to LightGBM."""
        threads = getattr(self, "threads", None) or 0
        return np.asarray(self.boosters_[name].predict(values, num_threads=threads, **more), dtype=np.float64)

    def _columns(self) -> npt.NDArray[np.int64]:
        """Places, in the manifest, of the model's features in its own order."""
        return model_order(self.manifest_)

    def _check_common_settings(self, whole: Sequence[str] = ()) -> None:
        """Refuse settings out of their range; `whole` names further settings that must be whole numbers from 1."""
        kind = type(self).__name__
        for name in ("n_estimators", "early_stopping_rounds", "min_child_samples", *whole):
            value = getattr(self, name, 1)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"The {name!r} setting of {kind} must be a whole number from 1; got {value!r}.")
        leaves: Any = getattr(self, "num_leaves", 2)
        if not isinstance(leaves, int) or not 2 <= leaves <= _MOST_LEAVES:
            raise SettingError(
                f"The 'num_leaves' setting of {kind} must be a whole number from 2 to {_MOST_LEAVES:,}; got {leaves!r}."
            )
        rate: Any = getattr(self, "learning_rate", 1.0)
        if not rate > 0:
            raise SettingError(f"The 'learning_rate' setting of {kind} must be above 0; got {rate!r}.")

    def _common_parameters(self, training: TrainingFeatures) -> dict[str, Any]:
        """LightGBM's parameters of the settings that models share; the caller adds the objective and the metric."""
        return {
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples,
            "lambda_l2": self.reg_lambda,
            "feature_fraction": self.colsample_bytree,
            "seed": self.seed,
            "num_threads": self.threads or 0,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **self._monotonic(training.plain),
        }

    def _monotonic(self, features: Sequence[str]) -> dict[str, Any]:
        """LightGBM's parameter for `monotonic_cst`, in the order of the model's features."""
        constraints: dict[str, int] = dict(getattr(self, "monotonic_cst", None) or {})
        for name, direction in constraints.items():
            if name not in features:
                raise SettingError(
                    f"The 'monotonic_cst' setting names {name!r}, which is no feature; the features are "
                    f"{', '.join(features)}."
                )
            if direction not in (-1, 0, 1):
                raise SettingError(
                    f"The 'monotonic_cst' of feature {name!r} must be 1 (rising), -1 (falling) or 0; got {direction!r}."
                )
        if not any(constraints.values()):
            return {}
        return {"monotone_constraints": [constraints.get(name, 0) for name in features]}


def model_order(manifest: FeatureManifest) -> npt.NDArray[np.int64]:
    """Places, in the manifest, of the features in the order that boosters learn them: by name."""
    names = manifest.names
    return np.argsort(np.array(names)) if manifest.named else np.arange(len(names))


def _ordered(values: FloatArray, manifest: FeatureManifest) -> FloatArray:
    """Values in the manifest's order, brought into the model's; not copied where the two are one."""
    columns = model_order(manifest)
    return values if (columns == np.arange(len(columns))).all() else values[:, columns]


def check_same_encoder(features: Features, *fingerprints: str | None) -> None:
    """Refuse features of another encoder than the model's; what has no fingerprint is taken on trust."""
    known = [value for value in (*fingerprints, features.fingerprint) if value is not None]
    for value in known[1:]:
        if value != known[0]:
            raise FingerprintError(
                f"The model takes features of encoder {known[0]}, but these are of encoder {value}; "
                "featurize the pairs with the same encoder, or train the model anew."
            )


def held_out_queries(
    codes: npt.NDArray[np.int64], queries: npt.NDArray[Any], fraction: float, seed: int = 0
) -> npt.NDArray[np.bool_]:
    """Whether each row is of a query held out for early stopping, bool (n,).

    By a hash of the query's text (as `omnifeat.data.splits` takes it: case and white space don't matter) and the
    seed alone, so that neither other queries nor the order of rows decide. `codes` and `queries` are those of
    `ranking.groups.encode_queries`.

    Raises
    ------
    SettingError
        The fraction is not above 0 and below 1.
    DataError
        No query, or every one, was held out.
    """
    if not 0 < fraction < 1:
        raise SettingError(f"The 'validation_fraction' must be above 0 and below 1; got {fraction!r}.")
    split = HashSplit(salt=f"early stopping {seed}", development=fraction, test=0.0)
    out = np.array([split.part_of(str(query)) == "development" for query in queries.tolist()], dtype=np.bool_)
    if not out.any() or out.all():
        raise DataError(
            f"Of the {len(queries)} queries, a 'validation_fraction' of {fraction} holds out "
            f"{int(out.sum())}; give more queries, another fraction or seed, or an evaluation set."
        )
    return out[codes]


def _model_names(names: Sequence[str]) -> list[str]:
    """Names that LightGBM's text form takes: no white space, no JSON characters, all different."""
    plain = [re.sub(r"[^\w.@-]", "_", name, flags=re.ASCII) or "_" for name in names]
    if len(set(plain)) == len(plain):
        return plain
    return [f"{index}_{name}" for index, name in enumerate(plain)]
