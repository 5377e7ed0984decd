"""Baselines as folders: `classifier.json` (kind, settings, classes, check sums) and numbers; nothing is pickled."""

import hashlib
import json
from pathlib import Path
from typing import Any

from classifiers.fasttext_classifier import FastTextClassifier, _Head, fasttext_module
from classifiers.interest import InterestPath
from classifiers.paths import PathBaseline
from omnifeat.data.files import replace_when_whole
from omnifeat.data.json_form import json_form
from omnifeat.errors import DataError

__all__ = ["FORMAT_VERSION", "load_fasttext", "read_folder", "save_fasttext", "write_folder"]

FORMAT_VERSION = 1
_TREE = "classifier.json"


def save_fasttext(classifier: FastTextClassifier, path: str | Path) -> None:
    """Write a fitted classifier; the folder appears when it is whole.

    Raises
    ------
    NotFittedError
        The classifier has not been fitted.
    OutputError
        The folder cannot be written.
    """
    classifier._depth()
    with replace_when_whole(path) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        names = []
        for place, head in enumerate(classifier.heads_):
            if head is not None:
                names.append(f"model_{place}.bin")
                head.model.save_model(str(folder / names[-1]))
        write_folder(folder, "fasttext", classifier, names)


def load_fasttext(path: str | Path) -> FastTextClassifier:
    """Read a classifier written by `save_fasttext`.

    Raises
    ------
    DataError
        A file is missing, is not what it must be, is of a later format, or was changed after it was saved.
    """
    folder = Path(path)
    settings, labels, depth = read_folder(folder, "fasttext")
    settings["char_ngrams"] = tuple(settings.get("char_ngrams", ()))
    try:
        classifier = FastTextClassifier(**settings)
    except TypeError as error:
        raise DataError(f"File {folder / _TREE} is not a FastText classifier's ({error}); train it again.") from None
    heads = []
    for place, classes in enumerate(labels):
        file = folder / f"model_{place}.bin"
        heads.append(_Head(fasttext_module().load_model(str(file)), classifier.loss) if len(classes) > 1 else None)
    classifier.labels_, classifier.depth_, classifier.heads_ = labels, depth, heads
    return classifier


def write_folder(folder: Path, kind: str, classifier: PathBaseline, files: list[str]) -> None:
    """Write the JSON beside the files of numbers, which must be there already."""
    tree = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "settings": classifier.get_params(),
        "depth": classifier.depth_,
        "labels": [[list(path) for path in classes] for classes in classifier.labels_],
        "files": {name: _sha256(folder / name) for name in files},
    }
    text = json.dumps(tree, indent=1, ensure_ascii=False, default=json_form)
    (folder / _TREE).write_text(text + "\n", encoding="utf-8")


def read_folder(folder: Path, kind: str) -> tuple[dict[str, Any], tuple[tuple[InterestPath, ...], ...], int]:
    """Settings, classes and depth of a saved baseline, once every file of it is checked; raises `DataError`."""
    if not folder.is_dir():
        raise DataError(f"There is no classifier folder {folder}; give the folder that a classifier was saved to.")
    file = folder / _TREE
    try:
        tree: Any = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"Classifier {folder} has no file {_TREE}; train it again.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"File {file} is not JSON ({error}); train the classifier again.") from None
    if not isinstance(tree, dict) or tree.get("kind") != kind:
        found = tree.get("kind") if isinstance(tree, dict) else None
        raise DataError(f"Classifier {folder} is of kind {found!r}, not {kind!r}; give the folder of such a one.")
    if tree.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"Classifier {folder} is of format version {tree.get('format_version')!r}, this program reads version "
            f"{FORMAT_VERSION}; train it again, or use the version of omnifeat that wrote it."
        )
    try:
        for name, expected in tree["files"].items():
            if not (folder / name).is_file():
                raise DataError(f"Classifier {folder} has no file {name}; train it again.")
            if _sha256(folder / name) != expected:
                raise DataError(f"File {folder / name} was changed after it was saved; train the classifier again.")
        labels = tuple(tuple(tuple(path) for path in classes) for classes in tree["labels"])
        return dict(tree["settings"]), labels, int(tree["depth"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"File {file} is not a classifier's ({error}); train it again.") from None


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
