"""Boards by theme, from a whole domain to one leaf, with the titles that people give them, and what is saved to them.

Shape suffixes: B boards, M saves.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.simulator import rates
from omnifeat.simulator.concepts import ABSENT, Concepts, IntArray, draw_concepts, zipf
from omnifeat.simulator.entities import Entities
from omnifeat.simulator.lexicon import lexicon
from omnifeat.simulator.phrasebook import render
from omnifeat.simulator.places import Places, up
from omnifeat.simulator.wording import phrase

__all__ = ["Boards", "Saves", "make_boards", "make_saves"]

_SECONDS = rates.DAYS * 86_400
NORMAL, GENERIC, WRONG = range(3)


@dataclass(frozen=True)
class Boards:
    """B boards: themes, titles, and how the titles came about (NORMAL, GENERIC, WRONG)."""

    themes: Concepts
    locales: IntArray
    titles: pa.Array
    title_state: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.locales)


@dataclass(frozen=True)
class Saves:
    """M saves in order of time, each pair of board and entity once; `kind` is 0 for pins, 1 for products."""

    board: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    entity: npt.NDArray[np.int32]
    seconds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.board)

    def take(self, rows: npt.NDArray[np.integer] | slice) -> "Saves":
        """These rows."""
        return Saves(self.board[rows], self.kind[rows], self.entity[rows], self.seconds[rows])


def make_boards(rng: np.random.Generator, number: int, things: npt.NDArray[np.float64]) -> Boards:
    """Draw boards. One of a topic or thing may have a taste: an attribute that its pins share and its title names."""
    level = 1 + rng.choice(
        4, size=number, p=(rates.BOARD_DOMAIN, rates.BOARD_TOPIC, rates.BOARD_THING, rates.BOARD_LEAF)
    )
    full = draw_concepts(rng, number, things, attribute_rate=1.0)
    themes = up(full, level)
    taste = (level >= 2) & (level <= 3) & (rng.random(number) < rates.BOARD_HAS_TASTE)
    attributes = themes.attributes.copy()
    attributes[level == 4, 1:] = ABSENT
    attributes[taste, 1] = full.attributes[taste, 1]
    themes = Concepts(themes.domains, themes.topics, themes.things, themes.leaves, attributes)
    locales = rng.choice(len(rates.COUNTRIES), size=number, p=rates.COUNTRY_SHARES).astype(np.int32)
    shares = (rates.BOARD_TITLE_GENERIC, rates.BOARD_TITLE_WRONG)
    state = rng.choice(3, size=number, p=(1 - sum(shares), *shares)).astype(np.int8)
    told = np.where(state == WRONG, rng.integers(number, size=number), np.arange(number))
    texts = render(phrase(themes.take(told), locales, rng)).to_pylist()
    forms, generic = lexicon().phrases["board"], lexicon().phrases["generic_board"]
    form = rng.integers(len(forms), size=number)
    plain = rng.integers(len(generic), size=number)
    capital = rng.random(number) < 0.5
    titles = []
    for row, text in enumerate(texts):
        locale = locales[row]
        title = generic[plain[row]][locale] if state[row] == GENERIC else forms[form[row]][locale].format(text)
        titles.append(title[0].upper() + title[1:] if capital[row] else title)
    return Boards(themes, locales, pa.array(titles, pa.string()), state)


def make_saves(rng: np.random.Generator, number: int, boards: Boards, entities: tuple[Entities, Entities]) -> Saves:
    """Draw saves: mostly by popularity below the board's theme, now and then anything; after the entity appeared."""
    sizes = rng.permutation(zipf(len(boards), rates.BOARD_SIZE_EXPONENT))
    cumulated = np.cumsum(sizes)
    places = [Places(one.concepts, one.popularity) for one in entities]
    everywhere = [np.cumsum(one.popularity) for one in entities]
    kept = np.empty(0, np.int64)
    most = max(map(len, entities))
    while len(kept) < number:
        tried = int(1.1 * (number - len(kept))) + 100
        board = np.minimum(np.searchsorted(cumulated, rng.random(tried) * cumulated[-1]), len(boards) - 1)
        kind = (rng.random(tried) < rates.SAVED_PRODUCTS).astype(np.int64)
        entity = np.zeros(tried, np.int64)
        for which, one in enumerate(entities):
            rows = np.flatnonzero(kind == which)
            entity[rows] = _on_theme(rng, boards.themes.take(board[rows]), one, places[which])
            off = rows[rng.random(len(rows)) < rates.SAVE_OFF_THEME]
            points = rng.random(len(off)) * everywhere[which][-1]
            entity[off] = np.minimum(np.searchsorted(everywhere[which], points), len(one) - 1)
        # one number for a pair, so that each is kept once, in the order in which it came
        pairs = np.concatenate([kept, (board * 2 + kind) * most + entity])
        _, first = np.unique(pairs, return_index=True)
        kept = pairs[np.sort(first)][:number]
    board, kind, entity = kept // (2 * most), kept // most % 2, kept % most
    born = np.where(kind == 0, entities[0].born[np.where(kind == 0, entity, 0)], 0)
    born = np.where(kind == 1, entities[1].born[np.where(kind == 1, entity, 0)], born)
    seconds = born + (rng.random(number) * (_SECONDS - born)).astype(np.int64)
    order = np.argsort(seconds, kind="stable")
    saves = Saves(board.astype(np.int32), kind.astype(np.int8), entity.astype(np.int32), seconds)
    return saves.take(order)


def _on_theme(rng: np.random.Generator, themes: Concepts, entities: Entities, places: Places) -> npt.NDArray[np.int64]:
    found = places.draw(rng, themes)
    taste = np.where(themes.leaves >= 0, ABSENT, themes.attributes[:, 1])
    for _ in range(rates.BOARD_TASTE_DRAWS - 1):
        other = np.flatnonzero((taste >= 0) & ~(entities.concepts.attributes[found] == taste[:, None]).any(axis=1))
        found[other] = places.draw(rng, themes.take(other))
    return found
