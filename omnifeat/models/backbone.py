"""What every user of a Hugging Face transformer does with it: pool its last layer, and tell which one it is.

Shape legend: B texts, L word pieces, H hidden width.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["number_format", "pool_tokens", "without_provenance"]

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


def number_format(name: str, device: torch.device) -> str:
    """The number format that `auto` stands for: bfloat16 where the processor multiplies it by itself, else float32.

    On a CPU that is AMX or AVX512-BF16. Where it must be imitated it is slower than float32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        quick = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        quick = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if quick else "float32"
