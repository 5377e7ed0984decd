"""A model as a folder: LightGBM's own text form of its boosters and `manifest.json`; nothing is pickled.

A model of one booster is `model.txt`, one of several `model-NAME.txt` each. The manifest names the kind of model, and
`load_model` gives back the class that belongs to it.
"""

import hashlib
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnifeat.data.files import replace_when_whole
from omnifeat.data.json_form import json_form
from omnifeat.errors import DataError
from ranking.features import FeatureManifest

if TYPE_CHECKING:
    from ranking.base import LightGBMModel

__all__ = ["FORMAT_VERSION", "MODELS", "load_model", "model_class", "save_model"]

FORMAT_VERSION = 2
_MANIFEST = "manifest.json"

# Kind of a model in its manifest -> where its class is; imported when it is asked for.
MODELS = {
    "lambda-ranker": "ranking.ranker:LambdaRanker",
    "l1": "ranking.l1:L1Ranker",
    "l2": "ranking.l2:L2Ranker",
    "relevance": "ranking.relevance:RelevanceModel",
    "ads-engagement": "ranking.ads:AdsEngagementModel",
    "ads-relevance": "ranking.relevance:AdsRelevanceModel",
}


def model_class(kind: str) -> "type[LightGBMModel]":
    """The class of a kind of model; raises `KeyError` for an unknown one."""
    module, _, name = MODELS[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def save_model(model: "LightGBMModel", path: str | Path) -> None:
    """Write a fitted model; the folder appears when it is whole.

    Raises
    ------
    NotFittedError
        The model has not been fitted.
    OutputError
        The folder cannot be written.
    """
    importances = model.feature_importances_  # refuses a model that is not fitted
    texts = {name: booster.model_to_string(num_iteration=-1) for name, booster in model.boosters_.items()}
    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": model.kind,
        "features": [
            {"name": name, "type": kind, "gain": float(gain)}
            for name, kind, gain in zip(model.manifest_.names, model.manifest_.types, importances, strict=True)
        ],
        "named": model.manifest_.named,
        "encoder_fingerprint": model.encoder_fingerprint_,
        "boosters": {name: {"file": _file(name), "sha256": _sha256(text)} for name, text in texts.items()},
        "settings": model.get_params(deep=False),
        "fitted": {name: getattr(model, name) for name in model._fitted},
    }
    content = json.dumps(manifest, indent=2, ensure_ascii=False, default=json_form) + "\n"
    with replace_when_whole(path) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / _file(name)).write_text(text, encoding="utf-8")
        (folder / _MANIFEST).write_text(content, encoding="utf-8")


def load_model(path: str | Path) -> "LightGBMModel":
    """Read a model of any kind, as `save` wrote it.

    Raises
    ------
    DataError
        A file is missing, is no manifest, is of another format, or a booster was changed after it was saved.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    kind = manifest.get("kind")
    if not isinstance(kind, str) or kind not in MODELS:
        raise DataError(
            f"File {folder / _MANIFEST} names the kind {kind!r}, which is none of {', '.join(MODELS)}; train the model "
            "again."
        )
    try:
        texts = {name: _booster(folder, entry) for name, entry in manifest["boosters"].items()}
        features = FeatureManifest(
            tuple(str(feature["name"]) for feature in manifest["features"]),
            tuple(str(feature["type"]) for feature in manifest["features"]),
            bool(manifest["named"]),
        )
        model = model_class(kind)(**manifest["settings"])
        fitted = {name: manifest["fitted"][name] for name in model._fitted}
        fingerprint = manifest["encoder_fingerprint"]
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"File {folder / _MANIFEST} is not a model's manifest ({error}); train the model again."
        ) from None
    for name, value in fitted.items():
        setattr(model, name, value)
    model._use(texts, features, fingerprint)
    return model


def _file(name: str) -> str:
    return f"model-{name}.txt" if name else "model.txt"


def _booster(folder: Path, entry: dict[str, Any]) -> str:
    """A booster's text; LightGBM may end the process over a damaged one: only what was saved reaches it."""
    name = str(entry["file"])
    if Path(name).name != name:  # a manifest must not lead out of its folder
        raise DataError(f"File {folder / _MANIFEST} names {name!r}, which is no file of it; train the model again.")
    text = _read(folder / name)
    if _sha256(text) != entry["sha256"]:
        raise DataError(f"File {folder / name} was changed after it was saved; train the model again.")
    return text


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise DataError(f"There is no model folder {folder}; give the folder that `omnifeat rank train` wrote.")
    try:
        manifest = json.loads(_read(folder / _MANIFEST))
    except json.JSONDecodeError as error:
        raise DataError(f"File {folder / _MANIFEST} is not JSON ({error}); train the model again.") from None
    if not isinstance(manifest, dict):
        raise DataError(f"File {folder / _MANIFEST} is not a model's manifest; train the model again.")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"Model {folder} is of format version {version!r}, this program reads version {FORMAT_VERSION}; "
            "train the model again, or use the version of omnifeat that wrote it."
        )
    return manifest


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"Model {file.parent} has no file {file.name}; train the model again.") from None
    except UnicodeDecodeError:
        raise DataError(f"File {file} is not UTF-8 text; train the model again.") from None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
