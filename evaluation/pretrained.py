"""Sentence vectors of an encoder that was not trained here: the untrained baseline.

Shapes: n texts, L tokens, H hidden units, D dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from omnifeat.errors import EncoderError, SettingError

__all__ = ["POOLINGS", "PretrainedEncoder"]

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
        name_or_folder: str,
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
        from transformers import AutoModel, AutoTokenizer

        if pooling not in POOLINGS:
            raise SettingError(f"there is no pooling '{pooling}'; choose one of {', '.join(POOLINGS)}")
        try:
            tokenizer = AutoTokenizer.from_pretrained(name_or_folder)
            model = AutoModel.from_pretrained(name_or_folder, dtype=torch.float32)
        except (OSError, ValueError, KeyError) as error:
            raise EncoderError(
                f"cannot load a pretrained encoder from '{name_or_folder}' ({_first_line(error)}); give a folder with "
                "config.json, weights and tokenizer, or the name of a model on the hub"
            ) from error
        if threads is not None:
            torch.set_num_threads(threads)
        return cls(model.eval(), tokenizer, pooling, prefix, max_length)

    @torch.inference_mode()
    def encode(
        self, texts: Sequence[str], batch_size: int = 128, on_batch: Callable[[int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Unit vectors float32 (n, D); each distinct text is encoded once, in batches of similar lengths."""
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        width = int(self.model.config.hidden_size)
        vectors = np.empty((len(distinct), width), dtype=np.float32)
        for start in range(0, len(distinct), batch_size):
            batch = [self.prefix + text for text in distinct[start : start + batch_size]]
            inputs = self.tokenizer(
                batch, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
            )
            states_nLH = self.model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).last_hidden_state
            if self.pooling == "cls":
                pooled_nH = states_nLH[:, 0]
            else:
                mask_nL1 = inputs["attention_mask"].unsqueeze(-1).to(states_nLH.dtype)
                pooled_nH = (states_nLH * mask_nL1).sum(1) / mask_nL1.sum(1).clamp(min=1)
            unit = torch.nn.functional.normalize(pooled_nH, dim=-1)
            vectors[start : start + len(batch)] = unit.numpy()
            if on_batch is not None:
                on_batch(len(batch))
        place = {text: row for row, text in enumerate(distinct)}
        return vectors[[place[text] for text in texts]]


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
