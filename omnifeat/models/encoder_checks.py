"""What an encoder's folder must hold before anything is built from it: names, settings and sizes.

The folder may come from a stranger, who can also make its check sums right: they tell damage, and no intent.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field
from torch import nn

from omnifeat.data.artefacts import checked, member
from omnifeat.errors import EncoderError, SettingError
from omnifeat.models.config import NGRAMS, EncoderConfig
from omnifeat.transformers_checks import Tensors

__all__ = ["ENCODER_REMEDY", "check_file", "check_fit", "check_names", "check_sizes", "encoder_config"]

ENCODER_REMEDY = "fetch the encoder again"
# All that stands in `files`. A tokenizer's files differ by its kind; it has no code and no configuration of a model.
_NAMES = re.compile(
    r"model\.safetensors|training_record\.safetensors|ngrams/ngrams\.(json|safetensors)"
    r"|(query|text)_tokenizer/(?!config\.json$)[^/.][^/]*\.(json|txt|model|spm|jinja|vocab|bpe|tiktoken)"
)
_FOLDERS = ("query_tokenizer", "text_tokenizer", "ngrams")
_NEEDED_FOLDERS = ("ngrams",)
_NEEDED = ("model.safetensors", "ngrams/ngrams.json", "ngrams/ngrams.safetensors")
_Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class _Settings(BaseModel):
    encoder: dict[str, Any]
    query_backbone: dict[str, Any]
    text_backbone: dict[str, Any] = {}
    ngram_ids: int = Field(ge=0, lt=2**31)


class _EncoderFile(BaseModel):
    """What `config.json` must hold."""

    format_version: int
    fingerprint: _Sha256
    settings: _Settings
    files: dict[str, _Sha256]
    training: dict[str, Any]
    metrics: dict[str, Any]


def check_names(folder: Path, names: Iterable[str]) -> None:
    """Refuse names that no encoder has, that lead out of the folder, and tokenizer files that are not listed.

    Raises
    ------
    EncoderError
        The name, and what is wrong with it.
    """
    listed = set(names)
    for name in sorted(listed):
        member(folder, name, error=EncoderError, remedy=ENCODER_REMEDY)
        if _NAMES.fullmatch(name) is None:
            raise EncoderError(
                f"The encoder '{folder}' lists the file '{name}', which no encoder has; {ENCODER_REMEDY}."
            )
    for name in _NEEDED:
        if name not in listed:
            raise EncoderError(f"The encoder '{folder}' lists no file '{name}'; {ENCODER_REMEDY}.")
    for part in _FOLDERS:
        if part not in _NEEDED_FOLDERS and not (folder / part).is_symlink() and not (folder / part).exists():
            continue  # an encoder without that transformer
        place = member(folder, part, error=EncoderError, remedy=ENCODER_REMEDY)
        if not place.is_dir():
            raise EncoderError(f"The encoder '{folder}' lacks the folder '{part}'; {ENCODER_REMEDY}.")
        for entry in sorted(place.iterdir()):
            # what is not listed has no check sum and no part in the fingerprint, and would be read all the same
            if f"{part}/{entry.name}" not in listed and not entry.name.startswith("."):
                raise EncoderError(
                    f"The encoder '{folder}' has the file '{part}/{entry.name}', which its config.json does not list; "
                    f"remove it, or {ENCODER_REMEDY}."
                )


def encoder_config(settings: Mapping[str, Any], where: Path) -> EncoderConfig:
    """Settings of an encoder from a file; raises `EncoderError` where one is not what it must be."""
    try:
        return EncoderConfig.from_dict(settings["encoder"])
    except SettingError as error:
        raise EncoderError(f"'{where}' does not hold the settings of an encoder: {error}") from error


def check_sizes(settings: Mapping[str, Any], config: EncoderConfig, tensors: Tensors, where: Path) -> None:
    """Refuse sizes that the weights don't have, of all that is allocated before the weights are loaded.

    Raises
    ------
    EncoderError
        The tensor whose shape differs, and both shapes.
    """
    entity, vocabulary = config.entity, int(settings["ngram_ids"])
    wanted: dict[str, tuple[int, ...]] = {
        "entity.text.table": (entity.hash_rows, entity.text_dim),
        "entity.text.importance": (vocabulary, entity.hashes),
        "log_temperature": (),
        **{f"compatibility.{name}.matrix": (config.dim, width) for name, width in config.compatibility_widths.items()},
    }
    width = entity.text_dim + entity.continuous_width
    each = 3 + (entity.dropout > 0)  # linear, norm, ReLU, and dropout where there is some
    if len(entity.hidden) > len(tensors):
        raise _unfit("entity.hidden", where, f"{len(entity.hidden)} layers", "fewer")
    for row, hidden in enumerate((*entity.hidden, config.dim)):
        wanted[f"entity.mlp.{each * row}.weight"] = (hidden, width)
        width = hidden
    _check_shapes(wanted, tensors, where)
    if config.words.width:
        _check_shapes({"words.weights": (vocabulary,), "words.average_length": (), "words.longest": ()}, tensors, where)
    if config.query.model == NGRAMS:
        wanted = {"query.mlp.0.weight": (config.query.hidden, entity.text_dim)}
        _check_shapes(wanted, tensors, where)
        return
    projection = tensors.get("query.projection.weight", ("", ()))[1]
    if len(projection) != 2 or projection[0] != config.dim:
        raise _unfit("query.projection.weight", where, f"{config.dim} rows", str(list(projection)))


def _check_shapes(wanted: Mapping[str, tuple[int, ...]], tensors: Tensors, where: Path) -> None:
    for name, shape in wanted.items():
        found = tensors.get(name)
        if found is None or found[1] != shape:
            raise _unfit(name, where, str(list(shape)), "nothing" if found is None else str(list(found[1])))


def check_fit(model: nn.Module, tensors: Tensors, where: Path) -> None:
    """Refuse weights that are not just the model's, in name, shape and float32.

    Raises
    ------
    EncoderError
        The first tensor that is missing, too many or different.
    """
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(wanted.keys() ^ tensors.keys()):
        told = ("a tensor", "nothing") if name in wanted else ("nothing", "a tensor")
        raise _unfit(name, where, *told)
    for name, shape in wanted.items():
        if tensors[name] != ("F32", shape):
            raise _unfit(name, where, f"F32 {list(shape)}", f"{tensors[name][0]} {list(tensors[name][1])}")


def check_file(values: dict[str, Any], where: Path) -> None:
    """Check the types of all that is read of an encoder's `config.json`; raises `EncoderError`."""
    checked(_EncoderFile, values, where=where, error=EncoderError, remedy=ENCODER_REMEDY)


def _unfit(name: str, where: Path, wanted: str, found: str) -> EncoderError:
    return EncoderError(
        f"The weights '{where}' do not fit the settings of the encoder: these want {wanted} at "
        f"'{name[:80]}', and there is {found[:80]}; {ENCODER_REMEDY}."
    )
