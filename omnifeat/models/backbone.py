"""What every user of a Hugging Face transformer does with it: pool its last layer, and tell which one it is.

Shape legend: B texts, L word pieces, H hidden width.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["pool_tokens", "without_provenance"]

# Settings that say where a transformer came from or which library wrote it, not what it computes.
_PROVENANCE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


def pool_tokens(hidden_BLH: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
    """The last layer `(B, L, H)` as `(B, H)`: its first token (`cls`), or the `mean` of those that the mask, int64
    `(B, L)`, has."""
    if pooling == "cls":
        return hidden_BLH[:, 0]
    mask_BL1 = attention_mask.unsqueeze(-1).to(hidden_BLH.dtype)
    return (hidden_BLH * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1).clamp(min=1)


def without_provenance(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A transformer's configuration as JSON values, with nothing of where it was."""
    return {key: value for key, value in settings.items() if key not in _PROVENANCE}
