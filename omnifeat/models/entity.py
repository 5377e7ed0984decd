"""The pin-and-product encoder: hashed text and continuous features through a three-layer MLP (section 3.4.2).

Shape legend: B entities, T tokens of a batch, W summed width of the continuous features, D embedding width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omnifeat.models.config import EntityConfig
from omnifeat.models.hash_embedding import HashEmbedding
from omnifeat.models.layers import hidden_layers, start_layer

__all__ = ["EntityEncoder", "EntityInputs"]


@dataclass(frozen=True)
class EntityInputs:
    """A batch of entities as tensors.

    Parameters
    ----------
    ids
        Token ids of all entities, one after another: integers `(T,)`.
    offsets
        Where each entity's tokens start, and the end: int64 `(B + 1,)`.
    continuous
        Continuous features side by side, in the order of `EntityConfig.continuous`, zero where missing: float32
        `(B, W)`.
    """

    ids: Tensor
    offsets: Tensor
    continuous: Tensor

    def __len__(self) -> int:
        return int(self.offsets.shape[0]) - 1

    def to(self, device: torch.device | str) -> "EntityInputs":
        """Move to a device."""
        return EntityInputs(
            ids=self.ids.to(device), offsets=self.offsets.to(device), continuous=self.continuous.to(device)
        )


class EntityEncoder(nn.Module):
    """Pins and products -> `(B, dim)` of unit length.

    The sum of all token embeddings is concatenated with the continuous features and goes through three linear layers
    (two hidden ones, each with layer norm and ReLU), is added to what `EntityConfig.residual` names, and is brought to
    unit length. An entity without a single known token and
    without any continuous feature has nothing to be told by: its embedding is the zero vector, whose cosine to every
    query is 0, rather than a unit vector that is the same for all such entities.
    """

    def __init__(self, config: EntityConfig, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.text = HashEmbedding(
            vocabulary,
            config.hash_rows,
            config.text_dim,
            hashes=config.hashes,
            pooling=config.text_pooling,
            seed=config.hash_seed,
        )
        places, first = {"text": slice(0, config.text_dim)}, config.text_dim
        for name, width in config.continuous.items():
            places[name], first = slice(first, first + width), first + width
        residual = places.get(config.residual)
        self._residual = residual  # where the start lies among the features
        self.mlp = hidden_layers(first, config.hidden, dim, dropout=config.dropout, from_zero=residual is not None)
        if residual is not None:
            self.start = start_layer(residual.stop - residual.start, dim)

    def forward(self, inputs: EntityInputs) -> Tensor:
        """Embeddings `(B, dim)`: unit length, or zero where an entity has no token and no continuous feature."""
        text_BD = self.text(inputs.ids, inputs.offsets)
        features = torch.cat([text_BD, inputs.continuous.to(text_BD.dtype)], dim=-1)
        output_BD = self.mlp(features)
        if self._residual is not None:
            output_BD = output_BD + self.start(features[:, self._residual])
        embeddings_BD = nn.functional.normalize(output_BD, dim=-1)
        has_text_B = inputs.offsets[1:] > inputs.offsets[:-1]
        known_B = has_text_B | (inputs.continuous != 0).any(dim=-1)
        return embeddings_BD * known_B.unsqueeze(-1).to(embeddings_BD.dtype)
