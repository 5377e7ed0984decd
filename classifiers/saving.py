"""A classifier as a folder: `classifier.safetensors` (numbers) and `classifier.json` (the tree); nothing is pickled."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from classifiers.heads import Head, Outputs
from classifiers.interest import InterestClassifier
from classifiers.neighbours import KeptExamples
from classifiers.taxonomy import Taxonomy
from classifiers.tree import InterestTree, Memberships
from omnifeat.data.files import replace_when_whole
from omnifeat.data.json_form import json_form
from omnifeat.errors import DataError

__all__ = ["FORMAT_VERSION", "load_classifier", "save_classifier"]

FORMAT_VERSION = 2
_TENSORS, _TREE = "classifier.safetensors", "classifier.json"
_OUTSIDE = ("encoder", "taxonomy", "threads")  # settings that are no part of the folder, or a part of their own


def save_classifier(classifier: InterestClassifier, path: str | Path) -> None:
    """Write a fitted classifier; the folder appears when it is whole.

    Raises
    ------
    NotFittedError
        The classifier has not been fitted.
    OutputError
        The folder cannot be written.
    """
    tree = classifier._fitted()
    head = classifier.head_
    tensors: dict[str, npt.NDArray[Any]] = {
        "mean": head.mean, "weights": head.weights, "intercepts": head.intercepts, "ends": tree.ends.astype(np.uint8),
    }  # fmt: skip
    if classifier.thresholds_ is not None:
        tensors["thresholds"] = classifier.thresholds_
    kept = classifier.examples_
    if kept is not None:
        tensors |= {
            "examples.vectors": kept.vectors, "examples.rows": kept.rows,
            "examples.starts": kept.has.starts, "examples.nodes": kept.has.nodes,
        }  # fmt: skip
    numbers = save_tensors({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    taxonomy = classifier.taxonomy
    written = {
        "format_version": FORMAT_VERSION,
        "head": head.name,
        "several": head.several,
        "nodes": [list(node) for node in tree.nodes],
        "encoder_fingerprint": classifier.encoder_fingerprint_,
        "inverse_regularisation": classifier.inverse_regularisation_,
        "tried": [[strength, loss] for strength, loss in classifier.tried_.items()],
        "held_out": classifier.held_out_,
        "heads_tried": classifier.heads_tried_,
        "unseen": list(classifier.unseen_),
        "taxonomy": None if taxonomy is None else {"parents": taxonomy.parents, "names": taxonomy.names},
        "example_queries": None if kept is None or kept.queries is None else list(kept.queries),
        "tensors_sha256": hashlib.sha256(numbers).hexdigest(),
        "settings": {name: value for name, value in classifier.get_params().items() if name not in _OUTSIDE},
    }
    with replace_when_whole(path) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TENSORS).write_bytes(numbers)
        text = json.dumps(written, indent=1, ensure_ascii=False, default=json_form)
        (folder / _TREE).write_text(text + "\n", encoding="utf-8")


def load_classifier(path: str | Path) -> InterestClassifier:
    """Read a classifier written by `save_classifier`.

    Raises
    ------
    DataError
        A file is missing, is not what it must be, is of another format, or was changed after it was saved.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(
            f"There is no classifier folder {folder}; give the folder that `omnifeat classify train` wrote."
        )
    try:
        written: Any = json.loads((folder / _TREE).read_text(encoding="utf-8"))
        if isinstance(written, dict) and "kind" in written:
            raise DataError(
                f"{folder} holds a classifier of kind {written['kind']!r}, where an InterestClassifier is needed; load "
                "it with classifiers.loading.load_any, or measure it with `omnifeat classify evaluate`."
            )
        numbers = (folder / _TENSORS).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"Classifier {folder} has no file {Path(str(error.filename)).name}; train it again.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"File {folder / _TREE} is not JSON ({error}); train the classifier again.") from None
    version = written.get("format_version") if isinstance(written, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"Classifier {folder} is of format version {version!r}, this program reads version {FORMAT_VERSION}; "
            "train it again, or use the version of omnifeat that wrote it."
        )
    if hashlib.sha256(numbers).hexdigest() != written.get("tensors_sha256"):
        raise DataError(f"File {folder / _TENSORS} was changed after it was saved; train the classifier again.")
    try:
        return _built(written, load_tensors(numbers))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, SafetensorError) as error:
        raise DataError(f"File {folder / _TREE} is not a classifier's ({error}); train it again.") from None


def _built(written: dict[str, Any], tensors: dict[str, npt.NDArray[Any]]) -> InterestClassifier:
    tree = InterestTree(tuple(tuple(node) for node in written["nodes"]), tensors["ends"].astype(np.bool_))
    if len(tree.nodes) != len(tree.ends):
        raise ValueError(f"{len(tree.ends)} interests are wanted, {len(tree.nodes)} are there")
    head = Head(tree, written["head"], written["several"], tensors["mean"], tensors["weights"], tensors["intercepts"])
    outputs = len(Outputs.of(tree, head.name, head.several).nodes)
    if head.weights.shape != (outputs, len(head.mean)) or head.intercepts.shape != (outputs,):
        raise ValueError(f"{outputs} scores are wanted, {len(head.weights)} are there")
    kept = None
    if "examples.vectors" in tensors:
        queries = written["example_queries"]
        kept = KeptExamples(
            tensors["examples.vectors"],
            tensors["examples.rows"],
            Memberships(tensors["examples.starts"], tensors["examples.nodes"]),
            None if queries is None else tuple(queries),
        )
    taxonomy = written["taxonomy"]
    classifier = InterestClassifier(
        **written["settings"], taxonomy=None if taxonomy is None else Taxonomy(taxonomy["parents"], taxonomy["names"])
    )
    classifier._set(head, kept, written["encoder_fingerprint"])
    classifier.thresholds_ = tensors.get("thresholds")
    classifier.inverse_regularisation_ = written["inverse_regularisation"]
    classifier.tried_ = dict(written["tried"])
    classifier.held_out_ = written["held_out"]
    classifier.heads_tried_ = written.get("heads_tried", {})  # folders of before have none
    classifier.unseen_ = tuple(written["unseen"])
    return classifier
