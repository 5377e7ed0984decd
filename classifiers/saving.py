"""A classifier as a folder: `classifier.safetensors` (numbers) and `classifier.json` (the tree); nothing is pickled."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel
from safetensors.numpy import save as save_tensors

from classifiers.heads import Head, HeadName, Outputs
from classifiers.interest import InterestClassifier
from classifiers.neighbours import KeptExamples
from classifiers.taxonomy import Taxonomy
from classifiers.tree import InterestPath, InterestTree, Memberships
from omnifeat.data.artefacts import check_version, checked, member, read_object, shown
from omnifeat.data.files import replace_when_whole
from omnifeat.data.locations import one_line
from omnifeat.data.saved_settings import saved_settings
from omnifeat.data.seals import check_seal, sealed
from omnifeat.data.tensor_files import read_tensors, tensor_of
from omnifeat.errors import DataError

__all__ = ["FORMAT_VERSION", "load_classifier", "save_classifier"]

FORMAT_VERSION = 2
_TENSORS, _TREE = "classifier.safetensors", "classifier.json"
_OUTSIDE = ("encoder", "taxonomy", "threads")  # settings that are no part of the folder, or a part of their own


_REMEDY = "train the classifier again"
_DEEPEST = 1000  # levels; the names of a path stand once for each node below it

Array = npt.NDArray[Any]


class _Tree(BaseModel):
    parents: dict[str, str | None]
    names: dict[str, str]


class _Written(BaseModel):
    """A classifier's `classifier.json`."""

    head: HeadName
    several: bool
    nodes: tuple[InterestPath, ...]
    encoder_fingerprint: str | None
    inverse_regularisation: float
    tried: list[tuple[float, float]]
    held_out: int
    heads_tried: dict[str, float] = {}  # folders of before have none
    unseen: list[str]
    taxonomy: _Tree | None
    example_queries: list[str] | None
    tensors_sha256: str
    learned_from: dict[str, str] = {}  # folders of before have none
    settings: dict[str, Any]


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
        "learned_from": classifier.learned_from_,
        "tensors_sha256": hashlib.sha256(numbers).hexdigest(),
        "settings": {name: value for name, value in classifier.get_params().items() if name not in _OUTSIDE},
    }
    with replace_when_whole(path) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TENSORS).write_bytes(numbers)
        text = json.dumps(sealed(written), indent=1, ensure_ascii=False)
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
    file = member(folder, _TREE, remedy=_REMEDY)
    values = read_object(file, remedy=_REMEDY)
    if "kind" in values:
        raise DataError(
            f"{folder} holds a classifier of kind {shown(values['kind'])}, where an InterestClassifier is needed; load "
            "it with classifiers.loading.load_any, or measure it with `omnifeat classify evaluate`."
        )
    check_version(values, FORMAT_VERSION, f"Classifier {folder}", remedy=_REMEDY)
    written = checked(_Written, values, where=file, remedy=_REMEDY)
    settings = saved_settings(InterestClassifier, written.settings, where=file, remedy=_REMEDY)
    numbers = member(folder, _TENSORS, remedy=_REMEDY)
    tensors = read_tensors(numbers, sha256=written.tensors_sha256, remedy=_REMEDY)
    tree = _tree(written, tensors, numbers)
    classifier = InterestClassifier(**settings, taxonomy=_taxonomy(written, file))
    classifier._set(_head(written, tree, tensors, numbers), _examples(written, tree, tensors, numbers),
                    written.encoder_fingerprint)  # fmt: skip
    if "thresholds" in tensors:
        thresholds = tensor_of(
            tensors, "thresholds", np.float64, (len(tree.nodes),), where=numbers, finite=False, remedy=_REMEDY
        )
        if np.isnan(thresholds).any():
            raise DataError(f"The tensor 'thresholds' of {numbers} holds NaN; {_REMEDY}.")
        classifier.thresholds_ = thresholds
    check_seal(values, file, remedy=_REMEDY)
    classifier.learned_from_ = written.learned_from
    classifier.inverse_regularisation_ = written.inverse_regularisation
    classifier.tried_ = dict(written.tried)
    classifier.held_out_ = written.held_out
    classifier.heads_tried_ = written.heads_tried
    classifier.unseen_ = tuple(written.unseen)
    return classifier


def _tree(written: _Written, tensors: Mapping[str, Array], numbers: Path) -> InterestTree:
    """The tree, which must be the one that the marked ends make."""
    nodes = written.nodes
    ends = tensor_of(tensors, "ends", np.uint8, (len(nodes),), where=numbers, remedy=_REMEDY).astype(np.bool_)
    if any(not 0 < len(node) <= _DEEPEST for node in nodes):
        raise DataError(f"A classifier's paths have 1 to {_DEEPEST} names, and {numbers.parent} has others; {_REMEDY}.")
    tree = InterestTree.of_paths(node for node, is_end in zip(nodes, ends, strict=True) if is_end)
    if not nodes or tree.nodes != nodes or (tree.ends != ends).any():
        raise DataError(f"The nodes of {numbers.with_name(_TREE)} are no tree that ends as {numbers} says; {_REMEDY}.")
    return tree


def _head(written: _Written, tree: InterestTree, tensors: Mapping[str, Array], numbers: Path) -> Head:
    outputs = len(Outputs.of(tree, written.head, written.several).nodes)
    mean = tensor_of(tensors, "mean", np.float32, (None,), where=numbers, remedy=_REMEDY)
    weights = tensor_of(tensors, "weights", np.float32, (outputs, len(mean)), where=numbers, remedy=_REMEDY)
    intercepts = tensor_of(tensors, "intercepts", np.float32, (outputs,), where=numbers, remedy=_REMEDY)
    if not len(mean):
        raise DataError(f"The tensor 'mean' of {numbers} is empty; {_REMEDY}.")
    return Head(tree, written.head, written.several, mean, weights, intercepts)


def _examples(
    written: _Written, tree: InterestTree, tensors: Mapping[str, Array], numbers: Path
) -> KeptExamples | None:
    if "examples.vectors" not in tensors:
        return None
    width = len(tensors["mean"])
    vectors = tensor_of(tensors, "examples.vectors", np.float32, (None, width), where=numbers, remedy=_REMEDY)
    count = len(vectors)
    rows = tensor_of(tensors, "examples.rows", np.int64, (count,), where=numbers, remedy=_REMEDY)
    starts = tensor_of(tensors, "examples.starts", np.int64, (count + 1,), where=numbers, remedy=_REMEDY)
    nodes = tensor_of(tensors, "examples.nodes", np.int64, (None,), where=numbers, remedy=_REMEDY)
    queries = written.example_queries
    if (
        starts[0] != 0 or starts[-1] != len(nodes) or (np.diff(starts) < 1).any()
        or (len(nodes) and not 0 <= nodes.min() <= nodes.max() < len(tree.nodes))
        or (queries is not None and len(queries) != count)
    ):  # fmt: skip
        raise DataError(f"The examples of {numbers} do not fit its interests or their queries; {_REMEDY}.")
    return KeptExamples(vectors, rows, Memberships(starts, nodes), None if queries is None else tuple(queries))


def _taxonomy(written: _Written, file: Path) -> Taxonomy | None:
    if written.taxonomy is None:
        return None
    try:
        return Taxonomy.from_parents(written.taxonomy.parents, written.taxonomy.names)
    except DataError as error:
        raise DataError(f"The taxonomy of {file} is none ({one_line(error)}); {_REMEDY}.") from None
