"""The classifiers that are compared: what each takes, and what is chosen for it on development queries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.answers import level_precisions
from classifiers.examples import InterestExamples
from classifiers.fasttext_classifier import FastTextClassifier, fasttext_module
from classifiers.fasttext_tuning import GRID, STEPS, Trial, tune_fasttext
from classifiers.hiclass_peer import HiclassClassifier, hiclass_module
from classifiers.inputs import check_settings
from classifiers.interest import InterestClassifier, InterestPath
from classifiers.logistic import EmbeddingLogisticClassifier, TfidfLogisticClassifier
from omnifeat.errors import SettingError

__all__ = [
    "OURS",
    "OURS_OVER",
    "SYSTEMS",
    "Choice",
    "Examples",
    "check_choice",
    "check_systems",
    "fit_system",
    "quick_fasttext",
]

FloatArray = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], FloatArray]
OURS = "interest-classifier"
# The interest classifier over the frozen encoder's vectors, another's, and both side by side.
OURS_OVER = (OURS, f"{OURS}-pretrained", f"{OURS}-stacked")
# name: (what it is, what it takes)
SYSTEMS: dict[str, tuple[str, str]] = {
    OURS: ("InterestClassifier over the frozen encoder's query embeddings", "vectors"),
    f"{OURS}-pretrained": ("InterestClassifier over an off-the-shelf encoder's vectors", "pretrained"),
    f"{OURS}-stacked": ("InterestClassifier over both encoders' vectors, side by side", "stacked"),
    "fasttext": ("FastText, tuned on development queries", "text"),
    "tfidf-logistic": ("logistic regression over TF-IDF of words and character n-grams", "text"),
    "embedding-logistic": ("flat logistic regression over the same embeddings", "vectors"),
    "hiclass": ("hiclass, a local classifier per parent node, over the same embeddings", "vectors"),
    "pretrained-logistic": ("flat logistic regression over an off-the-shelf encoder's vectors", "pretrained"),
}
# Strengths of regularisation that development queries choose from, for each logistic baseline.
_STRENGTHS = {
    "tfidf-logistic": (10.0, 100.0),
    "embedding-logistic": (0.003, 0.01, 0.1),
    "pretrained-logistic": (0.003, 0.01, 0.1),
    "hiclass": (0.01, 0.1),
}


@dataclass(frozen=True)
class Examples:
    """Queries of one part with their whole paths, and their vectors by encoder: "vectors" and "pretrained"."""

    queries: tuple[str, ...]
    paths: tuple[tuple[InterestPath, ...], ...]
    vectors: dict[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def make(cls, examples: InterestExamples, encoders: dict[str, Embed]) -> "Examples":
        """Embed the queries with each encoder."""
        vectors = {name: np.asarray(embed(list(examples.queries))) for name, embed in encoders.items()}
        return cls(examples.queries, examples.paths, vectors)

    def inputs(self, system: str) -> Any:
        """What a system takes of these queries: their text, or their vectors."""
        takes = SYSTEMS[system][1]
        if takes == "stacked":
            return np.hstack([self.vectors["vectors"], self.vectors["pretrained"]])
        return list(self.queries) if takes == "text" else self.vectors[takes]

    def chosen(self, rows: Sequence[int], depth: int | None = None) -> "Examples":
        """Some of the queries; with a depth, their paths cut off there."""
        paths = [self.paths[row] for row in rows]
        if depth is not None:
            paths = [tuple(sorted({path[:depth] for path in own})) for own in paths]
        vectors = {name: array[np.asarray(rows, dtype=np.int64)] for name, array in self.vectors.items()}
        return Examples(tuple(self.queries[row] for row in rows), tuple(paths), vectors)


@dataclass(frozen=True)
class Choice:
    """How systems are brought up.

    Attributes
    ----------
    grid, steps
        Trials of FastText, see `classifiers.fasttext_tuning`.
    loss, target, buckets
        Of FastText.
    ours
        Settings of `InterestClassifier`.
    seed
        Of FastText, which has one thread, so that it can be repeated.
    trials_at_once
        Trials of FastText that run side by side; what is chosen does not depend on it.
    """

    grid: tuple[dict[str, Any], ...] = GRID
    steps: tuple[dict[str, Any], ...] = STEPS
    loss: str = "softmax"
    target: str = "paths"
    buckets: int = 200_000
    ours: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    trials_at_once: int = 1


def check_systems(names: Sequence[str], pretrained: bool) -> None:
    """Raise `SettingError` for a system that there is not, one that stands twice, or one without its encoder."""
    for name in names:
        if name not in SYSTEMS:
            raise SettingError(f"There is no classifier {name!r} to compare; choose some of {', '.join(SYSTEMS)}.")
        if names.count(name) > 1:
            raise SettingError(f"Classifier {name!r} is named twice; name it once.")
        if SYSTEMS[name][1] in ("pretrained", "stacked") and not pretrained:
            raise SettingError(f"Classifier {name!r} needs an encoder that is off the shelf; give one by --pretrained.")


def check_choice(names: Sequence[str], choice: Choice) -> None:
    """Find out before any work whether the systems can be brought up so.

    Raises
    ------
    SettingError
        A setting is out of its range.
    MissingDependencyError
        A library is not installed.
    """
    if any(name in OURS_OVER for name in names):
        check_settings(InterestClassifier(**choice.ours))
    if "fasttext" in names:
        fasttext_module()
        if not choice.grid:
            raise SettingError("The grid of FastText is empty; give at least one setting.")
        common = {"loss": choice.loss, "target": choice.target, "buckets": choice.buckets, "seed": choice.seed}
        for settings in (*choice.grid, *choice.steps):
            FastTextClassifier(**{**common, **settings}).check_settings()
    if "hiclass" in names:
        hiclass_module()


def fit_system(
    name: str,
    training: Examples,
    development: Examples,
    choice: Choice,
    known: Sequence[Trial] = (),
    on_trial: Callable[[Trial], None] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """A fitted classifier, and what was chosen for it on development queries, for JSON.

    `known` and `on_trial` are FastText's, see `classifiers.fasttext_tuning`.
    """
    paths = [list(own) for own in training.paths]
    if name in OURS_OVER:
        ours = InterestClassifier(**choice.ours).fit(training.inputs(name), paths)
        return ours, {
            "settings": choice.ours,
            "head": ours.head_.name,
            "inverse_regularisation": ours.inverse_regularisation_,
        }
    if name == "fasttext":
        tuned = tune_fasttext(
            training.queries,
            paths,
            development.queries,
            development.paths,
            grid=choice.grid,
            steps=choice.steps,
            loss=choice.loss,
            target=choice.target,
            buckets=choice.buckets,
            seed=choice.seed,
            known=known,
            at_once=choice.trials_at_once,
            on_trial=on_trial,
        )
        settings = tuned.classifier.get_params()
        return tuned.classifier, {"settings": settings, "trials": [vars(trial) for trial in tuned.trials]}
    best: tuple[float, Any, dict[str, Any]] | None = None
    trials = []
    for strength in _STRENGTHS[name]:
        classifier = _logistic(name, strength).fit(training.inputs(name), paths)
        precision = float(np.mean(level_precisions(classifier, development.inputs(name), development.paths)))
        trials.append({"settings": {"inverse_regularisation": strength}, "precision": precision})
        if best is None or precision > best[0]:
            best = precision, classifier, classifier.get_params()
    if best is None:
        raise SettingError(f"There is no setting to try for {name!r}.")
    return best[1], {"settings": best[2], "trials": trials}


def quick_fasttext(settings: dict[str, Any], epochs: Sequence[int]) -> tuple[dict[str, Any], ...]:
    """The grid of a learning curve: what was chosen in full, with each of these numbers of epochs."""
    names = ("word_ngrams", "learning_rate", "dim")
    of_full = {"char_ngrams": tuple(settings["char_ngrams"]), **{name: settings[name] for name in names}}
    return tuple({**of_full, "epochs": count} for count in epochs)


def _logistic(name: str, strength: float) -> Any:
    if name == "tfidf-logistic":
        return TfidfLogisticClassifier(inverse_regularisation=strength)
    if name == "hiclass":
        return HiclassClassifier(inverse_regularisation=strength)
    return EmbeddingLogisticClassifier(inverse_regularisation=strength)
