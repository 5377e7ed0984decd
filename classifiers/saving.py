"""A classifier as a folder: `classifier.safetensors` (numbers) and `classifier.json` (the tree); nothing is pickled."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from classifiers.interest import InterestClassifier, Level
from omnifeat.data.files import replace_when_whole
from omnifeat.errors import DataError

__all__ = ["FORMAT_VERSION", "load_classifier", "save_classifier"]

FORMAT_VERSION = 1
_TENSORS, _TREE = "classifier.safetensors", "classifier.json"


def save_classifier(classifier: InterestClassifier, path: str | Path) -> None:
    """Write a fitted classifier; the folder appears when it is whole.

    Raises
    ------
    NotFittedError
        The classifier has not been fitted.
    OutputError
        The folder cannot be written.
    """
    levels = classifier._fitted_levels()
    tensors = {"mean": classifier.mean_, "scale": classifier.scale_}
    for depth, level in enumerate(levels):
        tensors[f"level_{depth}.weights"] = np.ascontiguousarray(level.weights)
        tensors[f"level_{depth}.intercepts"] = level.intercepts
        tensors[f"level_{depth}.parents"] = level.parents
        tensors[f"level_{depth}.ends"] = level.ends.astype(np.uint8)
    numbers = save_tensors(tensors)
    tree = {
        "format_version": FORMAT_VERSION,
        "levels": [[list(path) for path in level.paths] for level in levels],
        "encoder_fingerprint": classifier.encoder_fingerprint_,
        "tensors_sha256": hashlib.sha256(numbers).hexdigest(),
        "settings": classifier.get_params(),
    }
    with replace_when_whole(path) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TENSORS).write_bytes(numbers)
        (folder / _TREE).write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_classifier(path: str | Path) -> InterestClassifier:
    """Read a classifier written by `save_classifier`.

    Raises
    ------
    DataError
        A file is missing, is not what it must be, is of a later format, or was changed after it was saved.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(
            f"There is no classifier folder {folder}; give the folder that `omnifeat classify train` wrote."
        )
    try:
        tree: Any = json.loads((folder / _TREE).read_text(encoding="utf-8"))
        numbers = (folder / _TENSORS).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"Classifier {folder} has no file {Path(str(error.filename)).name}; train it again.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"File {folder / _TREE} is not JSON ({error}); train the classifier again.") from None
    version = tree.get("format_version") if isinstance(tree, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"Classifier {folder} is of format version {version!r}, this program reads version {FORMAT_VERSION}; "
            "train it again, or use the version of omnifeat that wrote it."
        )
    if hashlib.sha256(numbers).hexdigest() != tree.get("tensors_sha256"):
        raise DataError(f"File {folder / _TENSORS} was changed after it was saved; train the classifier again.")
    tensors = load_tensors(numbers)
    try:
        classifier = InterestClassifier(**tree["settings"])
        classifier.levels_ = tuple(
            Level(
                tuple(tuple(path) for path in paths),
                tensors[f"level_{depth}.ends"].astype(np.bool_),
                tensors[f"level_{depth}.parents"],
                tensors[f"level_{depth}.weights"],
                tensors[f"level_{depth}.intercepts"],
            )
            for depth, paths in enumerate(tree["levels"])
        )
        classifier.mean_, classifier.scale_ = tensors["mean"], tensors["scale"]
        classifier.n_features_in_ = len(classifier.mean_)
        classifier.encoder_fingerprint_ = tree["encoder_fingerprint"]
    except (KeyError, TypeError) as error:
        raise DataError(f"File {folder / _TREE} is not a classifier's ({error}); train it again.") from None
    return classifier
