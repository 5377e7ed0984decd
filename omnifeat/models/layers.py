"""What both encoders have behind their features: hidden layers, and a start that their output is added to.

Shape legend: B rows, F width of the features, S width of the start, D embedding width.
"""

from collections.abc import Sequence

import torch
from torch import nn

from omnifeat.models.compatibility import semi_orthogonal

__all__ = ["hidden_layers", "start_layer"]


def hidden_layers(width: int, hidden: Sequence[int], dim: int, *, dropout: float, from_zero: bool) -> nn.Sequential:
    """`(B, F)` to `(B, dim)`: hidden layers, each with layer norm and ReLU, and a linear one (section 3.4.2).

    Parameters
    ----------
    width, hidden, dim
        F, the widths of the hidden layers, and D.
    dropout
        Dropout after each hidden layer.
    from_zero
        Whether the last layer starts at zero: what its output is added to is then all that there is before training.
    """
    layers: list[nn.Module] = []
    for next_width in hidden:
        layers += [nn.Linear(width, next_width), nn.LayerNorm(next_width), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = next_width
    last = nn.Linear(width, dim)
    if from_zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def start_layer(width: int, dim: int) -> nn.Module:
    """What brings a start `(B, S)` to `(B, dim)`: nothing where they are equal, else a learned matrix that starts
    semi-orthogonal, so that the cosines of what comes out are those of what went in, or near them."""
    if width == dim:
        return nn.Identity()
    layer = nn.Linear(width, dim, bias=False)
    with torch.no_grad():
        layer.weight.copy_(semi_orthogonal(dim, width, seed=0))
    return layer
