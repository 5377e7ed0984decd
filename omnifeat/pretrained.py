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

from omnifeat.data.text_lists import refuse_tables, text_list
from omnifeat.errors import SettingError
from omnifeat.models.backbone import pool_tokens, without_provenance
from omnifeat.models.encoder_folder import fingerprint_of
from omnifeat.transformers_checks import check_text_model
from omnifeat.transformers_files import TransformersFolder, text_model_class

__all__ = ["POOLINGS", "PretrainedEncoder", "load_transformer"]

POOLINGS = ("mean", "cls")


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
        Word pieces that are kept of a text.
    """

    model: Any
    tokenizer: Any
    pooling: str = "mean"
    prefix: str = ""
    max_length: int = 128

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path,
        *,
        pooling: str = "mean",
        prefix: str = "",
        max_length: int = 128,
        threads: int | None = None,
    ) -> "PretrainedEncoder":
        """Load by folder or hub name; `threads` are torch's, all cores if null.

        Raises
        ------
        EncoderError
            If it cannot be loaded.
        SettingError
            If the pooling is unknown.
        """
        if pooling not in POOLINGS:
            raise SettingError(f"there is no pooling '{pooling}'; choose one of {', '.join(POOLINGS)}")
        model, tokenizer = load_transformer(name_or_folder)
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(model.eval(), tokenizer, pooling, prefix, max_length)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.model.config.hidden_size)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hex over weights, configuration, tokenizer, pooling, prefix and length."""
        settings = {
            "config": without_provenance(self.model.config.to_diff_dict()),
            "pooling": self.pooling,
            "prefix": self.prefix,
            "max_length": self.max_length,
        }
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
        for start in range(0, len(distinct), batch_size):
            batch = [self.prefix + text for text in distinct[start : start + batch_size]]
            inputs = self.tokenizer(
                batch, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
            )
            states_nLH = self.model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).last_hidden_state
            pooled_nH = pool_tokens(states_nLH, inputs["attention_mask"], self.pooling)
            unit = torch.nn.functional.normalize(pooled_nH, dim=-1)
            vectors[start : start + len(batch)] = unit.numpy()
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


def _tokenizer_bytes(tokenizer: Any) -> bytes:
    """What a tokenizer does, but for padding and truncation, which each call sets anew."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # a tokenizer written in Python
        return json.dumps([type(tokenizer).__name__, tokenizer.get_vocab()], sort_keys=True).encode()
    found = json.loads(backend.to_str())
    return json.dumps({key: found[key] for key in found.keys() - {"padding", "truncation"}}, sort_keys=True).encode()
