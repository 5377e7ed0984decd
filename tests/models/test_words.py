import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.models.block_config import WordsConfig
from omnifeat.models.words import WordSketch
from omnifeat.text import NgramSizes, NgramTokenizer, TokenBags

ENTITIES = ["red shoes", "red red hat", "blue hat", "garden chair with a red cushion", ""]
SIZES = NgramSizes(trigrams=0, words=100, bigrams=0)


def bags_of(tokenizer: NgramTokenizer, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    bags = tokenizer.encode(pa.array(texts, pa.string()))
    return torch.from_numpy(bags.ids), torch.from_numpy(bags.offsets)


def fitted(width: int, **changes: float) -> tuple[WordSketch, NgramTokenizer]:
    tokenizer = NgramTokenizer.fit([pa.array(ENTITIES)], SIZES)
    sketch = WordSketch(WordsConfig(width=width, **changes), tokenizer.size)
    sketch.fit(lambda: [tokenizer.encode(pa.array(ENTITIES))])
    return sketch, tokenizer


def test_the_dot_product_is_bm25_worked_by_hand() -> None:
    # Five entities of 2, 3, 2, 6 and 0 words: 13 / 5 = 2.6 on average. "red" stands in three, "hat" in two.
    sketch, tokenizer = fitted(65_536)  # so wide that no two words share a place
    assert float(sketch.average_length) == pytest.approx(2.6)
    rarity = {"red": math.log(1 + 2.5 / 3.5), "hat": math.log(1 + 3.5 / 2.5)}
    # "red red hat": length 3, so that k1 (1 - b + b 3 / 2.6) = 1.2 (0.25 + 0.75 * 1.1538...) = 1.33846...
    longer = 1.2 * (0.25 + 0.75 * 3 / 2.6)
    saturated = {"red": 2 * 2.2 / (2 + longer), "hat": 1 * 2.2 / (1 + longer)}
    with torch.no_grad():
        query = sketch.queries(*bags_of(tokenizer, ["red hat"]))[0]
        entity = sketch.entities(*bags_of(tokenizer, ["red red hat"]))[0]
    # the query has all of the rarity and is of unit length, the entity its root and is divided by `longest`
    # each word stands in eight numbers, so that all lengths are larger by the root of eight
    length = math.hypot(*rarity.values()) * 8**0.5
    expected = 8 * sum(rarity[word] ** 1.5 * saturated[word] for word in rarity) / length / float(sketch.longest)
    assert float(query @ entity) == pytest.approx(expected, rel=1e-4)
    assert float(query.norm()) == pytest.approx(1)
    assert float(entity.norm()) == pytest.approx(1, abs=1e-6)


def test_a_word_said_twice_in_a_query_counts_once_and_nothing_known_is_zero() -> None:
    sketch, tokenizer = fitted(64)
    with torch.no_grad():
        one, twice, none = sketch.queries(*bags_of(tokenizer, ["red", "red red", "unheard of"]))
        empty = sketch.entities(*bags_of(tokenizer, ["", "unheard of"]))
    torch.testing.assert_close(one, twice)
    assert not none.any()
    assert not empty.any()
    assert one[-1] == 0  # the number that makes up entities' lengths is zero in queries


def test_a_long_entity_is_cut_to_unit_length() -> None:
    sketch, tokenizer = fitted(64)
    sketch.longest.fill_(0.1)
    with torch.no_grad():
        cut = sketch.entities(*bags_of(tokenizer, ENTITIES[:4]))
    torch.testing.assert_close(cut.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(cut[:, -1], torch.zeros(4), atol=1e-3, rtol=0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 29), max_size=12), min_size=1, max_size=8), st.integers(0, 99))
def test_sketches_of_bags_equal_plain_sums(bags: list[list[int]], seed: int) -> None:
    """Each distinct token's weight goes into its places, with its signs."""
    sketch = WordSketch(WordsConfig(width=16), 30)
    sketch.weights.copy_(torch.from_numpy(np.random.default_rng(seed).random(30, np.float32)))
    sketch.average_length.fill_(4.0)
    offsets = np.cumsum([0, *map(len, bags)])
    token_bags = TokenBags(np.asarray([token for bag in bags for token in bag], np.int32), offsets.astype(np.int64))
    found = sketch._sums(token_bags.ids, token_bags.offsets, entities=True)
    for row, bag in enumerate(bags):
        expected = np.zeros(16)
        for token in set(bag):
            count = bag.count(token)
            weight = float(sketch.weights[token]) ** 0.5 * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(bag) / 4))
            for place in sketch._places_VS[token].tolist():
                expected[place if place >= 0 else -place - 1] += weight if place >= 0 else -weight
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)
    assert not found[:, -1].any()


def test_a_wider_sketch_is_nearer_to_bm25() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(300)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(200)]
    tokenizer = NgramTokenizer.fit([pa.array(texts)], NgramSizes(trigrams=0, words=1_000, bigrams=0))
    errors = []
    for width in (64, 256, 8_192):
        sketch = WordSketch(WordsConfig(width=width), tokenizer.size)
        sketch.fit(lambda: [tokenizer.encode(pa.array(texts))])
        with torch.no_grad():
            dots = sketch.queries(*bags_of(tokenizer, texts[:20])) @ sketch.entities(*bags_of(tokenizer, texts)).T
        errors.append(dots)
    distance = [float((found - errors[-1]).abs().mean()) for found in errors[:2]]
    assert distance[1] < 0.7 * distance[0]
