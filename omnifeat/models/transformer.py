"""A Hugging Face encoder of text, pooled; how much of it is trained.

Shape legend: B texts, L word pieces, H hidden width of the transformer.
"""

from typing import Any, Self

from torch import Tensor, nn

from omnifeat.errors import SettingError
from omnifeat.models.backbone import pool_tokens, without_provenance

__all__ = ["PooledTransformer", "TextEncoder"]


class PooledTransformer(nn.Module):
    """Word pieces -> `(B, H)`: the last layer, pooled.

    Parameters
    ----------
    backbone
        Any Hugging Face encoder whose output has `last_hidden_state`.
    pooling
        `"cls"` or `"mean"`.
    max_length
        Word pieces that texts are cut at.
    trainable_layers
        None trains all; n trains the top n transformer layers and freezes the rest, word embeddings included.
    part
        The settings that these come from, for messages: `query` or `text`.
    name
        The encoder's name, for messages.

    Raises
    ------
    SettingError
        `trainable_layers` is more than the backbone has, or `max_length` is more than it can take.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        pooling: str,
        max_length: int,
        trainable_layers: int | None,
        part: str,
        name: str,
    ) -> None:
        super().__init__()
        # The pooler of BERT's pre-training plays no part here; left in, it would be a weight that nothing trains.
        if getattr(backbone, "pooler", None) is not None:
            setattr(backbone, "pooler", None)  # noqa: B010 - torch's types don't know that a module may go
        settings: Any = backbone.config
        longest = getattr(settings, "max_position_embeddings", None)
        if isinstance(longest, int) and 0 < longest < max_length:
            raise SettingError(
                f"The '{part}.max_length' setting must be at most {longest}, the longest input of '{name}'; got "
                f"{max_length} instead."
            )
        self.backbone = backbone
        self.pooling = pooling
        self.hidden_size = int(settings.hidden_size)
        self._part = part
        self._frozen: list[nn.Module] = []
        if trainable_layers is not None:
            self._freeze(trainable_layers)

    def _freeze(self, trainable_layers: int) -> None:
        """Freeze the backbone but for its top layers; gradients then stop at the lowest trainable one."""
        layers = _transformer_layers(self.backbone)
        if trainable_layers > len(layers):
            raise SettingError(
                f"The '{self._part}.trainable_layers' setting must be at most {len(layers)}, the layers that the "
                f"encoder has; got {trainable_layers} instead."
            )
        trainable = layers[len(layers) - trainable_layers :]
        self.backbone.requires_grad_(False)
        for layer in trainable:
            layer.requires_grad_(True)
        inside = {module for layer in trainable for module in layer.modules()}
        # A container of a trainable layer must still pass `train` on, so only modules without one are listed.
        self._frozen = [
            module
            for module in self.backbone.modules()
            if module not in inside and not any(child in inside for child in module.modules())
        ]
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; frozen layers stay in evaluation mode: dropout there would blur fixed features."""
        super().train(mode)
        for module in self._frozen:
            module.training = False
        return self

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The last layer, pooled, `(B, H)`, of `input_ids` and `attention_mask`, both int64 `(B, L)`."""
        hidden_BLH: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return pool_tokens(hidden_BLH, attention_mask, self.pooling)

    def backbone_settings(self) -> dict[str, Any]:
        """The backbone's own configuration as JSON values: enough to build it again, with nothing of where it was."""
        return without_provenance(self.backbone.config.to_dict())  # type: ignore[union-attr, operator]


class TextEncoder(PooledTransformer):
    """The block of text: word pieces of queries, or of text of entities -> `(B, H)` of unit length.

    It is tuned by itself, or not at all: its weights ask for gradients only between `set_trainable(True)` and
    `set_trainable(False)`.

    Attributes
    ----------
    trainable
        The weights of the layers that may be tuned.
    """

    def __init__(self, backbone: nn.Module, **settings: Any) -> None:
        super().__init__(backbone, **settings)
        self.trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.set_trainable(False)

    def set_trainable(self, mode: bool) -> None:
        """Whether the layers that may be tuned ask for gradients."""
        for parameter in self.trainable:
            parameter.requires_grad_(mode)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings `(B, H)` of `input_ids` and `attention_mask`, both int64 `(B, L)`."""
        return nn.functional.normalize(self.pool(input_ids, attention_mask).float(), dim=-1)


def _transformer_layers(backbone: nn.Module) -> list[nn.Module]:
    """Transformer layers from the lowest to the top: the longest list of modules in any Hugging Face encoder."""
    lists = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    longest: list[nn.Module] = []
    for layers in lists:
        if len(layers) > len(longest):
            longest = list(layers)
    return longest
