"""The block of words: a fixed sketch of BM25, as a block of vectors of unit length.

Nothing of it is trained. A query or an entity is its distinct n-grams, each with a weight, so that the dot product of
the two is BM25. The weights are added into a few hundred numbers, each n-gram into a few of them with signs of its own
(a count sketch), which keeps dot products up to noise. So a word that no training pair ever held counts all the same,
as in a search for words.

BM25 is no cosine: an entity's weights are long where much of it matters. To keep that, an entity is divided by one
length that all share, and what it lacks of unit length stands in one more number, where queries have zero (the known
way from largest dot products to cosines). The few entities that are longer than that length are cut to it.

Shape legend: T tokens of a batch, B bags, V vocabulary, S numbers that a token goes into, W width of the block.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omnifeat.compiled import compiled
from omnifeat.models.block_config import WordsConfig
from omnifeat.models.hash_embedding import hash_rows
from omnifeat.text import TokenBags

__all__ = ["WordSketch"]

# Chosen on development pairs: a query has all of an n-gram's rarity and an entity the root of it, for then what is rare
# stands out from the sketch's noise. Weights for the kinds of n-grams (words above trigrams) changed nothing.
_SPREAD = 8  # numbers that a token goes into: more cost time, fewer make two tokens that share one alike
_SEED = 20_240_416
_LONG = 95.0  # percentile of the entities' lengths that all are divided by


class WordSketch(nn.Module):
    """Bags of n-grams -> `(B, W)` of unit length; a bag without a known token is zero.

    Parameters
    ----------
    config
        Width, and the settings of BM25.
    vocabulary
        Number of n-gram token ids.
    """

    weights: Tensor  # (V,), inverse document frequency
    average_length: Tensor  # scalar, tokens of an entity
    longest: Tensor  # scalar, what entities are divided by

    def __init__(self, config: WordsConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("weights", torch.ones(vocabulary))
        self.register_buffer("average_length", torch.ones(()))
        self.register_buffer("longest", torch.ones(()))
        # follow from the settings alone, so they are not stored; the last number of the block is no place
        places = hash_rows(vocabulary, config.width - 1, _SPREAD, _SEED)
        signs = hash_rows(vocabulary, 2, _SPREAD, _SEED + 1)
        self._places_VS = np.where(signs == 0, places, -places - 1).astype(np.int32)

    def fit(self, batches: Callable[[], Iterable[TokenBags]]) -> None:
        """Set the weights by the bags of all entities, which are gone through twice.

        The weight of an n-gram is `ln(1 + (N - n + 0.5) / (n + 0.5))`, for n of N bags that hold it.
        """
        holding_V = np.zeros(len(self.weights), np.int64)
        bags = tokens = 0
        for batch in batches():
            _count_bags(batch.ids, batch.offsets, holding_V)
            bags, tokens = bags + len(batch), tokens + len(batch.ids)
        weights_V = np.log1p((bags - holding_V + 0.5) / (holding_V + 0.5))
        self.weights.copy_(torch.from_numpy(weights_V.astype(np.float32)))
        self.average_length.fill_(max(tokens / max(bags, 1), 1.0))
        lengths = [np.linalg.norm(self._sums(batch.ids, batch.offsets, entities=True), axis=1) for batch in batches()]
        found = np.concatenate(lengths)
        found = found[found > 0]
        self.longest.fill_(float(np.percentile(found, _LONG)) if len(found) else 1.0)

    def queries(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Blocks `(B, W)` of queries: each distinct token counts once, with its weight."""
        sums_BW = self._sums(ids.cpu().numpy(), offsets.cpu().numpy(), entities=False)
        return nn.functional.normalize(torch.from_numpy(sums_BW), dim=-1).to(ids.device)

    def entities(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Blocks `(B, W)` of entities: counts of tokens saturate, and count less in a long text, as in BM25."""
        offsets_B1 = offsets.cpu()
        sums_BW = torch.from_numpy(self._sums(ids.cpu().numpy(), offsets_B1.numpy(), entities=True))
        scaled_BW = sums_BW / sums_BW.norm(dim=-1, keepdim=True).clamp(min=float(self.longest))
        rest_B = (1.0 - scaled_BW.square().sum(dim=-1)).clamp(min=0).sqrt()
        scaled_BW[:, -1] = rest_B * (offsets_B1[1:] > offsets_B1[:-1])
        return scaled_BW.to(ids.device)

    def _sums(self, ids_T: NDArray[np.int32], offsets_B1: NDArray[np.int64], *, entities: bool) -> NDArray[np.float32]:
        """Sums of weights `(B, W)`, the last number zero."""
        weights_V = self.weights.cpu().numpy()
        k1, b = (self.config.k1, self.config.b) if entities else (0.0, 0.0)
        out_BW = np.zeros((len(offsets_B1) - 1, self.config.width), np.float32)
        _sketch_bags(ids_T, offsets_B1, weights_V, self._places_VS, entities, k1, b, float(self.average_length), out_BW)
        return out_BW


@compiled
def _count_bags(ids_T: NDArray[np.int32], offsets_B1: NDArray[np.int64], holding_V: NDArray[np.int64]) -> None:
    last_V = np.full(len(holding_V), -1, np.int64)
    for bag in range(len(offsets_B1) - 1):
        for t in range(offsets_B1[bag], offsets_B1[bag + 1]):
            if last_V[ids_T[t]] != bag:
                last_V[ids_T[t]] = bag
                holding_V[ids_T[t]] += 1


@compiled
def _sketch_bags(
    ids_T: NDArray[np.int32], offsets_B1: NDArray[np.int64], weights_V: NDArray[np.float32],
    places_VS: NDArray[np.int32], rooted: bool, k1: float, b: float, average: float, out_BW: NDArray[np.float32],
) -> None:  # fmt: skip
    counts_V = np.zeros(len(weights_V), np.int32)
    for bag in range(len(offsets_B1) - 1):
        start, stop = offsets_B1[bag], offsets_B1[bag + 1]
        for t in range(start, stop):
            counts_V[ids_T[t]] += 1
        longer = k1 * (1 - b + b * (stop - start) / average)
        for t in range(start, stop):
            token = ids_T[t]
            count = counts_V[token]
            if count == 0:  # done at its first place
                continue
            counts_V[token] = 0
            rarity = np.sqrt(weights_V[token]) if rooted else weights_V[token]
            weight = np.float32(rarity * count * (k1 + 1) / (count + longer))
            for s in range(places_VS.shape[1]):
                place = places_VS[token, s]
                if place >= 0:
                    out_BW[bag, place] += weight
                else:
                    out_BW[bag, -place - 1] -= weight
