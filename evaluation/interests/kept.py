"""Answers of fitted classifiers kept in files, so that a comparison that was cut goes on where it was.

KEEP/SYSTEM-DIGEST.json             the answers to the test queries and what was chosen
KEEP/fasttext-trials-DIGEST.json    FastText's trials, each as soon as it is made

The digest is of all that a file depends on but the code, of which it has the version: after changing a classifier
take another folder.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from classifiers.answers import SystemAnswers
from classifiers.fasttext_tuning import Trial
from classifiers.interest import InterestPath
from classifiers.metrics import LevelAnswers
from evaluation.interests.systems import OURS_OVER, Choice, Examples
from omnifeat import __version__
from omnifeat.data.artefacts import read_bytes
from omnifeat.data.files import replace_when_whole
from omnifeat.data.locations import one_line
from omnifeat.errors import DataError, OutputError

__all__ = ["KeptTrials", "kept_answers"]

_FORMAT = 1
_LARGEST = 2**30  # bytes
_REMEDY = "remove it, and it is made again"
_DIGEST = 20  # characters of it in a file's name
_COLUMNS = ("confidence", "hit", "wanted")
_NOT_OF_FASTTEXT = ("ours", "trials_at_once")


def kept_answers(
    folder: Path,
    name: str,
    parts: Sequence[Examples],
    choice: Choice,
    levels: int,
    answer: Callable[[], tuple[SystemAnswers, dict[str, Any]]],
) -> tuple[SystemAnswers, dict[str, Any]]:
    """A system's answers to the test queries and what was chosen for it: read if they are there, else found and kept.

    Parameters
    ----------
    folder
        Of the files.
    parts
        The training, development and test queries, with their paths and what the system takes of them.
    levels
        Number of levels that are answered.
    answer
        Fits and answers.

    Raises
    ------
    DataError
        A file of the folder is not what was written there.
    OutputError
        The folder cannot be made or written to.
    """
    path = folder / f"{name}-{_digest(name, parts, choice, levels)[:_DIGEST]}.json"
    if path.is_file():
        try:
            found = json.loads(read_bytes(path, limit=_LARGEST, remedy=_REMEDY))
            return _answers(name, found, len(parts[-1].queries), levels), dict(found["chosen"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _not_kept(path, error) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before the work, so that it is not lost
    except OSError as error:
        raise OutputError(f"Folder {folder} cannot be made ({error.strerror}); choose another place.") from error
    answers, chosen = answer()
    text = json.dumps({"chosen": chosen, **_written(answers)})
    with replace_when_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return answers, json.loads(text)["chosen"]


class KeptTrials:
    """FastText's trials on the same training and development queries, in a file that grows by each.

    Raises
    ------
    DataError
        The file is not what was written there.
    OutputError
        The folder cannot be written to.
    """

    def __init__(self, folder: Path, training: Examples, development: Examples, choice: Choice) -> None:
        grid = replace(choice, grid=(), steps=())  # which trials are asked for does not change what they find
        digest = _digest("fasttext", (training, development), grid, 0)
        self.path = folder / f"fasttext-trials-{digest[:_DIGEST]}.json"
        self.trials = self._read()

    def _read(self) -> list[Trial]:
        if not self.path.is_file():
            return []
        try:
            found = json.loads(read_bytes(self.path, limit=_LARGEST, remedy=_REMEDY))
            return [_trial(trial) for trial in found["trials"]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _not_kept(self.path, error) from error

    def add(self, trial: Trial) -> None:
        """Keep one more, beside those that another process has kept meanwhile."""
        self.trials = [*(one for one in self._read() if one.settings != trial.settings), trial]
        with replace_when_whole(self.path) as partial:
            partial.write_text(json.dumps({"trials": [vars(one) for one in self.trials]}), encoding="utf-8")


def _trial(found: dict[str, Any]) -> Trial:
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in found["settings"].items()}
    return Trial(settings, None if found["precision"] is None else float(found["precision"]))


def _not_kept(path: Path, error: Exception) -> DataError:
    return DataError(f"File {path} cannot be read ({one_line(error)}); {_REMEDY}.")


def _digest(name: str, parts: Sequence[Examples], choice: Choice, levels: int) -> str:
    settings: dict[str, Any] = {"format": _FORMAT, "version": __version__, "system": name, "levels": levels}
    if name in OURS_OVER:
        settings["choice"] = {key: value for key, value in choice.ours.items() if key != "threads"}
    elif name == "fasttext":
        settings["choice"] = {key: value for key, value in vars(choice).items() if key not in _NOT_OF_FASTTEXT}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for part in parts:
        digest.update(json.dumps([part.queries, part.paths]).encode())
        inputs = part.inputs(name)
        if isinstance(inputs, np.ndarray):
            digest.update(f"{inputs.dtype} {inputs.shape}".encode())
            digest.update(np.ascontiguousarray(inputs).data)
    return digest.hexdigest()


def _written(answers: SystemAnswers) -> dict[str, Any]:
    levels = [
        {
            "predicted": level.predicted,
            "confidence": level.confidence.tolist(),
            "hit": level.hit.tolist(),
            "wanted": level.wanted.tolist(),
        }
        for level in answers.levels
    ]
    return {"levels": levels, "paths": answers.paths}


def _answers(name: str, found: dict[str, Any], queries: int, depth: int) -> SystemAnswers:
    lengths = {len(level[column]) for level in found["levels"] for column in ("predicted", *_COLUMNS)}
    if len(found["levels"]) != depth or {len(found["paths"])} != lengths | {queries}:
        raise ValueError("it has not the answers of all queries and levels")
    levels = tuple(
        LevelAnswers(
            _paths(level["predicted"]),
            np.array(level["confidence"], dtype=np.float64),
            np.array(level["hit"], dtype=np.bool_),
            np.array(level["wanted"], dtype=np.bool_),
        )
        for level in found["levels"]
    )
    return SystemAnswers(name, levels, _paths(found["paths"]))


def _paths(found: Sequence[Sequence[str]]) -> tuple[InterestPath, ...]:
    if not all(isinstance(path, list) and all(isinstance(name, str) for name in path) for path in found):
        raise TypeError("a path is no list of names")
    return tuple(tuple(path) for path in found)
