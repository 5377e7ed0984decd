"""The whole model: query encoder, entity encoder, compatibility encoders and temperature, in one space."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from omnifeat.models.blocks import joined
from omnifeat.models.compatibility import FixedProjection
from omnifeat.models.config import NGRAMS, EncoderConfig
from omnifeat.models.entity import EntityEncoder
from omnifeat.models.ngram_query import NgramQueryEncoder
from omnifeat.models.query import QueryEncoder, QueryTokenizer, build_query_encoder, build_text_encoder
from omnifeat.models.transformer import TextEncoder
from omnifeat.models.words import WordSketch

__all__ = ["OmniModel", "build_model"]

_LARGEST_SCALE = 100.0
_LEAST_SHARE = 1e-4


class OmniModel(nn.Module):
    """Encoders that share one space (section 3.4).

    Parameters
    ----------
    config
        Settings with all widths known (see `omnifeat.models.config.fitted_to`).
    query
        Transformer of queries of width `config.dim`; None where queries are bags of n-grams.
    vocabulary
        Number of n-gram token ids.
    text
        The transformer of the block of text; None where there is none.

    Attributes
    ----------
    query, entity
        The learned encoders.
    words, text
        The blocks beside the learned one, as far as the settings have them; else None.
    compatibility
        Vector column -> `FixedProjection`, one for each name in `config.compatibility_widths`.
    log_temperature
        Logarithm of the learned temperature.
    """

    def __init__(
        self, config: EncoderConfig, query: QueryEncoder | None, vocabulary: int, text: TextEncoder | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.query: QueryEncoder | NgramQueryEncoder
        self.query = query or NgramQueryEncoder(config.query, config.entity.text_dim, config.dim)
        self.entity = EntityEncoder(config.entity, vocabulary, config.dim)
        self.compatibility = nn.ModuleDict(
            {
                name: FixedProjection(width, config.dim, seed=seed)
                for seed, (name, width) in enumerate(sorted(config.compatibility_widths.items()))
            }
        )
        self.words = WordSketch(config.words, vocabulary) if config.words.width else None
        self.text = text
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature_start)))

    def keep_blocks(self, shares: Mapping[str, float]) -> None:
        """Set the shares of the blocks in the published cosine; blocks that are not named are dropped.

        The learned block stays whatever it is given, as existing embeddings are compared with it: with no share, it has
        a ten-thousandth.
        """
        words, text = self.config.words, self.config.text
        if "words" not in shares:
            self.words, words = None, replace(words, width=0)
        if "text" not in shares:
            self.text, text = None, replace(text, model="", width=0)
        weights = {"learned": _LEAST_SHARE, **shares}
        self.config = replace(self.config, words=words, text=text, block_weights=weights)

    def published(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """Blocks by name, each `(B, its width)` of unit length or zero -> the vectors `(B, config.width)`."""
        return joined([blocks[name] for name in self.config.blocks], list(self.config.shares.values()))

    def scale(self) -> Tensor:
        """Factor of the cosines in the loss: `1 / temperature`, at most 100, a scalar."""
        return torch.exp(-self.log_temperature).clamp(max=_LARGEST_SCALE)


def build_model(
    config: EncoderConfig, query_tokenizer: QueryTokenizer | None, vocabulary: int, *, seed: int = 0
) -> OmniModel:
    """A model at the start of training: pretrained weights where `config.query.model` names some, seeded others.

    The random state of the caller is left as it was.

    Raises
    ------
    EncoderError
        The pretrained encoder cannot be loaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        query, text = None, None
        if config.query.model != NGRAMS and query_tokenizer is not None:
            query = build_query_encoder(config.query, config.dim, query_tokenizer)
        if config.text.model:
            text = build_text_encoder(config.text)
        return OmniModel(config, query, vocabulary, text)
