"""Folders of Transformers models, which may come from a stranger: checked first, then loaded, and never run.

What is promised: no code of the folder runs (`auto_map` is not followed, weights are safetensors and no pickle),
nothing is fetched on its word (adapters, kernels, backbones, quantisers), its configuration builds nothing larger than
its weights, every weight is there and finite, and whatever the library says against it is one sentence.

A name that is no folder comes from the hub (`omnifeat.hub_files`), and is then a folder like any other.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from omnifeat.data.artefacts import LibraryCall, checked, member, read_object, refuse_lfs_pointer
from omnifeat.errors import EncoderError, OmnifeatError
from omnifeat.hub_files import is_hub_name, snapshot
from omnifeat.transformers_checks import (
    Tensors,
    bounded_by,
    check_finite,
    check_vocabulary,
    config_of,
    quiet_transformers,
    tensors_of,
)

__all__ = ["TransformersFolder", "load_tokenizer", "text_model_class"]

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_WANTED = ("*.json", "*.txt", "*.model", "*.spm", "*.jinja", "model*.safetensors")
_UNWANTED = ("*/*", "*.index.fp16.json", "model.fp16*")
_LARGEST_PICTURE = 4096
_NUMBER = re.compile(r"\d+")
# What tells a folder with a vocabulary; the classes below need none, their pieces are bytes or characters.
_VOCABULARY = re.compile(r"tokenizer\.json|vocab\..*|.*\.model|.*\.spm|.*\.vocab|.*\.tiktoken|tekken\.json")
_WITHOUT_VOCABULARY = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")


@dataclass(frozen=True)
class TransformersFolder:
    """A checked folder of a Transformers model.

    Attributes
    ----------
    name
        What the user wrote.
    path
        The folder.
    values
        Its `config.json`.
    tensors
        What its weight files hold.
    failed, remedy, error
        How a sentence begins ("No query encoder can be loaded from 'x'"), what to do, and its class.
    """

    name: str
    path: Path
    values: dict[str, Any]
    tensors: Tensors
    failed: str
    remedy: str
    error: type[OmnifeatError]

    @classmethod
    def open(
        cls, name: str | Path, *, what: str, failed: str, remedy: str, error: type[OmnifeatError] = EncoderError
    ) -> "TransformersFolder":
        """Find the folder, on the hub if need be, and check what it holds.

        Raises
        ------
        error
            There is no such folder, its configuration is not what it must be, or its weights are missing, a
            pickle, cut, an adapter's or quantised.
        """
        path = Path(name)
        begins = f"{failed} '{name}'"
        if not path.is_dir():
            if path.exists() or not is_hub_name(str(name)):
                raise error(f"{begins}: there is no such folder; {remedy}.")
            path = _fetched(str(name), what, begins, error)
        if not (path / _CONFIG).exists():
            raise error(f"{begins}: it has no file '{_CONFIG}'; {remedy}.")
        values = read_object(member(path, _CONFIG, error=error, remedy=remedy), error=error, remedy=remedy)
        if (path / "adapter_config.json").exists():
            raise error(
                f"{begins}, an adapter to a model that lies elsewhere; merge the two first, and give that folder."
            )
        tensors = _weights(path, begins, error, remedy)
        return cls(str(name), path, values, tensors, begins, remedy, error)

    def _call(self) -> LibraryCall:
        return LibraryCall(self.failed, error=self.error, remedy=self.remedy)

    def config(self) -> Any:
        """The configuration as Transformers has it; raises `error` where it does not fit the weights or the library."""
        config = config_of(self.values, self.tensors, self.failed, error=self.error, remedy=self.remedy)
        config._name_or_path = self.name
        return config

    def model(self, auto: Any, config: Any | None = None) -> Any:
        """The model in float32, in evaluation mode.

        Parameters
        ----------
        auto
            The class that loads it, such as `transformers.AutoModel`.
        config
            Its configuration, if changed.

        Raises
        ------
        error
            The weights do not fit the configuration, some are missing or not finite, or the library refuses them.
        """
        config = self.config() if config is None else config
        with self._call(), quiet_transformers():
            with bounded_by(self.tensors, self.failed, error=self.error, remedy=self.remedy), torch.device("meta"):
                auto.from_config(config, trust_remote_code=False)
            model, report = auto.from_pretrained(
                str(self.path),
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        missing = sorted(name for name in report["missing_keys"] if not re.search(r"(^|\.)pooler\.", name))
        if missing:
            raise self.error(
                f"{self.failed}, which lacks {len(missing)} of its weights, '{missing[0]}' first; give a folder whose "
                "weight file is complete."
            )
        known = {_NUMBER.sub("#", name) for name in model.state_dict()}
        left_out = sorted(name for name in report["unexpected_keys"] if "#" in _NUMBER.sub("#", name))
        left_out = [name for name in left_out if _NUMBER.sub("#", name) in known]
        if left_out:
            raise self.error(
                f"{self.failed}, whose configuration leaves out layers that its weights have, '{left_out[0]}' first; "
                "give the configuration that belongs to the weights."
            )
        check_finite(model, self.failed, error=self.error)
        return model.eval()

    def processor(self, auto: Any) -> Any:
        """What prepares inputs, by a class such as `transformers.AutoProcessor`; raises `error` where there is none."""
        for name in ("preprocessor_config.json", "processor_config.json", "tokenizer_config.json"):
            if (self.path / name).exists():
                values = read_object(member(self.path, name, error=self.error), error=self.error, remedy=self.remedy)
                _check_pictures(values, self.failed, self.error)
        with self._call(), quiet_transformers():
            return auto.from_pretrained(str(self.path), trust_remote_code=False, local_files_only=True)

    def tokenizer(self) -> Any:
        """Its tokenizer; raises `EncoderError` where there is none, or its vocabulary hardly fits the model."""
        config = self.config()
        tokenizer = load_tokenizer(self.path, shown=self.name, config=config)
        rows = getattr(config.get_text_config(), "vocab_size", None)
        if isinstance(rows, int):
            check_vocabulary(tokenizer, rows, self.name)
        return tokenizer


def _check_pictures(values: Any, failed: str, error: type[OmnifeatError], sized: bool = False) -> None:
    """Refuse to scale pictures to sizes that no model has."""
    if isinstance(values, dict):
        for key, value in values.items():
            if key != "longest_edge":  # of some models a number of pixels
                _check_pictures(value, failed, error, sized or key in ("size", "crop_size"))
    elif sized and isinstance(values, int | float) and values > _LARGEST_PICTURE:
        raise error(f"{failed}: it scales pictures to {values} pixels, more than the {_LARGEST_PICTURE} of any model.")


def _fetched(name: str, what: str, begins: str, error: type[OmnifeatError]) -> Path:
    try:
        return snapshot(name, what=what, error=error, wanted=_WANTED, unwanted=_UNWANTED)
    except error as fault:
        reason = str(fault)
        raise error(f"{begins}: {reason[0].lower()}{reason[1:]}") from fault


def _weights(folder: Path, failed: str, error: type[OmnifeatError], remedy: str) -> Tensors:
    if (folder / _WEIGHTS).exists():
        return tensors_of(member(folder, _WEIGHTS, error=error, remedy=remedy), error=error, remedy=remedy)
    if not (folder / _INDEX).exists():
        pickled = next(folder.glob("*.bin"), None) or next(folder.glob("*.h5"), None)
        if pickled is not None:
            raise error(
                f"{failed}: its weights '{pickled.name}' may run code and are not read; load it with Transformers "
                "where you trust it, save it with save_pretrained, which writes safetensors, and give that folder."
            )
        raise error(f"{failed}: the folder has no file '{_WEIGHTS}'; {remedy}.")
    path = member(folder, _INDEX, error=error, remedy=remedy)
    index = read_object(path, error=error, remedy=remedy)
    places = checked(dict[str, str], index.get("weight_map"), where=path, error=error, remedy=remedy)
    tensors: Tensors = {}
    for name in sorted(set(places.values())):
        tensors |= tensors_of(member(folder, name, error=error, remedy=remedy), error=error, remedy=remedy)
    return tensors


def text_model_class(kind: object) -> Any:
    """The class of Transformers that loads a text encoder of a type; of the T5 family, the encoder alone."""
    from transformers import AutoModel, AutoModelForTextEncoding

    return AutoModelForTextEncoding if kind in ("t5", "mt5", "umt5", "t5gemma") else AutoModel


def load_tokenizer(folder: str | Path, *, shown: str | None = None, config: Any | None = None) -> Any:
    """A tokenizer from the files of a folder, none of whose code is run.

    Parameters
    ----------
    shown
        What the user calls the folder.
    config
        The configuration of its model, which may name the class of the tokenizer.

    Raises
    ------
    EncoderError
        There are no tokenizer files, they are not what they must be, or there is no padding token or no vocabulary.
    """
    from transformers import AutoTokenizer

    path, name = Path(folder), str(folder) if shown is None else shown
    failed = f"No tokenizer can be loaded from '{name}'"
    remedy = "give a folder or a hub name that holds Hugging Face tokenizer files"
    settings: dict[str, Any] = {}
    if (path / "tokenizer_config.json").exists():
        place = member(path, "tokenizer_config.json", error=EncoderError, remedy=remedy)
        settings = read_object(place, error=EncoderError, remedy=remedy)
    names = [entry.name for entry in path.iterdir() if _VOCABULARY.fullmatch(entry.name)] if path.is_dir() else []
    if not names and settings.get("tokenizer_class") not in _WITHOUT_VOCABULARY:
        raise EncoderError(f"{failed}: the folder has no vocabulary (tokenizer.json); {remedy}.")
    for entry in names:
        refuse_lfs_pointer(member(path, entry, error=EncoderError, remedy=remedy), error=EncoderError, remedy=remedy)
    with LibraryCall(failed, error=EncoderError, remedy=remedy), quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(
            str(path), config=config, trust_remote_code=False, local_files_only=True
        )
        special = set(tokenizer.all_special_ids)
        known = len(tokenizer) - len(special)
        padding = tokenizer.pad_token_id
        tokenizer(["a b"])
    if padding is None or known < 1:
        raise EncoderError(
            f"The tokenizer of '{name}' has no padding token or no vocabulary; give an encoder with its own tokenizer "
            "files (tokenizer.json)."
        )
    return tokenizer
