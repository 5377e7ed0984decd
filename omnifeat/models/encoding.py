"""Queries and entities by row number to vectors, each distinct one encoded once.

Shapes: B rows asked for, D width of the vectors.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnifeat.models.backbone import number_format
from omnifeat.models.blocks import joined
from omnifeat.models.entity_features import EntityTable
from omnifeat.models.ngram_query import NgramQueryEncoder
from omnifeat.models.omni import OmniModel
from omnifeat.models.pieces import Pieces
from omnifeat.models.query_table import QueryTable
from omnifeat.models.transformer import TextEncoder

__all__ = [
    "encode_distinct_entities",
    "encode_distinct_queries",
    "encode_queries",
    "encode_text",
    "entity_blocks",
    "query_blocks",
]

Rows = NDArray[np.int64]


def encode_queries(model: OmniModel, table: QueryTable, rows: Rows, device: torch.device) -> Tensor:
    """Learned vectors (B, D) of queries, in the order of the rows."""
    if isinstance(model.query, NgramQueryEncoder):
        bags = table.bags.take(rows)
        ids, offsets = torch.from_numpy(bags.ids).to(device), torch.from_numpy(bags.offsets).to(device)
        vectors: Tensor = model.query(model.entity.text(ids, offsets))
        return vectors
    if table.pooled is not None:
        return model.query.project(table.pooled[torch.from_numpy(rows)].to(device))
    assert table.pieces is not None  # noqa: S101 - made wherever a transformer encodes queries
    return _by_length(model.query, table.pieces, rows, device)


def query_blocks(
    model: OmniModel, table: QueryTable, rows: Rows, device: torch.device, *, only: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Blocks of queries, each (B, its width) of unit length or zero: all of them, or `only` some."""
    wanted = model.config.blocks if only is None else only
    blocks = {}
    if "learned" in wanted:
        blocks["learned"] = encode_queries(model, table, rows, device)
    if model.words is not None and "words" in wanted:
        bags = table.bags.take(rows)
        blocks["words"] = model.words.queries(torch.from_numpy(bags.ids), torch.from_numpy(bags.offsets)).to(device)
    if model.text is not None and "text" in wanted:
        blocks["text"] = _text(model.text, table, rows, device)
    return blocks


def entity_blocks(
    model: OmniModel,
    table: EntityTable,
    rows: Rows,
    device: torch.device,
    exclude_query: Rows | None = None,
    *,
    only: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """Blocks of entities, each (B, its width) of unit length, or zero where an entity has nothing for a block: all of
    them, or `only` some. `exclude_query` is that of `EntityTable.inputs`."""
    wanted = model.config.blocks if only is None else only
    inputs = table.inputs(rows, exclude_query)
    blocks = {}
    if "learned" in wanted:
        blocks["learned"] = model.entity(inputs.to(device))
    if model.words is not None and "words" in wanted:
        blocks["words"] = model.words.entities(inputs.ids, inputs.offsets).to(device)
    if model.text is not None and "text" in wanted:
        blocks["text"] = _text(model.text, table, rows, device)
    return blocks


def encode_text(encoder: TextEncoder, pieces: Pieces, rows: Rows, device: torch.device) -> Tensor:
    """Vectors float32 (B, T) of the block of text; zero where a text has no piece.

    Products are computed in bfloat16 where the processor has it, three times as fast; cosines move by 1e-4.
    """
    has_piece = pieces.lengths(rows) > 0
    quick = number_format("auto", device) == "bfloat16"
    # around all groups: weights are brought to bfloat16 once, and not for each of them
    with torch.autocast(device.type, torch.bfloat16, enabled=quick):
        if has_piece.all():
            return _by_length(encoder, pieces, rows, device).float()
        vectors = torch.zeros(len(rows), encoder.hidden_size, device=device)
        if not has_piece.any():
            return vectors
        found = _by_length(encoder, pieces, rows[has_piece], device)
        return vectors.index_copy(0, torch.from_numpy(np.flatnonzero(has_piece)).to(device), found.float())


def _text(encoder: TextEncoder, table: QueryTable | EntityTable, rows: Rows, device: torch.device) -> Tensor:
    assert table.text is not None  # noqa: S101 - made wherever there is a block of text
    return encode_text(encoder, table.text, rows, device)


def _by_length(encoder: nn.Module, pieces: Pieces, rows: Rows, device: torch.device) -> Tensor:
    groups = pieces.groups(rows)
    vectors = torch.cat([encoder(*(t.to(device) for t in pieces.padded(rows[group]))) for group in groups])
    return vectors.index_select(0, torch.from_numpy(np.argsort(np.concatenate(groups))).to(device))


def encode_distinct_queries(
    model: OmniModel, table: QueryTable, rows: Rows, device: torch.device, blocks: Sequence[str] = ("learned",)
) -> Tensor:
    """Vectors (B, D) of queries, some blocks side by side with equal shares; a row that stands several times is encoded
    once."""
    distinct, inverse = np.unique(rows, return_inverse=True)
    found = query_blocks(model, table, distinct, device, only=blocks)
    vectors = joined([found[name] for name in blocks], [1.0] * len(blocks))
    return vectors.index_select(0, torch.from_numpy(inverse).to(device))


def encode_distinct_entities(
    model: OmniModel,
    table: EntityTable,
    rows: Rows,
    exclude_query: Rows | None,
    device: torch.device,
    blocks: Sequence[str] = ("learned",),
) -> Tensor:
    """Vectors (B, D) of entities, some blocks side by side with equal shares; the same row without the same engaged
    query is encoded once."""
    texts = len(table.engaged_query_texts) + 1
    excluded = np.full(len(rows), -1, np.int64) if exclude_query is None else exclude_query
    keys, inverse = np.unique(rows * texts + excluded + 1, return_inverse=True)
    rows, left_out = keys // texts, None if exclude_query is None else keys % texts - 1
    found = entity_blocks(model, table, rows, device, left_out, only=blocks)
    vectors = joined([found[name] for name in blocks], [1.0] * len(blocks))
    return vectors.index_select(0, torch.from_numpy(inverse).to(device))
