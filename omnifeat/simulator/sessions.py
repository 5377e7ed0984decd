"""Searches one by one: who searches for what and when, what is shown at which position, and what is done.

Every session draws from numbers of its own, a hash of the seed and its number, so that threads change nothing; the law
of what it does lies in `omnifeat.simulator.acts`.

Shape suffixes: B sessions of a block, P positions.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.simulator import rates
from omnifeat.simulator.acts import LAW, liking_factors, run_sessions, wanted_shares
from omnifeat.simulator.concepts import ABSENT, FloatArray
from omnifeat.simulator.entities import Entities
from omnifeat.simulator.queries import Queries
from omnifeat.simulator.search import Candidates, in_blocks

__all__ = [
    "ABSENT_ACTION",
    "Engagements",
    "Shown",
    "Surface",
    "draw_people",
    "draw_times",
    "languages",
    "make_surfaces",
    "simulate_sessions",
]

_SECONDS = rates.DAYS * 86_400
_BLOCK = 8192  # sessions a thread takes at once
ABSENT_ACTION = -1
_QUERY = 2


@dataclass(frozen=True)
class Surface:
    """What sessions of one kind can show: candidates, and for each the wish for it and the entity's side of things."""

    candidates: Candidates
    wanted: FloatArray  # (Q, K): probability that one who looks at it wants it
    factor: FloatArray  # (Q, K): attractiveness and language
    born: npt.NDArray[np.int64]  # (N,)


@dataclass(frozen=True)
class Engagements:
    """E engagements in order of time, as numbers: rows of queries and entities, places in ENTITY_TYPES and ACTIONS."""

    query: npt.NDArray[np.int32]
    entity: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    action: npt.NDArray[np.int8]
    seconds: npt.NDArray[np.int32]
    country: npt.NDArray[np.int8]
    user: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.query)

    def take(self, rows: npt.NDArray[np.integer] | slice) -> "Engagements":
        """These rows."""
        return Engagements(
            self.query[rows], self.entity[rows], self.kind[rows], self.action[rows], self.seconds[rows],
            self.country[rows], self.user[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """Sessions that stand in `impressions`, (B, P): rows shown (-1 for none), what was done (-1 for nothing)."""

    query: npt.NDArray[np.int32]  # (B,)
    kind: npt.NDArray[np.int8]  # (B,)
    seconds: npt.NDArray[np.int64]  # (B,)
    rows: npt.NDArray[np.int32]
    actions: npt.NDArray[np.int8]
    scores: FloatArray


def make_surfaces(
    queries: Queries, entities: tuple[Entities, Entities], candidates: tuple[Candidates, Candidates, Candidates]
) -> tuple[Surface, Surface, Surface]:
    """The surfaces of pins, products and related queries."""
    surfaces = []
    sides = [(one.latent, languages(one.locales), one.attractive, one.born) for one in entities]
    nothing = np.zeros(len(queries), np.int64)
    asked = languages(queries.locales)
    sides.append((queries.latent, asked, np.ones(len(queries), np.float32), nothing))
    for kind, (found, (latent, spoken, attractive, born)) in enumerate(zip(candidates, sides, strict=True)):
        wanted = np.zeros(found.rows.shape, np.float32)
        factor = np.zeros(found.rows.shape, np.float32)
        for place in range(found.rows.shape[1]):
            rows = found.rows[:, place]
            cosine = np.einsum("qd,qd->q", queries.latent, latent[rows])
            wanted[:, place] = wanted_shares(cosine)
            factor[:, place] = liking_factors(kind, attractive[rows], spoken[rows] == asked)
        surfaces.append(Surface(found, wanted, factor, born))
    return surfaces[0], surfaces[1], surfaces[2]


def languages(locales: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """0 for English, 1 for French, 2 for German, for places in COUNTRIES."""
    return np.array([0, 0, 1, 2], np.int32)[locales]


def draw_times(rng: np.random.Generator, number: int, first_day: int = 0) -> npt.NDArray[np.int64]:
    """Seconds since the first day: more in the evening than at night, more on weekends. The first day is a Monday.

    Moments lie on `first_day` or later.
    """
    hours = np.arange(first_day * 24, rates.DAYS * 24)
    weight = 1.1 - np.cos((hours % 24 - 6) * np.pi / 12 - np.pi / 3)  # lowest in the early morning
    weight *= np.where((hours // 24) % 7 >= 5, rates.WEEKEND, 1.0)
    cumulated = np.concatenate([[0.0], np.cumsum(weight)])
    points = rng.random(number) * cumulated[-1]
    hour = np.clip(np.searchsorted(cumulated, points, side="right") - 1, 0, len(hours) - 1)
    within = (points - cumulated[hour]) / weight[hour]
    return np.minimum(((hours[hour] + within) * 3600).astype(np.int64), _SECONDS - 1)


def simulate_sessions(
    rng: np.random.Generator,
    number: int,
    requests: int,
    queries: Queries,
    surfaces: tuple[Surface, Surface, Surface],
    users: int,
    threads: int,
) -> tuple[Engagements, Shown, int]:
    """Run sessions until there are `number` engagements.

    Returns the engagements in order of time, the first `requests` sessions that showed pins or products, and how many
    sessions there were. Sessions come in no order of time, so that the first ones are a fair sample.
    """
    seed = np.uint64(rng.integers(2**63))
    cumulated = np.cumsum(queries.popularity)
    block = int(np.clip(number // 2, 2_000, 400_000))
    parts: list[Engagements] = []
    shown: list[Shown] = []
    total = sessions = 0
    left = requests
    while total < number:
        query = np.minimum(np.searchsorted(cumulated, rng.random(block) * cumulated[-1]), len(queries) - 1)
        kind = rng.choice(3, size=block, p=rates.SURFACE_SHARES).astype(np.int8)
        seconds = draw_times(rng, block)
        country, user = draw_people(rng, queries.locales[query], users)
        rows, actions, scores = _show(surfaces, query, kind, seconds, sessions, seed, threads)
        session, position = np.nonzero(actions >= 0)
        parts.append(
            Engagements(
                query[session].astype(np.int32), rows[session, position], kind[session], actions[session, position],
                seconds[session].astype(np.int32), country[session], user[session],
            )
        )  # fmt: skip
        total += len(session)
        sessions += block
        if left > 0 or not shown:  # the first block gives its columns even where no request is asked for
            told = np.flatnonzero((kind != _QUERY) & (rows[:, 0] >= 0))[:left]
            shown.append(
                Shown(query[told].astype(np.int32), kind[told], seconds[told], rows[told], actions[told], scores[told])
            )
            left -= len(told)
    names = ("query", "entity", "kind", "action", "seconds", "country", "user")
    together = {name: np.concatenate([getattr(part, name) for part in parts])[:number] for name in names}
    parts.clear()
    order = np.argsort(together["seconds"], kind="stable")
    engagements = Engagements(**{name: values[order] for name, values in together.items()})
    fields = ("query", "kind", "seconds", "rows", "actions", "scores")
    return engagements, Shown(*(np.concatenate([getattr(part, name) for part in shown]) for name in fields)), sessions


def _show(
    surfaces: tuple[Surface, Surface, Surface],
    query_B: npt.NDArray[np.int64],
    kind_B: npt.NDArray[np.int8],
    seconds_B: npt.NDArray[np.int64],
    first: int,
    seed: np.uint64,
    threads: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8], FloatArray]:
    """What a block of sessions shows, what is done with it, and the engine's scores, each (B, P)."""
    shape = (len(query_B), rates.SHOWN)
    rows = np.full(shape, ABSENT, np.int32)
    actions = np.full(shape, ABSENT_ACTION, np.int8)
    scores = np.zeros(shape, np.float32)

    def work(start: int, stop: int) -> None:
        for place, surface in enumerate(surfaces):
            sessions = start + np.flatnonzero(kind_B[start:stop] == place)
            run_sessions(
                sessions, first, seed, place, LAW, query_B, seconds_B, surface.candidates.rows,
                surface.candidates.scores, surface.wanted, surface.factor, surface.born, rows, actions, scores,
            )  # fmt: skip

    in_blocks(work, len(query_B), _BLOCK, threads)
    return rows, actions, scores


def draw_people(
    rng: np.random.Generator, locale_B: npt.NDArray[np.int32], users: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Country of each session, the query's own mostly, and a user of that country; few users search much."""
    number = len(locale_B)
    anywhere = rng.choice(len(rates.COUNTRIES), size=number, p=rates.COUNTRY_SHARES)
    country = np.where(rng.random(number) < rates.ABROAD, anywhere, locale_B)
    ends = np.round(np.concatenate([[0.0], np.cumsum(rates.COUNTRY_SHARES)]) * users).astype(np.int64)
    first, last = ends[country], np.maximum(ends[country + 1], ends[country] + 1)
    user = first + ((last - first) * rng.random(number) ** 2).astype(np.int64)
    return country.astype(np.int8), np.minimum(user, users - 1).astype(np.int32)
