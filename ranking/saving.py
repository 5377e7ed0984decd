"""A ranker as a folder: `model.txt` (LightGBM's own text form) and `manifest.json`; nothing is pickled."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnifeat.data.files import replace_when_whole
from omnifeat.errors import DataError
from ranking.features import FeatureManifest

if TYPE_CHECKING:
    from ranking.ranker import LambdaRanker

__all__ = ["FORMAT_VERSION", "load_ranker", "save_ranker"]

FORMAT_VERSION = 1
_MODEL, _MANIFEST = "model.txt", "manifest.json"


def save_ranker(ranker: "LambdaRanker", path: str | Path) -> None:
    """Write a fitted ranker; the folder appears when it is whole.

    Raises
    ------
    NotFittedError
        The ranker has not been fitted.
    OutputError
        The folder cannot be written.
    """
    importances = ranker.feature_importances_  # refuses a ranker that is not fitted
    model = ranker.booster_.model_to_string(num_iteration=-1)
    settings = ranker.get_params()
    settings["label_gain"] = (
        None if settings["label_gain"] is None else [float(gain) for gain in settings["label_gain"]]
    )
    settings["lightgbm_parameters"] = dict(settings["lightgbm_parameters"]) if settings["lightgbm_parameters"] else None
    manifest = {
        "format_version": FORMAT_VERSION,
        "features": [
            {"name": name, "type": kind, "gain": float(gain)}
            for name, kind, gain in zip(ranker.manifest_.names, ranker.manifest_.types, importances, strict=True)
        ],
        "named": ranker.manifest_.named,
        "encoder_fingerprint": ranker.encoder_fingerprint_,
        "model_sha256": _sha256(model),
        "settings": settings,
        "best_score": ranker.best_score_,
        "queries": ranker.queries_,
        "queries_without_positive": ranker.queries_without_positive_,
        "eval_queries_without_positive": ranker.eval_queries_without_positive_,
    }
    with replace_when_whole(path) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MODEL).write_text(model, encoding="utf-8")
        (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_ranker(path: str | Path) -> "LambdaRanker":
    """Read a ranker written by `save_ranker`.

    Raises
    ------
    DataError
        A file is missing, is no manifest, is of a later format, or the model was changed after it was saved.
    """
    from ranking.ranker import LambdaRanker

    folder = Path(path)
    manifest = _read_manifest(folder)
    model = _read(folder / _MODEL)
    # LightGBM may end the process over a damaged model: only what was saved reaches it.
    if _sha256(model) != manifest.get("model_sha256"):
        raise DataError(f"File {folder / _MODEL} was changed after it was saved; train the ranker again.")
    try:
        ranker = LambdaRanker(**manifest["settings"])
        features = FeatureManifest(
            tuple(str(feature["name"]) for feature in manifest["features"]),
            tuple(str(feature["type"]) for feature in manifest["features"]),
            bool(manifest["named"]),
        )
        ranker._use(model, features, manifest["encoder_fingerprint"])
        ranker.best_score_ = manifest["best_score"]
        ranker.queries_ = manifest["queries"]
        ranker.queries_without_positive_ = manifest["queries_without_positive"]
        ranker.eval_queries_without_positive_ = manifest["eval_queries_without_positive"]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"File {folder / _MANIFEST} is not a ranker's manifest ({error}); train the ranker again."
        ) from None
    return ranker


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise DataError(f"There is no ranker folder {folder}; give the folder that `omnifeat rank train` wrote.")
    try:
        manifest = json.loads(_read(folder / _MANIFEST))
    except json.JSONDecodeError as error:
        raise DataError(f"File {folder / _MANIFEST} is not JSON ({error}); train the ranker again.") from None
    if not isinstance(manifest, dict):
        raise DataError(f"File {folder / _MANIFEST} is not a ranker's manifest; train the ranker again.")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"Ranker {folder} is of format version {version!r}, this program reads version {FORMAT_VERSION}; "
            "train the ranker again, or use the version of omnifeat that wrote it."
        )
    return manifest


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"Ranker {file.parent} has no file {file.name}; train the ranker again.") from None
    except UnicodeDecodeError:
        raise DataError(f"File {file} is not UTF-8 text; train the ranker again.") from None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
