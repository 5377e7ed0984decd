"""Pins and products of the world: what they are about, and what their tables say of it.

Shape suffixes: N rows, S slots of a text, D width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.simulator import rates
from omnifeat.simulator.concepts import ABSENT, Concepts, FloatArray, IntArray, LatentSpace, draw_concepts, tree, zipf
from omnifeat.simulator.lexicon import LANGUAGES, lexicon
from omnifeat.simulator.phrasebook import SITES, phrasebook, render
from omnifeat.simulator.wording import caption, phrase

__all__ = ["NORMAL", "Entities", "Eyes", "entity_ids", "make_entities", "table_parts", "vector_lists"]

PART = 65_536  # rows written at a time
NORMAL, MISSING, GENERIC, WRONG = range(4)
_SECONDS = rates.DAYS * 86_400
_ATTRIBUTE_COLUMNS = (("color", "colour"), ("material", "material"))


@dataclass(frozen=True)
class Entities:
    """N pins or products with all that is known of them only to the world.

    `born` are seconds since the first day; `attractive` is from 0 to 1; `title_state` and
    `description_state` are NORMAL, MISSING, GENERIC or WRONG.
    """

    entity_type: str
    concepts: Concepts
    locales: IntArray  # (N,)
    latent: FloatArray  # (N, D), unit rows
    popularity: npt.NDArray[np.float64]  # (N,), sums to 1
    attractive: FloatArray  # (N,)
    born: npt.NDArray[np.int64]  # (N,)
    title: IntArray  # (N, S)
    title_state: npt.NDArray[np.int8]
    description: IntArray  # (N, S)
    description_state: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.born)


class Eyes:
    """How pictures become vectors: a fixed random projection of the visual part, and noise."""

    def __init__(self, rng: np.random.Generator) -> None:
        square = rng.standard_normal((max(rates.LATENT_WIDTH, rates.IMAGE_WIDTH), rates.IMAGE_WIDTH))
        self._projection = np.linalg.qr(square)[0][: rates.LATENT_WIDTH].astype(np.float32)

    def see(self, visual_ND: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Unit image vectors (N, IMAGE_WIDTH)."""
        vectors_ND = visual_ND @ self._projection
        scale = np.float32(rates.IMAGE_NOISE / np.sqrt(rates.IMAGE_WIDTH))
        vectors_ND += scale * rng.standard_normal(vectors_ND.shape, dtype=np.float32)
        return np.asarray(vectors_ND / np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND))[:, None], np.float32)


def make_entities(
    rng: np.random.Generator, entity_type: str, number: int, space: LatentSpace, things: npt.NDArray[np.float64]
) -> Entities:
    """Draw pins or products, with titles and descriptions that may be missing, generic or about something else."""
    book = phrasebook()
    concepts = draw_concepts(rng, number, things)
    locale_N = rng.choice(len(rates.COUNTRIES), size=number, p=rates.COUNTRY_SHARES).astype(np.int32)
    popularity_N = rng.permutation(zipf(number, rates.PIN_POPULARITY_EXPONENT))
    rank_N = np.argsort(np.argsort(popularity_N, kind="stable"), kind="stable") / max(number - 1, 1)
    newcomer_N = rng.random(number) < rates.NEWCOMERS
    born_N = np.where(newcomer_N, rng.integers(0, _SECONDS, size=number), 0)
    is_pin = entity_type == "pin"
    if is_pin:
        title_rates = (rates.PIN_TITLE_MISSING, rates.PIN_TITLE_GENERIC, rates.PIN_TITLE_WRONG)
    else:
        title_rates = (rates.PRODUCT_TITLE_MISSING, rates.PRODUCT_TITLE_GENERIC, rates.PRODUCT_TITLE_WRONG)
    title_state_N = _states(rng, number, title_rates)
    ended_N = is_pin & (rng.random(number) < rates.PIN_TITLE_ENDING)
    ending_N = np.where(ended_N, book.some("title_ending", locale_N, rng), ABSENT)
    title_NS = phrase(
        _some_wrong(concepts, title_state_N, rng), locale_N, rng,
        says_attribute=rates.TITLE_SAYS_ATTRIBUTE, ending_N=ending_N.astype(np.int32),
    )  # fmt: skip
    _blank(title_NS, title_state_N, book.some("generic_title" if is_pin else "generic_product", locale_N, rng))
    description_rates = (rates.DESCRIPTION_MISSING, rates.DESCRIPTION_GENERIC, rates.DESCRIPTION_WRONG)
    description_state_N = _states(rng, number, description_rates)
    description_NS = phrase(
        _some_wrong(concepts, description_state_N, rng), locale_N, rng,
        says_attribute=rates.DESCRIPTION_SAYS_ATTRIBUTE, usual=rates.DESCRIPTION_USUAL_WORD,
    )  # fmt: skip
    _blank(description_NS, description_state_N, book.some("generic_description", locale_N, rng))
    return Entities(
        entity_type, concepts, locale_N, space.vectors(concepts, rng, rates.OWN_PART), popularity_N,
        (0.5 * rank_N + 0.5 * rng.random(number)).astype(np.float32), born_N,
        title_NS, title_state_N, description_NS, description_state_N,
    )  # fmt: skip


def entity_ids(entity_type: str, number: int) -> pa.Array:
    """The ids of all entities of a type."""
    width = len(str(number - 1))
    return pa.array([f"{entity_type}-{row:0{width}}" for row in range(number)], pa.string())


def table_parts(
    rng: np.random.Generator, entities: Entities, space: LatentSpace, eyes: Eyes
) -> Iterator[tuple[slice, dict[str, pa.Array]]]:
    """The columns of the catalogue's own knowledge, part by part: all but lists, PinSage and ItemSage."""
    ids = entity_ids(entities.entity_type, len(entities))
    for start in range(0, len(entities), PART):
        rows = slice(start, min(start + PART, len(entities)))
        yield rows, {"id": ids[rows], **_part(rng, entities, rows, space, eyes)}


def vector_lists(vectors_ND: FloatArray, present_N: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Rows as a fixed-size list column of float32; null where not present."""
    values = pa.array(np.ascontiguousarray(vectors_ND, np.float32).reshape(-1), pa.float32())
    mask = None if present_N is None else pa.array(~present_N)
    return pa.FixedSizeListArray.from_arrays(values, vectors_ND.shape[1], mask=mask)


def _part(
    rng: np.random.Generator, entities: Entities, rows: slice, space: LatentSpace, eyes: Eyes
) -> dict[str, pa.Array]:
    book = phrasebook()
    concepts, locale_N = entities.concepts.take(np.arange(rows.start, rows.stop)), entities.locales[rows]
    number = len(concepts)
    state_N = entities.title_state[rows]
    title = render(entities.title[rows])
    told = pa.array(state_N != GENERIC)
    columns: dict[str, pa.Array] = {}
    if entities.entity_type == "pin":
        title = pc.if_else(told, pc.utf8_capitalize(title), title)
    else:
        brand = book.strings.take(pa.array(rng.choice(book.brands, size=number)))
        columns["brand"] = brand
        title = pc.if_else(told, pc.binary_join_element_wise(brand, pc.utf8_title(title), " "), title)
    columns["title"] = _null_where(title, state_N == MISSING)
    state_N = entities.description_state[rows]
    ending = book.strings.take(pa.array(book.some("description_end", locale_N, rng)))
    description = render(entities.description[rows])
    told_text = pc.binary_join_element_wise(pc.utf8_capitalize(description), ending, ". ")
    columns["description"] = _null_where(
        pc.if_else(pa.array(state_N != GENERIC), told_text, description), state_N == MISSING
    )
    columns["caption"] = _null_where(render(caption(concepts, rng)), rng.random(number) < rates.CAPTION_MISSING)
    forms = len(SITES) // len(lexicon().domains)
    own_N = concepts.domains * forms + rng.integers(forms, size=number)
    site_N = np.where(rng.random(number) < rates.SITE_OF_TOPIC, own_N, rng.integers(len(SITES), size=number))
    columns["link_domain"] = pa.array(SITES).take(pa.array(site_N))
    columns["language"] = pa.array(LANGUAGES).take(pa.array(locale_N))
    visual_ND = space.visual(concepts)
    if entities.entity_type == "pin":
        seen_N = rng.random(number) >= rates.IMAGE_MISSING
        columns["image_embedding"] = vector_lists(eyes.see(visual_ND, rng), seen_N)
    else:
        columns |= _product_columns(rng, concepts, locale_N, visual_ND, eyes)
    return columns


def _product_columns(
    rng: np.random.Generator, concepts: Concepts, locale_N: IntArray, visual_ND: FloatArray, eyes: Eyes
) -> dict[str, pa.Array]:
    book, arrays, number = phrasebook(), tree(), len(concepts)
    columns: dict[str, pa.Array] = {}
    for column, kind in _ATTRIBUTE_COLUMNS:
        value_N = np.full(number, ABSENT, np.int32)
        for place in range(concepts.attributes.shape[1]):
            here = arrays.kinds_of_topic[concepts.topics, place] == arrays.kinds.index(kind)
            value_N = np.where(here, concepts.attributes[:, place], value_N)
        word_N = book.attributes.pick(value_N, locale_N, rng, usual=1.0)
        columns[column] = book.strings.take(pa.array(word_N, pa.int32(), mask=word_N < 0))
    names_N = book.things.pick(concepts.things, locale_N, rng, usual=1.0)
    columns["product_type"] = book.strings.take(pa.array(names_N))
    usual = np.array([topic.price for topic in lexicon().topics])[concepts.topics]
    columns["price"] = pa.array(np.round(usual * np.exp(0.5 * rng.standard_normal(number)), 2))
    images_N = rng.integers(1, 4, size=number)
    pictures = vector_lists(eyes.see(visual_ND[np.repeat(np.arange(number), images_N)], rng))
    offsets = np.concatenate([[0], np.cumsum(images_N)]).astype(np.int32)
    columns["image_embeddings"] = pa.ListArray.from_arrays(pa.array(offsets), pictures)
    return columns


def _states(rng: np.random.Generator, number: int, shares: tuple[float, float, float]) -> npt.NDArray[np.int8]:
    """NORMAL, MISSING, GENERIC or WRONG for each row, the last three at their shares."""
    return rng.choice(4, size=number, p=(1 - sum(shares), *shares)).astype(np.int8)


def _some_wrong(concepts: Concepts, state_N: npt.NDArray[np.int8], rng: np.random.Generator) -> Concepts:
    """The concepts, of another row where the state is WRONG."""
    rows_N = np.arange(len(concepts))
    wrong = np.flatnonzero(state_N == WRONG)
    rows_N[wrong] = rng.integers(len(concepts), size=len(wrong))
    return concepts.take(rows_N)


def _blank(text_NS: IntArray, state_N: npt.NDArray[np.int8], generic_N: IntArray) -> None:
    """Take out what is missing and put in what is generic."""
    text_NS[state_N != NORMAL] = np.where(state_N[state_N != NORMAL, None] == WRONG, text_NS[state_N != NORMAL], ABSENT)
    text_NS[:, 0] = np.where(state_N == GENERIC, generic_N, text_NS[:, 0])


def _null_where(texts: pa.Array, missing_N: npt.NDArray[np.bool_]) -> pa.Array:
    return pc.if_else(pa.array(missing_N), pa.scalar(None, pa.string()), texts)
