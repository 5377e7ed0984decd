"""The query encoder of n-grams: the query's tokens in the entity encoder's own table (beside section 3.4.1).

A transformer from scratch has to learn which words a query and an entity share. Here both sides look the same tokens up
in the same table, so that texts that share words are near each other before the first step.

Shape legend: B queries, S width of the tokens' table, D embedding width.
"""

from torch import Tensor, nn

from omnifeat.models.config import QueryConfig
from omnifeat.models.layers import hidden_layers, start_layer

__all__ = ["NgramQueryEncoder"]


class NgramQueryEncoder(nn.Module):
    """Sums of token embeddings `(B, S)` -> `(B, dim)` of unit length; a query without a known token is zero.

    The sums are made by `EntityEncoder.text`, which both sides share; what is learned here is one hidden layer, whose
    output is added to the sum.
    """

    def __init__(self, config: QueryConfig, text_dim: int, dim: int) -> None:
        super().__init__()
        dropout = config.dropout or 0.0
        self.mlp = hidden_layers(text_dim, (config.hidden,), dim, dropout=dropout, from_zero=True)
        self.start = start_layer(text_dim, dim)

    def forward(self, sums_BS: Tensor) -> Tensor:
        """Embeddings `(B, dim)` of sums of token embeddings."""
        embeddings_BD = nn.functional.normalize(self.start(sums_BS) + self.mlp(sums_BS), dim=-1)
        return embeddings_BD * (sums_BS != 0).any(dim=-1, keepdim=True).to(embeddings_BD.dtype)
