"""A model as a folder: LightGBM's own text form of its boosters and `manifest.json`; nothing is pickled.

A model of one booster is `model.txt`, one of several `model-NAME.txt` each. The manifest names the kind of model, and
`load_model` gives back the class that belongs to it.
"""

import hashlib
import importlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, create_model

from omnifeat.data.artefacts import LibraryCall, check_version, checked, member, read_bytes, read_object, shown
from omnifeat.data.files import replace_when_whole
from omnifeat.data.locations import one_line
from omnifeat.data.saved_settings import saved_settings
from omnifeat.data.seals import check_seal, sealed
from omnifeat.errors import DataError, SettingError
from ranking.features import FeatureManifest
from ranking.model_text import Booster, check_model_text

if TYPE_CHECKING:
    from ranking.base import LightGBMModel

__all__ = ["FORMAT_VERSION", "MODELS", "load_model", "model_class", "save_model"]

FORMAT_VERSION = 2
_MANIFEST = "manifest.json"
_REMEDY = "train the model again"
_LARGEST_TEXT = 2**31  # bytes; LightGBM counts a model's in as many

# Kind of a model in its manifest -> where its class is; imported when it is asked for.
MODELS = {
    "lambda-ranker": "ranking.ranker:LambdaRanker",
    "l1": "ranking.l1:L1Ranker",
    "l2": "ranking.l2:L2Ranker",
    "relevance": "ranking.relevance:RelevanceModel",
    "ads-engagement": "ranking.ads:AdsEngagementModel",
    "ads-relevance": "ranking.relevance:AdsRelevanceModel",
}


class _Feature(BaseModel):
    name: str
    type: Literal["float32", "float64", "integer", "boolean"]
    gain: float


class _BoosterFile(BaseModel):
    file: str
    sha256: str


class _Manifest(BaseModel):
    """A model's `manifest.json`; what `settings` and `fitted` hold is its class's to say."""

    kind: str
    features: list[_Feature]
    named: bool
    encoder_fingerprint: str | None
    boosters: dict[str, _BoosterFile]
    settings: dict[str, Any]
    fitted: dict[str, Any]
    tables: dict[str, str] = {}  # folders of before have none


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
        "tables": model.tables_,
    }
    content = json.dumps(sealed(manifest), indent=2, ensure_ascii=False) + "\n"
    with replace_when_whole(path) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / _file(name)).write_text(text, encoding="utf-8")
        (folder / _MANIFEST).write_text(content, encoding="utf-8")


def load_model(path: str | Path) -> "LightGBMModel":
    """Read a model of any kind, as `save` wrote it; what it holds is checked before LightGBM reads any of it.

    Raises
    ------
    DataError
        A file is missing, is no manifest, is of another format, or was changed after it was saved, or a booster is
        none that LightGBM wrote.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"There is no model folder {folder}; give the folder that `omnifeat rank train` wrote.")
    file = member(folder, _MANIFEST, remedy=_REMEDY)
    values = read_object(file, remedy=_REMEDY)
    check_version(values, FORMAT_VERSION, f"Model {folder}", remedy=_REMEDY)
    manifest = checked(_Manifest, values, where=file, remedy=_REMEDY)
    if manifest.kind not in MODELS:
        raise DataError(
            f"File {file} names the kind {shown(manifest.kind)}, which is none of {', '.join(MODELS)}; train the model "
            "again."
        )
    of_kind: Any = model_class(manifest.kind)
    model: LightGBMModel = of_kind(**saved_settings(of_kind, manifest.settings, where=file, remedy=_REMEDY))
    fitted = checked(_fitted_type(of_kind), manifest.fitted, where=f"{file}, fitted", remedy=_REMEDY)
    for name in of_kind._fitted:
        setattr(model, name, getattr(fitted, name))
    features = FeatureManifest(
        tuple(feature.name for feature in manifest.features),
        tuple(feature.type for feature in manifest.features),
        manifest.named,
    )
    texts = {name: _booster(folder, entry) for name, entry in manifest.boosters.items()}
    _check_fits(model, features, texts, folder)
    check_seal(values, file, remedy=_REMEDY)
    with LibraryCall(f"LightGBM cannot read the model in {folder}", remedy=_REMEDY):
        model._use({name: text for name, (text, _) in texts.items()}, features, manifest.encoder_fingerprint)
    model.tables_ = manifest.tables
    return model


@lru_cache
def _fitted_type(of_kind: "type[LightGBMModel]") -> type[BaseModel]:
    fields: dict[str, Any] = {name: (kind, ...) for name, kind in of_kind._fitted.items()}
    return create_model(f"FittedOf{of_kind.__name__}", **fields)


def _check_fits(
    model: "LightGBMModel", features: FeatureManifest, boosters: dict[str, tuple[str, Booster]], folder: Path
) -> None:
    """Whether the boosters are those of the settings, of what `fit` found and of the features."""
    if not features.names or len(set(features.names)) != len(features.names):
        raise DataError(f"File {folder / _MANIFEST} names no features, or one twice; {_REMEDY}.")
    try:
        wanted = model._outputs()
    except (SettingError, ValueError) as error:
        raise DataError(f"File {folder / _MANIFEST} does not fit together ({one_line(error)}); {_REMEDY}.") from None
    if wanted.keys() != boosters.keys():
        names = ", ".join(_file(name) for name in wanted)
        raise DataError(
            f"Model {folder} must have the boosters {names or 'of its actions'}, and has others; {_REMEDY}."
        )
    width = model._booster_features(features)
    for name, (_, booster) in boosters.items():
        if (booster.features, booster.outputs) != (width, wanted[name]):
            raise DataError(
                f"File {folder / _file(name)} takes {booster.features} features for {booster.outputs} numbers a row, "
                f"where {folder / _MANIFEST} has {width} for {wanted[name]}; {_REMEDY}."
            )


def _file(name: str) -> str:
    return f"model-{quote(name, safe='')}.txt" if name else "model.txt"  # an action may be of any letters


def _booster(folder: Path, entry: "_BoosterFile") -> tuple[str, Booster]:
    """A booster's text and what it holds; LightGBM may end the process over a damaged one."""
    file = member(folder, entry.file, remedy=_REMEDY)
    content = read_bytes(file, limit=_LARGEST_TEXT, remedy=_REMEDY)
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise DataError(f"File {file} was changed after it was saved; {_REMEDY}.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"File {file} is not UTF-8 text; {_REMEDY}.") from None
    return text, check_model_text(text, file)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
