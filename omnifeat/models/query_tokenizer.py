"""Query text -> word-piece ids, with the tokenizer that belongs to the query encoder.

Shape legend: B queries, L word pieces of the longest query in a batch.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from omnifeat.transformers_files import TransformersFolder, load_tokenizer

__all__ = ["QueryTokenizer", "normalise_query", "pad_batch"]


def normalise_query(text: str) -> str:
    """Trimmed text in NFKC, each run of white space one blank. Letter case is left to the tokenizer."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def pad_batch(sequences: Sequence[Sequence[int]], padding_id: int) -> dict[str, Tensor]:
    """Id sequences as `input_ids` and `attention_mask`, int64 `(B, L)`, padded on the right to the longest."""
    longest = max((len(sequence) for sequence in sequences), default=0)
    input_ids_BL = torch.full((len(sequences), longest), padding_id, dtype=torch.long)
    attention_mask_BL = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        input_ids_BL[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        attention_mask_BL[row, : len(sequence)] = 1
    return {"input_ids": input_ids_BL, "attention_mask": attention_mask_BL}


class QueryTokenizer:
    """A Hugging Face tokenizer with the query's normalisation, prefix and length limit.

    Parameters
    ----------
    tokenizer
        Any tokenizer of `transformers`.
    max_length
        Word pieces kept, special tokens included.
    prefix
        Text put before every query, after normalisation.
    """

    def __init__(self, tokenizer: Any, *, max_length: int, prefix: str = "") -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.prefix = prefix

    @classmethod
    def pretrained(cls, name: str, *, max_length: int, prefix: str = "") -> Self:
        """The tokenizer of a pretrained encoder, a folder or a hub name.

        Raises
        ------
        EncoderError
            It cannot be loaded, or its vocabulary hardly fits the model.
        """
        folder = TransformersFolder.open(
            name,
            what="query encoder",
            failed="No tokenizer can be loaded from",
            remedy="give a folder or a hub name that holds a Hugging Face encoder with its tokenizer files",
        )
        return cls(folder.tokenizer(), max_length=max_length, prefix=prefix)

    @classmethod
    def load(cls, folder: str | Path, *, max_length: int, prefix: str = "") -> Self:
        """A tokenizer from its Hugging Face files.

        Raises
        ------
        EncoderError
            The files are missing or cannot be read, or have no padding token or no vocabulary.
        """
        return cls(load_tokenizer(folder), max_length=max_length, prefix=prefix)

    def with_prefix(self, prefix: str) -> "QueryTokenizer":
        """The same tokenizer, with another text put before each."""
        return QueryTokenizer(self.tokenizer, max_length=self.max_length, prefix=prefix)

    @property
    def vocabulary(self) -> int:
        """Number of word-piece ids."""
        return len(self.tokenizer)

    @property
    def padding_id(self) -> int:
        """Id that pads short queries."""
        return int(self.tokenizer.pad_token_id)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Word-piece ids of each text, special tokens included, cut at `max_length`."""
        if len(texts) == 0:
            return []
        prepared = [self.prefix + normalise_query(text) for text in texts]
        encoded = self.tokenizer(
            prepared,
            truncation=True,
            max_length=self.max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        sequences: list[list[int]] = encoded["input_ids"]
        return sequences

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """One batch: `input_ids` and `attention_mask`, int64 `(B, L)`."""
        return pad_batch(self.ids(texts), self.padding_id)

    def save(self, folder: str | Path) -> None:
        """Write the files as Hugging Face lays them out; the folder is made if missing."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(str(folder))
