"""The query encoder: a transformer's last layer, pooled, projected, normalised (section 3.4.1).

Shape legend: B queries, L word pieces, H hidden width of the transformer, D embedding width.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, DistilBertConfig

from omnifeat.data.artefacts import LibraryCall
from omnifeat.errors import EncoderError, SettingError
from omnifeat.models.block_config import TextConfig
from omnifeat.models.compatibility import semi_orthogonal
from omnifeat.models.config import NGRAMS, SCRATCH, QueryConfig
from omnifeat.models.query_tokenizer import QueryTokenizer, normalise_query
from omnifeat.models.transformer import PooledTransformer, TextEncoder
from omnifeat.models.wordpiece import train_wordpiece
from omnifeat.transformers_checks import Tensors, check_text_model, config_of
from omnifeat.transformers_files import TransformersFolder, text_model_class

__all__ = [
    "QueryEncoder",
    "QueryTokenizer",
    "build_query_encoder",
    "build_text_encoder",
    "make_query_tokenizer",
    "make_text_tokenizer",
    "normalise_query",
    "query_encoder_from_settings",
    "text_encoder_from_settings",
    "train_wordpiece",
]

# How many texts a pretrained tokenizer is tried on, and the share of word pieces of theirs that it need not know.
_TRIED_TEXTS = 1000
_MOST_UNKNOWN = 0.8
_OTHERWISE = {"query encoder": ", or 'scratch' to train one from nothing"}
# Names under which the families of Hugging Face encoders keep their dropout rates.
_DROPOUT_SETTINGS = (
    "dropout",
    "attention_dropout",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "embedding_dropout",
    "mlp_dropout",
)


class QueryEncoder(PooledTransformer):
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
        super().__init__(
            backbone,
            pooling=config.pooling,
            max_length=config.max_length,
            trainable_layers=config.trainable_layers,
            part="query",
            name=config.model,
        )
        self.projection = nn.Linear(self.hidden_size, dim)
        if config.projection == "identity-init":
            with torch.no_grad():
                self.projection.weight.copy_(semi_orthogonal(dim, self.hidden_size, seed=0))
                self.projection.bias.zero_()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embeddings `(B, dim)` of unit length of `input_ids` and `attention_mask`, both int64 `(B, L)`."""
        return self.project(self.pool(input_ids, attention_mask))

    def project(self, pooled_BH: Tensor) -> Tensor:
        """Embeddings `(B, dim)` of unit length of what `pool` gives."""
        return nn.functional.normalize(self.projection(pooled_BH), dim=-1)


def make_query_tokenizer(config: QueryConfig, texts: Iterable[str] = ()) -> QueryTokenizer | None:
    """The pretrained encoder's tokenizer, or a WordPiece tokenizer trained on `texts` where the model is `"scratch"`.

    None where queries are bags of the entity encoder's n-grams.

    Raises
    ------
    EncoderError
        The pretrained tokenizer cannot be loaded, or knows hardly any of the words of `texts`.
    DataError
        There is no text to train on.
    """
    if config.model == NGRAMS:
        return None
    if config.model == SCRATCH:
        return train_wordpiece(texts, config)
    return _pretrained_tokenizer(config.model, config.max_length, config.prefix, texts)


def make_text_tokenizer(config: TextConfig, texts: Iterable[str] = ()) -> QueryTokenizer | None:
    """The tokenizer of the block of text, with the prefix of queries; None where there is no such block.

    Raises
    ------
    EncoderError
        It cannot be loaded, or knows hardly any of the words of `texts`.
    """
    if not config.model:
        return None
    return _pretrained_tokenizer(config.model, config.max_length, config.query_prefix, texts)


def with_width(config: TextConfig) -> TextConfig:
    """The settings of the block of text with the hidden width of its transformer.

    Raises
    ------
    EncoderError
        The folder or the hub name cannot be loaded.
    """
    if not config.model:
        return config
    folder = _text_folder(config.model, "text encoder")
    return replace(config, width=int(folder.config().hidden_size))


def _pretrained_tokenizer(name: str, max_length: int, prefix: str, texts: Iterable[str]) -> QueryTokenizer:
    tokenizer = QueryTokenizer.pretrained(name, max_length=max_length, prefix=prefix)
    _check_known(tokenizer, list(itertools.islice(texts, _TRIED_TEXTS)), name)
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
        return QueryEncoder(_pretrained_backbone(config.model, "query encoder", config.dropout), config, dim)
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
    backbone = _backbone_from_settings(backbone_settings, tensors, "query")
    try:
        return QueryEncoder(backbone, config, dim)
    except SettingError as error:  # no setting of the user's: one of the file
        raise EncoderError(f"The query encoder cannot be built from its stored settings: {error}") from error


def _backbone_from_settings(backbone_settings: Mapping[str, Any], tensors: Tensors, what: str) -> nn.Module:
    kind = backbone_settings.get("model_type")
    failed = f"The installed transformers cannot build a {what} encoder of type {kind!r}"
    remedy = "install the version that the encoder was trained with, or fetch the encoder again"
    settings = config_of(backbone_settings, tensors, failed, remedy=remedy)
    with LibraryCall(failed, error=EncoderError, remedy=remedy):
        auto = text_model_class(settings.model_type)
        backbone: nn.Module = auto.from_config(settings, dtype=torch.float32, trust_remote_code=False)
    return backbone


def build_text_encoder(config: TextConfig) -> TextEncoder:
    """The block of text with pretrained weights.

    Raises
    ------
    EncoderError
        The folder or the hub name cannot be loaded, or lacks weights.
    SettingError
        See `omnifeat.models.transformer.PooledTransformer`.
    """
    return _text_encoder(_pretrained_backbone(config.model, "text encoder", None), config)


def text_encoder_from_settings(
    config: TextConfig, backbone_settings: Mapping[str, Any], tensors: Tensors
) -> TextEncoder:
    """As `query_encoder_from_settings`, of the block of text."""
    return _text_encoder(_backbone_from_settings(backbone_settings, tensors, "text"), config)


def _text_encoder(backbone: nn.Module, config: TextConfig) -> TextEncoder:
    return TextEncoder(
        backbone,
        pooling=config.pooling,
        max_length=config.max_length,
        trainable_layers=config.trainable_layers,
        part="text",
        name=config.model,
    )


def _pretrained_backbone(name: str, what: str, dropout: float | None) -> nn.Module:
    folder = _text_folder(name, what)
    settings = folder.config()
    if dropout is not None:
        for setting in _DROPOUT_SETTINGS:
            if hasattr(settings, setting):
                setattr(settings, setting, dropout)
    backbone: nn.Module = folder.model(text_model_class(settings.model_type), settings)
    check_text_model(backbone, folder.failed)
    return backbone


def _text_folder(name: str, what: str) -> TransformersFolder:
    return TransformersFolder.open(
        name,
        what=what,
        failed=f"No {what} can be loaded from",
        remedy="give the folder or the hub name of a Hugging Face encoder" + _OTHERWISE.get(what, ""),
    )
