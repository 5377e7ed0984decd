"""The query encoder: a transformer's last layer, pooled, projected, normalised (section 3.4.1).

Shape legend: B queries, L word pieces, H hidden width of the transformer, D embedding width.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AutoModel, DistilBertConfig

from omnifeat.data.artefacts import LibraryCall
from omnifeat.errors import EncoderError, SettingError
from omnifeat.models.backbone import pool_tokens, without_provenance
from omnifeat.models.compatibility import semi_orthogonal
from omnifeat.models.config import QueryConfig
from omnifeat.models.query_tokenizer import QueryTokenizer, normalise_query
from omnifeat.models.wordpiece import train_wordpiece
from omnifeat.transformers_checks import Tensors, check_text_model, config_of
from omnifeat.transformers_files import TransformersFolder, text_model_class

__all__ = [
    "QueryEncoder",
    "QueryTokenizer",
    "build_query_encoder",
    "make_query_tokenizer",
    "normalise_query",
    "query_encoder_from_settings",
    "train_wordpiece",
]

SCRATCH = "scratch"
# How many texts a pretrained tokenizer is tried on, and the share of word pieces of theirs that it need not know.
_TRIED_TEXTS = 1000
_MOST_UNKNOWN = 0.8
# Names under which the families of Hugging Face encoders keep their dropout rates.
_DROPOUT_SETTINGS = (
    "dropout",
    "attention_dropout",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "embedding_dropout",
    "mlp_dropout",
)


class QueryEncoder(nn.Module):
    """Word pieces -> `(B, dim)` of unit length.

    Parameters
    ----------
    backbone
        Any Hugging Face encoder whose output has `last_hidden_state`.
    config
        Settings of the query encoder.
    dim
        Width of the embedding.

    Raises
    ------
    SettingError
        `config.trainable_layers` is more than the backbone has, or `config.max_length` is more than it can take.
    """

    def __init__(self, backbone: nn.Module, config: QueryConfig, dim: int) -> None:
        super().__init__()
        # The pooler of BERT's pre-training plays no part here; left in, it would be a weight that nothing trains.
        if getattr(backbone, "pooler", None) is not None:
            setattr(backbone, "pooler", None)  # noqa: B010 - torch's types don't know that a module may go
        settings: Any = backbone.config
        longest = getattr(settings, "max_position_embeddings", None)
        if isinstance(longest, int) and 0 < longest < config.max_length:
            raise SettingError(
                f"The 'query.max_length' setting must be at most {longest}, the longest input of '{config.model}'; got "
                f"{config.max_length} instead."
            )
        self.backbone = backbone
        self.pooling = config.pooling
        self.projection = nn.Linear(int(settings.hidden_size), dim)
        if config.projection == "identity-init":
            with torch.no_grad():
                self.projection.weight.copy_(semi_orthogonal(dim, int(settings.hidden_size), seed=0))
                self.projection.bias.zero_()
        self._frozen: list[nn.Module] = []
        if config.trainable_layers is not None:
            self._freeze(config.trainable_layers)

    def _freeze(self, trainable_layers: int) -> None:
        """Freeze the backbone but for its top layers; gradients then stop at the lowest trainable one."""
        layers = _transformer_layers(self.backbone)
        if trainable_layers > len(layers):
            raise SettingError(
                f"The 'query.trainable_layers' setting must be at most {len(layers)}, the layers that the encoder has; "
                f"got {trainable_layers} instead."
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

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings `(B, dim)` of unit length of `input_ids` and `attention_mask`, both int64 `(B, L)`."""
        return self.project(self.pool(input_ids, attention_mask))

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The transformer's last layer, pooled, `(B, H)`: all that comes before the projection."""
        hidden_BLH: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return pool_tokens(hidden_BLH, attention_mask, self.pooling)

    def project(self, pooled_BH: Tensor) -> Tensor:
        """Embeddings `(B, dim)` of unit length of what `pool` gives."""
        return nn.functional.normalize(self.projection(pooled_BH), dim=-1)

    def backbone_settings(self) -> dict[str, Any]:
        """The backbone's own configuration as JSON values: enough to build it again, with nothing of where it was."""
        return without_provenance(self.backbone.config.to_dict())  # type: ignore[union-attr, operator]


def _transformer_layers(backbone: nn.Module) -> list[nn.Module]:
    """Transformer layers from the lowest to the top: the longest list of modules in any Hugging Face encoder."""
    lists = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    longest: list[nn.Module] = []
    for layers in lists:
        if len(layers) > len(longest):
            longest = list(layers)
    return longest


def make_query_tokenizer(config: QueryConfig, texts: Iterable[str] = ()) -> QueryTokenizer:
    """The pretrained encoder's tokenizer, or a WordPiece tokenizer trained on `texts` where the model is `"scratch"`.

    Raises
    ------
    EncoderError
        The pretrained tokenizer cannot be loaded, or knows hardly any of the words of `texts`.
    DataError
        There is no text to train on.
    """
    if config.model == SCRATCH:
        return train_wordpiece(texts, config)
    tokenizer = QueryTokenizer.pretrained(config)
    _check_known(tokenizer, list(itertools.islice(texts, _TRIED_TEXTS)), config.model)
    return tokenizer


def _check_known(tokenizer: QueryTokenizer, texts: Sequence[str], name: str) -> None:
    """Refuse a tokenizer to which nearly all word pieces are the unknown one: all queries would get one vector."""
    (frame,) = tokenizer.ids([""])  # what stands around every text
    pieces = tokenizer.ids(texts)
    unknown = sum(ids.count(tokenizer.tokenizer.unk_token_id) for ids in pieces)
    share = unknown / max(sum(len(ids) - len(frame) for ids in pieces), 1)
    if share > _MOST_UNKNOWN:
        raise EncoderError(
            f"The tokenizer of '{name}' knows hardly any of the queries: {share:.0%} of their word pieces are unknown "
            "to it; give a model of their language and script."
        )


def build_query_encoder(config: QueryConfig, dim: int, tokenizer: QueryTokenizer) -> QueryEncoder:
    """A query encoder at the start of training: pretrained weights, or a DistilBERT of random ones.

    Raises
    ------
    EncoderError
        The folder or the hub name cannot be loaded, or lacks weights.
    SettingError
        See `QueryEncoder`.
    """
    if config.model != SCRATCH:
        return QueryEncoder(_pretrained_backbone(config), config, dim)
    dropout = 0.1 if config.dropout is None else config.dropout
    settings = DistilBertConfig(
        vocab_size=tokenizer.vocabulary,
        max_position_embeddings=config.max_length,
        dim=config.hidden,
        hidden_dim=4 * config.hidden,
        n_layers=config.layers,
        n_heads=config.heads,
        dropout=dropout,
        attention_dropout=dropout,
        pad_token_id=tokenizer.padding_id,
    )
    return QueryEncoder(AutoModel.from_config(settings), config, dim)


def query_encoder_from_settings(
    config: QueryConfig, dim: int, backbone_settings: Mapping[str, Any], tensors: Tensors
) -> QueryEncoder:
    """A query encoder whose backbone is built from its stored settings; its weights are still to be loaded.

    `tensors` are those that the weights to load hold, and bound what the settings may ask for.

    Raises
    ------
    EncoderError
        The settings are not those of an encoder that the installed `transformers` knows.
    """
    failed = f"The installed transformers cannot build a query encoder of type {backbone_settings.get('model_type')!r}"
    remedy = "install the version that the encoder was trained with, or fetch the encoder again"
    settings = config_of(backbone_settings, tensors, failed, remedy=remedy)
    with LibraryCall(failed, error=EncoderError, remedy=remedy):
        auto = text_model_class(settings.model_type)
        backbone = auto.from_config(settings, dtype=torch.float32, trust_remote_code=False)
    try:
        return QueryEncoder(backbone, config, dim)
    except SettingError as error:  # no setting of the user's: one of the file
        raise EncoderError(f"The query encoder cannot be built from its stored settings: {error}") from error


def _pretrained_backbone(config: QueryConfig) -> nn.Module:
    folder = TransformersFolder.open(
        config.model,
        what="query encoder",
        failed="No query encoder can be loaded from",
        remedy="give the folder or the hub name of a Hugging Face encoder, or 'scratch' to train one from nothing",
    )
    settings = folder.config()
    if config.dropout is not None:
        for name in _DROPOUT_SETTINGS:
            if hasattr(settings, name):
                setattr(settings, name, config.dropout)
    backbone: nn.Module = folder.model(text_model_class(settings.model_type), settings)
    check_text_model(backbone, folder.failed)
    return backbone
