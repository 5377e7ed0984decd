"""Queries and entities by row number to vectors, each distinct one encoded once.

Shapes: B rows asked for, L word pieces of the longest query of a group, D width of the vectors, H of the transformer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifeat.models.entity_features import EntityTable
from omnifeat.models.omni import OmniModel
from omnifeat.models.query import QueryEncoder
from omnifeat.models.query_tokenizer import QueryTokenizer

__all__ = ["QueryTable", "encode_distinct_entities", "encode_distinct_queries"]

Rows = NDArray[np.int64]

_TEXTS_AT_ONCE = 8_192
_LEAST_GROUP = 128  # queries; smaller groups of one length would starve the matrix products


@dataclass(frozen=True, eq=False)
class QueryTable:
    """Queries as word pieces, tokenised once.

    Attributes
    ----------
    ids, offsets
        int32 and int64: query i has `ids[offsets[i]:offsets[i + 1]]`.
    padding_id
        What shorter queries of a group are filled up with.
    pooled
        float32 (n, H), the transformer's pooled output, where the transformer is not trained; else None.
    """

    ids: NDArray[np.int32]
    offsets: Rows
    padding_id: int
    pooled: Tensor | None = None

    @classmethod
    def prepare(cls, texts: Sequence[str], tokenizer: QueryTokenizer) -> "QueryTable":
        """Tokenise the texts, with the tokenizer's normalisation, prefix and length limit."""
        pieces, lengths = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            sequences = tokenizer.ids(texts[start : start + _TEXTS_AT_ONCE])
            lengths.append(np.fromiter(map(len, sequences), np.int64, len(sequences)))
            pieces.append(np.fromiter((i for sequence in sequences for i in sequence), np.int32, lengths[-1].sum()))
        return cls(np.concatenate(pieces), np.cumsum(np.concatenate(lengths)), tokenizer.padding_id)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, rows: Rows) -> Rows:
        """Word pieces of each query."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def padded(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """`input_ids` and `attention_mask` of the rows, int64 (B, L)."""
        lengths_B = self.lengths(rows)
        mask_BL = np.arange(lengths_B.max(initial=1)) < lengths_B[:, None]
        input_ids_BL = np.full(mask_BL.shape, self.padding_id, np.int64)
        before_B = np.cumsum(lengths_B) - lengths_B
        within = np.arange(lengths_B.sum()) - np.repeat(before_B, lengths_B)
        input_ids_BL[mask_BL] = self.ids[np.repeat(self.offsets[rows], lengths_B) + within]
        return torch.from_numpy(input_ids_BL), torch.from_numpy(mask_BL.astype(np.int64))

    def with_pooled(self, encoder: QueryEncoder, device: torch.device) -> "QueryTable":
        """The same queries with the transformer's pooled outputs: worth it where the transformer is not trained.

        A transformer without a trained layer gives the same output every time (its dropout is off), so it need run
        once, not once an epoch.
        """
        with torch.no_grad():
            order = np.argsort(self.lengths(np.arange(len(self))), kind="stable")
            pooled = [
                encoder.pool(*(tensor.to(device) for tensor in self.padded(order[start : start + 256]))).float().cpu()
                for start in range(0, len(self), 256)
            ]
        return self.having_pooled(torch.cat(pooled)[torch.from_numpy(np.argsort(order))])

    def having_pooled(self, pooled: Tensor) -> "QueryTable":
        """The same queries with pooled outputs that were made before, float32 (n, H)."""
        return replace(self, pooled=pooled)


def encode_distinct_queries(model: OmniModel, table: QueryTable, rows: Rows, device: torch.device) -> Tensor:
    """Vectors (B, D) of queries; a row that stands several times is encoded once."""
    distinct, inverse = np.unique(rows, return_inverse=True)
    if table.pooled is not None:
        pooled = table.pooled[torch.from_numpy(distinct)].to(device)
        return model.query.project(pooled).index_select(0, torch.from_numpy(inverse).to(device))
    # Queries of similar length together: a group is padded to its longest only.
    order = np.argsort(table.lengths(distinct), kind="stable")
    size = max(_LEAST_GROUP, -(-len(order) // 4))
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    vectors = torch.cat([model.query(*(t.to(device) for t in table.padded(distinct[group]))) for group in groups])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return vectors.index_select(0, torch.from_numpy(place[inverse]).to(device))


def encode_distinct_entities(
    model: OmniModel, table: EntityTable, rows: Rows, exclude_query: Rows | None, device: torch.device
) -> Tensor:
    """Vectors (B, D) of entities; the same row without the same engaged query is encoded once."""
    texts = len(table.engaged_query_texts) + 1
    excluded = np.full(len(rows), -1, np.int64) if exclude_query is None else exclude_query
    keys, inverse = np.unique(rows * texts + excluded + 1, return_inverse=True)
    inputs = table.inputs(keys // texts, None if exclude_query is None else keys % texts - 1).to(device)
    return model.entity(inputs).index_select(0, torch.from_numpy(inverse).to(device))
