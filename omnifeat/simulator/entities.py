"""Pins, products and queries of the world: latent vectors, text with holes, noisy embeddings.

Shape suffixes: N rows, D width (32).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from omnifeat.simulator.concepts import (
    LATENT_DIM,
    THINGS,
    Concepts,
    FloatArray,
    LatentSpace,
    draw_concepts,
    zipf,
)
from omnifeat.simulator.lexicon import ATTRIBUTES, LINK_DOMAINS, TOPICS
from omnifeat.simulator.wording import brand_name, caption, description, pin_title, product_title, query_text

__all__ = ["Entities", "Population", "make_pins", "make_products", "make_queries", "vector_column"]

EMBEDDING_DIM = 32
# shares of rows without the field
NO_TITLE, NO_DESCRIPTION, NO_CAPTION, NO_EMBEDDING = 0.2, 0.3, 0.4, 0.1
_IMAGE_NOISE, _GRAPH_NOISE = 0.9, 0.6  # length of the noise beside a unit latent vector
_POPULARITY_EXPONENT = 0.8


@dataclass(frozen=True)
class Population:
    """Rows of one kind with what is known of them only to the world: ids, concepts, latent vectors, popularity."""

    entity_type: str
    ids: list[str]
    concepts: Concepts
    latent: FloatArray  # (N, D), unit rows
    popularity: FloatArray  # (N,), sums to 1

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Entities:
    """A population and its table."""

    population: Population
    table: pa.Table


def thing_probabilities(rng: np.random.Generator) -> FloatArray:
    """How usual each thing is, in this world: Zipf over a random order."""
    return rng.permutation(zipf(len(THINGS), 0.6))


def vector_column(vectors_ND: FloatArray, present_N: Any = None) -> pa.FixedSizeListArray:
    """Rows as a fixed-size list column of float32; null where not present."""
    values = pa.array(np.ascontiguousarray(vectors_ND, dtype=np.float32).reshape(-1), pa.float32())
    mask = None if present_N is None else pa.array(~present_N)
    return pa.FixedSizeListArray.from_arrays(values, vectors_ND.shape[1], mask=mask)


class Projections:
    """What each embedding sees of a latent vector: a fixed random rotation of it, and noise."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rotations = {
            name: np.linalg.qr(rng.standard_normal((LATENT_DIM, EMBEDDING_DIM)))[0]
            for name in ("image", "graph", "item")
        }

    def noisy(self, name: str, latent_ND: FloatArray, rng: np.random.Generator, noise: float) -> FloatArray:
        """Unit vectors (N, D)."""
        rotated_ND = latent_ND @ self._rotations[name]
        rotated_ND = rotated_ND + noise / np.sqrt(EMBEDDING_DIM) * rng.standard_normal(rotated_ND.shape)
        return np.asarray(rotated_ND / np.linalg.norm(rotated_ND, axis=1, keepdims=True))


def make_pins(
    rng: np.random.Generator, number: int, space: LatentSpace, projections: Projections, things: FloatArray
) -> Entities:
    """Pins with titles, descriptions and captions missing at the stated rates."""
    population = _population(rng, "pin", number, space, things)
    columns = _text_columns(rng, population, pin_title)
    columns["pinsage"] = _maybe_vectors(
        rng, projections.noisy("graph", population.latent, rng, _GRAPH_NOISE), NO_EMBEDDING
    )
    columns["image_embedding"] = _maybe_vectors(
        rng, projections.noisy("image", population.latent, rng, _IMAGE_NOISE), NO_EMBEDDING
    )
    return Entities(population, pa.table(columns))


def make_products(
    rng: np.random.Generator, number: int, space: LatentSpace, projections: Projections, things: FloatArray
) -> Entities:
    """Products; besides what pins have: brand, color, material, product type, price, one to three image embeddings."""
    population = _population(rng, "product", number, space, things)
    concepts = population.concepts
    brands = [brand_name(rng) for _ in range(number)]
    columns = _text_columns(
        rng, population, lambda concepts, row, rng: product_title(concepts, row, rng, brands[row]), no_title=0.05
    )
    text = pa.string()
    columns["brand"] = pa.array(brands, text)
    for column, kind in (("color", "colour"), ("material", "material")):
        columns[column] = pa.array([_attribute_of(concepts, row, kind) for row in range(number)], text)
    columns["product_type"] = pa.array([THINGS[thing].name for thing in concepts.things], text)
    usual = np.array([TOPICS[topic].price for topic in concepts.topics])
    columns["price"] = pa.array(np.round(usual * np.exp(0.5 * rng.standard_normal(number)), 2), pa.float64())
    columns["itemsage"] = _maybe_vectors(
        rng, projections.noisy("item", population.latent, rng, _GRAPH_NOISE), NO_EMBEDDING
    )
    images_N = rng.integers(1, 4, size=number)
    owner = np.repeat(np.arange(number), images_N)
    images = vector_column(projections.noisy("image", population.latent[owner], rng, _IMAGE_NOISE))
    offsets = np.concatenate([[0], np.cumsum(images_N)]).astype(np.int32)
    columns["image_embeddings"] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), images)
    return Entities(population, pa.table(columns))


def make_queries(rng: np.random.Generator, number: int, space: LatentSpace, things: FloatArray) -> Entities:
    """Distinct queries, the plainer the more popular."""
    texts: list[str] = []
    kept: list[int] = []
    seen: set[str] = set()
    drawn = draw_concepts(rng, 3 * number, thing_probabilities=things, attribute_rate=0.4, topic_rate=0.06)
    for row in range(len(drawn)):
        text = query_text(drawn, row, rng)
        if text not in seen:
            seen.add(text)
            texts.append(text)
            kept.append(row)
        if len(texts) == number:
            break
    concepts = drawn.take(np.array(kept, dtype=np.int64))
    words_N = (concepts.attributes >= 0).sum(axis=1)
    plainness_N = np.argsort(np.argsort(words_N + 1.5 * rng.random(len(texts)), kind="stable"), kind="stable")
    popularity_N = zipf(len(texts), _POPULARITY_EXPONENT)[plainness_N]
    # a query says what it means: hardly anything of its own beyond its words
    population = Population("query", texts, concepts, space.vectors(concepts, rng, own=0.1), popularity_N)
    table = pa.table(
        {
            "query": pa.array(texts, pa.string()),
            "language": pa.array(["en"] * len(texts), pa.string()),
            "interests": pa.array([query_interests(concepts, row) for row in range(len(texts))], pa.list_(pa.string())),
        }
    )
    return Entities(population, table)


def query_interests(concepts: Concepts, row: int) -> list[str]:
    """Ids of the interests of a query: domain, topic and, unless it is broad, thing."""
    topic = TOPICS[concepts.topics[row]]
    ids = [topic.domain, f"{topic.domain}/{topic.name}"]
    if concepts.things[row] >= 0:
        ids.append(f"{ids[-1]}/{THINGS[concepts.things[row]].name}")
    return ids


def interests_table() -> pa.Table:
    """The three levels of interests; an id is the path of names."""
    rows: dict[str, tuple[str, str | None, int]] = {}
    for topic in TOPICS:
        topic_id = f"{topic.domain}/{topic.name}"
        rows[topic.domain] = (topic.domain, None, 1)
        rows[topic_id] = (topic.name, topic.domain, 2)
        rows.update({f"{topic_id}/{thing.name}": (thing.name, topic_id, 3) for thing in topic.things})
    ordered = sorted(rows.items(), key=lambda item: (item[1][2], item[0]))
    return pa.table(
        {
            "interest_id": pa.array([identity for identity, _ in ordered], pa.string()),
            "name": pa.array([row[0] for _, row in ordered], pa.string()),
            "parent_id": pa.array([row[1] for _, row in ordered], pa.string()),
            "level": pa.array([row[2] for _, row in ordered], pa.int64()),
        }
    )


def _population(
    rng: np.random.Generator, entity_type: str, number: int, space: LatentSpace, things: FloatArray
) -> Population:
    concepts = draw_concepts(rng, number, thing_probabilities=things, attribute_rate=0.7)
    width = len(str(number - 1))
    ids = [f"{entity_type}-{row:0{width}}" for row in range(number)]
    popularity_N = rng.permutation(zipf(number, _POPULARITY_EXPONENT))
    return Population(entity_type, ids, concepts, space.vectors(concepts, rng), popularity_N)


def _text_columns(
    rng: np.random.Generator,
    population: Population,
    title: Callable[[Concepts, int, np.random.Generator], str],
    no_title: float = NO_TITLE,
) -> dict[str, Any]:
    concepts, rows, text = population.concepts, range(len(population)), pa.string()
    topic_count = len(LINK_DOMAINS)
    return {
        "id": pa.array(population.ids, text),
        "title": pa.array(_with_holes(rng, [title(concepts, row, rng) for row in rows], no_title), text),
        "description": pa.array(
            _with_holes(rng, [description(concepts, row, rng) for row in rows], NO_DESCRIPTION), text
        ),
        "caption": pa.array(_with_holes(rng, [caption(concepts, row, rng) for row in rows], NO_CAPTION), text),
        # two sites in three are about the topic's own, the rest anywhere
        "link_domain": pa.array(
            [
                LINK_DOMAINS[int(concepts.topics[row]) // 4 if rng.random() < 0.67 else int(rng.integers(topic_count))]
                for row in rows
            ],
            text,
        ),
        "language": pa.array(["en"] * len(population), text),
    }


def _with_holes(rng: np.random.Generator, texts: Sequence[str], rate: float) -> list[str | None]:
    missing = rng.random(len(texts)) < rate
    return [None if hole else text for text, hole in zip(texts, missing, strict=True)]


def _maybe_vectors(rng: np.random.Generator, vectors_ND: FloatArray, rate: float) -> pa.FixedSizeListArray:
    return vector_column(vectors_ND, rng.random(len(vectors_ND)) >= rate)


def _attribute_of(concepts: Concepts, row: int, kind: str) -> str | None:
    for index in concepts.attributes[row]:
        if index >= 0 and ATTRIBUTES[index].kind == kind:
            return ATTRIBUTES[index].words[0]
    return None
