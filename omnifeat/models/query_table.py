"""Queries made ready for the query encoder: tokenised once, and cut by row number.

Shape legend: n queries, H hidden width of the transformer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifeat.models.pieces import Pieces
from omnifeat.models.query import QueryEncoder
from omnifeat.models.query_tokenizer import QueryTokenizer
from omnifeat.text import NgramTokenizer, TokenBags

__all__ = ["QueryTable"]


@dataclass(frozen=True, eq=False)
class QueryTable:
    """n queries.

    Attributes
    ----------
    bags
        Their n-grams.
    pieces
        Their word pieces, where a transformer encodes them; else None.
    pooled
        float32 (n, H), the transformer's pooled output, where the transformer is not trained; else None.
    text
        Their word pieces for the block of text, where there is one; else None.
    """

    bags: TokenBags
    pieces: Pieces | None
    pooled: Tensor | None = None
    text: Pieces | None = None

    @classmethod
    def prepare(
        cls,
        texts: Sequence[str],
        ngrams: NgramTokenizer,
        tokenizer: QueryTokenizer | None,
        text_tokenizer: QueryTokenizer | None = None,
    ) -> "QueryTable":
        """Tokenise the texts; a tokenizer is None where no transformer wants its word pieces."""
        bags = ngrams.encode(pa.array(texts, pa.string()))
        pieces = None if tokenizer is None else Pieces.prepare(texts, tokenizer)
        return cls(bags, pieces, text=None if text_tokenizer is None else Pieces.prepare(texts, text_tokenizer))

    def __len__(self) -> int:
        return len(self.bags)

    def batches(self, size: int) -> list[NDArray[np.int64]]:
        """All rows, `size` at a time, texts of like length together."""
        rows = np.arange(len(self))
        pieces = self.pieces or self.text
        if pieces is not None:
            return pieces.groups(rows, size)
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def with_pooled(self, encoder: QueryEncoder, device: torch.device) -> "QueryTable":
        """The same queries with the transformer's pooled outputs: worth it where the transformer is not trained.

        A transformer without a trained layer gives the same output every time (its dropout is off), so it need run
        once, not once an epoch.
        """
        if self.pieces is None:
            return self
        rows = np.arange(len(self))
        pooled = torch.empty(len(self), encoder.projection.in_features)
        with torch.no_grad():
            for group in self.pieces.groups(rows, 256):
                tensors = (tensor.to(device) for tensor in self.pieces.padded(group))
                pooled[torch.from_numpy(group)] = encoder.pool(*tensors).float().cpu()
        return self.having_pooled(pooled)

    def having_pooled(self, pooled: Tensor) -> "QueryTable":
        """The same queries with pooled outputs that were made before, float32 (n, H)."""
        return replace(self, pooled=pooled)
