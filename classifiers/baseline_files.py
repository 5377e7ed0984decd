"""Baselines as folders: `classifier.json` (kind, settings, classes, check sums) and numbers; nothing is pickled."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from classifiers.fasttext_classifier import LABEL, FastTextClassifier, _Head, fasttext_module
from classifiers.fasttext_file import check_fasttext_file
from classifiers.interest import InterestPath
from classifiers.paths import PathBaseline
from omnifeat.data.artefacts import LibraryCall, check_version, checked, member, read_object, regular_file, shown
from omnifeat.data.files import replace_when_whole
from omnifeat.data.locations import one_line
from omnifeat.data.saved_settings import saved_settings
from omnifeat.data.seals import check_seal, sealed
from omnifeat.errors import DataError, SettingError

__all__ = ["FORMAT_VERSION", "known_file", "load_fasttext", "read_folder", "save_fasttext", "write_folder"]

FORMAT_VERSION = 1
_TREE = "classifier.json"
_REMEDY = "train the classifier again"
_DEEPEST = 1000  # levels

Baseline = TypeVar("Baseline", bound=PathBaseline)


class _Written(BaseModel):
    """A baseline's `classifier.json`."""

    settings: dict[str, Any]
    depth: int
    labels: tuple[tuple[InterestPath, ...], ...]
    files: dict[str, str]


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
    classifier, files = read_folder(folder, "fasttext", FastTextClassifier)
    heads: list[_Head | None] = []
    for place, classes in enumerate(classifier.labels_):
        if len(classes) == 1:
            heads.append(None)
            continue
        file = known_file(files, f"model_{place}.bin", folder)
        check_fasttext_file(file, classes=len(classes), loss=classifier.loss, label=LABEL)
        with LibraryCall(f"FastText cannot read {file}", remedy=_REMEDY):
            model = fasttext_module().load_model(str(file))
        heads.append(_Head(model, classifier.loss))
    classifier.heads_ = heads
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
    text = json.dumps(sealed(tree), indent=1, ensure_ascii=False)
    (folder / _TREE).write_text(text + "\n", encoding="utf-8")


def read_folder(folder: Path, kind: str, of_kind: type[Baseline]) -> tuple[Baseline, dict[str, Path]]:
    """A saved baseline without its models, with settings, classes and depth, and its files by name, each checked.

    Raises `DataError`.
    """
    if not folder.is_dir():
        raise DataError(f"There is no classifier folder {folder}; give the folder that a classifier was saved to.")
    file = member(folder, _TREE, remedy=_REMEDY)
    values = read_object(file, remedy=_REMEDY)
    if values.get("kind") != kind:
        raise DataError(
            f"Classifier {folder} is of kind {shown(values.get('kind'))}, not {kind!r}; give the folder of such a one."
        )
    check_version(values, FORMAT_VERSION, f"Classifier {folder}", remedy=_REMEDY)
    written = checked(_Written, values, where=file, remedy=_REMEDY)
    classifier = of_kind(**saved_settings(of_kind, written.settings, where=file, remedy=_REMEDY))
    _check_settings(classifier, folder)
    cuts = [written.depth] if classifier.target == "paths" else range(1, written.depth + 1)
    if not 0 < written.depth <= _DEEPEST or len(written.labels) != len(cuts):
        raise DataError(
            f"File {file} has {len(written.labels)} lists of classes for {written.depth} levels; {_REMEDY}."
        )
    for cut, classes in zip(cuts, written.labels, strict=True):
        if list(classes) != sorted(set(classes)) or max(map(len, classes), default=0) != cut or () in classes:
            raise DataError(f"The classes of {file} are no distinct paths of at most {cut} names, sorted; {_REMEDY}.")
    files = {name: member(folder, name, remedy=_REMEDY) for name in written.files}
    for name, path in files.items():
        regular_file(path, remedy=_REMEDY)
        if _sha256(path) != written.files[name]:
            raise DataError(f"File {path} was changed after it was saved; {_REMEDY}.")
    check_seal(values, file, remedy=_REMEDY)
    classifier.labels_, classifier.depth_ = written.labels, written.depth
    return classifier, files


def known_file(files: dict[str, Path], name: str, folder: Path) -> Path:
    """A file of a saved baseline; raises `DataError` where its JSON does not name it, with the sum to check it by."""
    if name not in files:
        raise DataError(f"File {folder / _TREE} names no {name}; {_REMEDY}.")
    return files[name]


def _check_settings(classifier: PathBaseline, folder: Path) -> None:
    """Raise `DataError` for a saved setting out of its range."""
    try:
        classifier.check_settings()
    except SettingError as error:
        raise DataError(f"File {folder / _TREE} holds a setting that is none ({one_line(error)}); {_REMEDY}.") from None


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
