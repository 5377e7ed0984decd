"""The whole model: query encoder, entity encoder, compatibility encoders and temperature, in one space."""

import math

import torch
from torch import Tensor, nn

from omnifeat.models.compatibility import FixedProjection
from omnifeat.models.config import EncoderConfig
from omnifeat.models.entity import EntityEncoder
from omnifeat.models.query import QueryEncoder, QueryTokenizer, build_query_encoder

__all__ = ["OmniModel", "build_model"]

_LARGEST_SCALE = 100.0


class OmniModel(nn.Module):
    """Encoders that share one space (section 3.4).

    Parameters
    ----------
    config
        Settings with all widths known (see `omnifeat.models.config.fitted_to`).
    query
        Query encoder of width `config.dim`.
    vocabulary
        Number of n-gram token ids.

    Attributes
    ----------
    query, entity
        The learned encoders.
    compatibility
        Vector column -> `FixedProjection`, one for each name in `config.compatibility_widths`.
    log_temperature
        Logarithm of the learned temperature.
    """

    def __init__(self, config: EncoderConfig, query: QueryEncoder, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.query = query
        self.entity = EntityEncoder(config.entity, vocabulary, config.dim)
        self.compatibility = nn.ModuleDict(
            {
                name: FixedProjection(width, config.dim, seed=seed)
                for seed, (name, width) in enumerate(sorted(config.compatibility_widths.items()))
            }
        )
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature_start)))

    def scale(self) -> Tensor:
        """Factor of the cosines in the loss: `1 / temperature`, at most 100, a scalar."""
        return torch.exp(-self.log_temperature).clamp(max=_LARGEST_SCALE)


def build_model(config: EncoderConfig, query_tokenizer: QueryTokenizer, vocabulary: int, *, seed: int = 0) -> OmniModel:
    """A model at the start of training: pretrained weights where `config.query.model` names some, seeded others.

    The random state of the caller is left as it was.

    Raises
    ------
    EncoderError
        The pretrained encoder cannot be loaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return OmniModel(config, build_query_encoder(config.query, config.dim, query_tokenizer), vocabulary)
