"""Graded pairs: what three raters made of the true grade.

Shape suffixes: P judged pairs, R raters of a pair.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.simulator import rates
from omnifeat.simulator.entities import Entities
from omnifeat.simulator.places import Places, up
from omnifeat.simulator.queries import Queries
from omnifeat.simulator.search import Candidates

__all__ = ["Judgments", "draw_bias", "draw_raters", "give_grades", "make_judgments", "true_grades"]

_BEST = len(rates.GRADE_COSINES)


@dataclass(frozen=True)
class Judgments:
    """P judged pairs: rows of queries and entities, kind (0 pin, 1 product), cosine, grade; raters, (P, R)."""

    query: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    entity: npt.NDArray[np.int64]
    cosine: npt.NDArray[np.float32]
    grade: npt.NDArray[np.int64]
    raters: npt.NDArray[np.int64]
    given: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.query)


def true_grades(cosine: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Grades 0 to 4: how many of `GRADE_COSINES` the cosine of two latent vectors reaches."""
    return np.searchsorted(np.array(rates.GRADE_COSINES, np.float32), cosine, side="right")


def make_judgments(
    rng: np.random.Generator,
    judged: int,
    queries: Queries,
    entities: tuple[Entities, Entities],
    candidates: tuple[Candidates, Candidates],
) -> Judgments:
    """Judge entities of popular and less popular queries: some found by words, some of the thing, the topic, any."""
    chosen = np.sort(rng.choice(len(queries), min(judged, len(queries)), replace=False, p=queries.popularity))
    concepts = queries.concepts.take(chosen)
    pairs: list[npt.NDArray[np.int64]] = []
    most = max(map(len, entities))
    for kind, one in enumerate(entities):
        places = Places(one.concepts, np.full(len(one), 1.0 / len(one)))
        width = candidates[kind].rows.shape[1]
        columns: list[npt.NDArray[np.integer]] = [
            candidates[kind].rows[chosen, rng.integers(width, size=len(chosen))] for _ in range(rates.JUDGED_MATCHED)
        ]
        columns += [places.draw(rng, up(concepts, 3)) for _ in range(rates.JUDGED_THING)]
        columns += [places.draw(rng, up(concepts, 2)) for _ in range(rates.JUDGED_TOPIC)]
        columns += [rng.integers(len(one), size=len(chosen)) for _ in range(rates.JUDGED_ANY)]
        picked = np.stack(columns, axis=1).astype(np.int64)
        keys = (chosen[:, None] * 2 + kind) * most + picked
        pairs.append(keys[picked >= 0])
    keys = np.unique(np.concatenate(pairs))
    query, kind_P, entity = keys // (2 * most), keys // most % 2, keys % most
    cosine = np.zeros(len(keys), np.float32)
    for kind, one in enumerate(entities):
        rows = np.flatnonzero(kind_P == kind)
        cosine[rows] = np.einsum("pd,pd->p", queries.latent[query[rows]], one.latent[entity[rows]])
    grade = true_grades(cosine)
    raters = draw_raters(rng, len(keys))
    given = give_grades(rng, grade, raters, draw_bias(rng))
    return Judgments(query, kind_P, entity, cosine, grade, raters, given)


def draw_raters(rng: np.random.Generator, pairs: int) -> npt.NDArray[np.int64]:
    """Which raters, of `RATERS`, judge each pair: (P, R), different ones, in ascending order."""
    return np.sort(np.argsort(rng.random((pairs, rates.RATERS)), axis=1)[:, : rates.RATERS_PER_PAIR], axis=1)


def draw_bias(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """What each rater is off by on average, in grades."""
    return np.asarray(rates.RATER_BIAS * rng.standard_normal(rates.RATERS))


def give_grades(
    rng: np.random.Generator,
    grade: npt.NDArray[np.int64],
    raters: npt.NDArray[np.int64],
    bias: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Grades (P, R) that the raters give to pairs of true grades (P,): with bias, noise, and some slips."""
    meant = grade[:, None] + bias[raters] + rates.RATER_NOISE * rng.standard_normal(raters.shape)
    given = np.clip(np.rint(meant), 0, _BEST)
    slip = rng.random(raters.shape) < rates.RATER_SLIP
    return np.where(slip, rng.integers(_BEST + 1, size=raters.shape), given)
