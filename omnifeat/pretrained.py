"""Sentence vectors of a Transformers model that is not one of ours: off the shelf, or fine-tuned for interests.

Shapes: n texts, L tokens, H hidden units, D dimensions.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from omnifeat.data.artefacts import LibraryCall
from omnifeat.data.text_lists import refuse_tables, text_list
from omnifeat.errors import SettingError
from omnifeat.models.backbone import pool_tokens, without_provenance
from omnifeat.models.encoder_folder import fingerprint_of
from omnifeat.transformers_checks import check_text_model
from omnifeat.transformers_files import TransformersFolder, text_model_class

__all__ = ["DTYPES", "POOLINGS", "PretrainedEncoder", "load_transformer"]

POOLINGS = ("mean", "cls")
DTYPES = ("float32", "bfloat16")
_MAX_LENGTH = 128  # word pieces, where a model reads as many


@dataclass(frozen=True)
class PretrainedEncoder:
    """A Hugging Face encoder with its pooling and the prefix that it was trained with.

    Attributes
    ----------
    model, tokenizer
        As Transformers loads them.
    pooling
        `mean` of the last layer over the tokens, or its first token (`cls`).
    prefix
        Put before every text, as in "query: ".
    max_length
        Word pieces that are kept of a text, prefix and special ones included.
    dtype
        Numbers in which the model's products are computed; weights and vectors are float32 in any case.
    """

    model: Any
    tokenizer: Any
    pooling: str = "mean"
    prefix: str = ""
    max_length: int = _MAX_LENGTH
    dtype: str = "float32"

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path,
        *,
        pooling: str = "mean",
        prefix: str = "",
        max_length: int | None = None,
        dtype: str = "float32",
        device: torch.device | None = None,
        threads: int | None = None,
    ) -> "PretrainedEncoder":
        """Load by folder or hub name; `threads` are torch's, all cores if null.

        Parameters
        ----------
        max_length
            Word pieces that are kept of a text; 128 if null, or as many as the model reads, where that is less.
        device
            Where the model runs; the CPU if null.

        Raises
        ------
        EncoderError
            If it cannot be loaded.
        SettingError
            If the pooling or the number format is unknown, or `max_length` is more than the model reads or leaves no
            room for a text after the prefix.
        """
        if pooling not in POOLINGS:
            raise SettingError(f"there is no pooling '{pooling}'; choose one of {', '.join(POOLINGS)}")
        if dtype not in DTYPES:
            raise SettingError(f"there is no number format '{dtype}'; choose one of {', '.join(DTYPES)}")
        model, tokenizer = load_transformer(name_or_folder)
        if threads is not None:
            torch.set_num_threads(threads)
        length = _kept_pieces(model, tokenizer, name_or_folder, max_length, prefix)
        return cls(model.eval().to(device or torch.device("cpu")), tokenizer, pooling, prefix, length, dtype)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.model.config.hidden_size)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over weights, configuration, tokenizer, pooling, prefix, length and number format."""
        settings = {"pooling": self.pooling, "prefix": self.prefix, "max_length": self.max_length}
        # float32 is not said, so that fingerprints from before there was a choice stay what they were
        return self._digest(settings if self.dtype == "float32" else {**settings, "dtype": self.dtype})

    @cached_property
    def model_digest(self) -> str:
        """SHA-256 in hex over weights, configuration and tokenizer alone: which model it is, however it is used."""
        return self._digest({})

    def _digest(self, settings: dict[str, Any]) -> str:
        settings = {"config": without_provenance(self.model.config.to_diff_dict()), **settings}
        return fingerprint_of(self.model.state_dict(), settings, {"tokenizer": _tokenizer_bytes(self.tokenizer)})

    def encode_queries(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """Unit vectors float32 (n, D) of queries; raises `DataError` at one that is null, empty or no text."""
        return self.encode(text_list(texts))

    @torch.inference_mode()
    def encode(
        self, texts: Sequence[str], batch_size: int = 128, on_batch: Callable[[int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Unit vectors float32 (n, D); each distinct text is encoded once, in batches of similar lengths.

        Raises
        ------
        DataError
            The texts are a table, a mapping, a set or a single text.
        """
        refuse_tables(texts, "texts")
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        vectors = np.empty((len(distinct), self.dim), dtype=np.float32)
        device = self.model.device
        # around all batches: weights are brought to bfloat16 once, and not for each of them
        with torch.autocast(device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            for start in range(0, len(distinct), batch_size):
                batch = [self.prefix + text for text in distinct[start : start + batch_size]]
                inputs = self.tokenizer(
                    batch, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
                )
                mask_nL = inputs["attention_mask"].to(device)
                states_nLH = self.model(input_ids=inputs["input_ids"].to(device), attention_mask=mask_nL)
                pooled_nH = pool_tokens(states_nLH.last_hidden_state.float(), mask_nL, self.pooling)
                unit = torch.nn.functional.normalize(pooled_nH, dim=-1)
                vectors[start : start + len(batch)] = unit.cpu().numpy()
                if on_batch is not None:
                    on_batch(len(batch))
        place = {text: row for row, text in enumerate(distinct)}
        return vectors[[place[text] for text in texts]]


def load_transformer(name_or_folder: str | Path) -> tuple[Any, Any]:
    """Model (float32) and tokenizer, by folder or hub name; raises `EncoderError` if they cannot be loaded."""
    folder = TransformersFolder.open(
        name_or_folder,
        what="pretrained encoder",
        failed="No pretrained encoder can be loaded from",
        remedy="give a folder with config.json, weights and tokenizer, or the name of a model on the hub",
    )
    tokenizer = folder.tokenizer()
    model = folder.model(text_model_class(folder.values["model_type"]))
    check_text_model(model, folder.failed)
    return model, tokenizer


def _kept_pieces(model: Any, tokenizer: Any, name: str | Path, wanted: int | None, prefix: str) -> int:
    """Word pieces that are kept of a text; a model is tried on as many as were asked for, before a long text comes."""
    most = _places(model)
    length = min(_MAX_LENGTH, most or _MAX_LENGTH) if wanted is None else wanted
    begun = len(tokenizer(prefix)["input_ids"])  # special pieces are among them
    if length <= begun:
        raise SettingError(
            f"The most word pieces of a text are {length}, of which prefix and special ones take {begun}, so that "
            "nothing of the text is left: give a larger number, or a shorter prefix."
        )
    remedy = "give a smaller number"
    failed = f"The model '{name}' does not read {length} word pieces at once"
    if most is not None and length > most:
        raise SettingError(f"{failed}, but at most {most}: {remedy}.")
    if wanted is not None:
        with LibraryCall(failed, error=SettingError, remedy=remedy), torch.inference_mode():
            ids = torch.zeros((1, length), dtype=torch.long)
            model(input_ids=ids, attention_mask=ids + 1)
    return length


def _places(model: Any) -> int | None:
    """Word pieces that a model has positions for; None where it does not say."""
    for name, module in model.named_modules():
        # RoBERTa and its kin count positions from the one after that of padding
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.num_embeddings) - int(module.padding_idx) - 1
    places = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return places if isinstance(places, int) and places > 0 else None


def _tokenizer_bytes(tokenizer: Any) -> bytes:
    """What a tokenizer does, but for padding and truncation, which each call sets anew."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # a tokenizer written in Python
        return json.dumps([type(tokenizer).__name__, tokenizer.get_vocab()], sort_keys=True).encode()
    found = json.loads(backend.to_str())
    return json.dumps({key: found[key] for key in found.keys() - {"padding", "truncation"}}, sort_keys=True).encode()
