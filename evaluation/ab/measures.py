"""What the sessions of each arm did, brought to figures with intervals over queries.

A figure is a total over a total, such as fulfilled searches over searches. Whole queries are drawn with
replacement, and every arm is measured on the same draws, so that differences and gains are paired.

Shapes: B sessions, P places, Q queries of the world, M arms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from evaluation.ab.pages import Pages
from evaluation.ab.settings import FULFILLING, QUALITY
from evaluation.bootstrap import Interval
from evaluation.ratios import Ratios
from omnifeat.data.schema import ACTIONS
from omnifeat.simulator.behaviour import ABSENT, Behaviour, Sessions

__all__ = [
    "Compared",
    "NullTests",
    "Totals",
    "ad_totals",
    "compare",
    "fulfilment_totals",
    "gctr_totals",
    "null_tests",
    "organic_totals",
]

FloatArray = npt.NDArray[np.float64]

_FULFILLING = np.array([action in FULFILLING for action in ACTIONS])
_QUALITY = np.array([action in QUALITY for action in ACTIONS])


@dataclass(frozen=True)
class Totals:
    """One figure of one arm: per query, float64 (Q,), what is counted and over how many."""

    sums: FloatArray
    counts: FloatArray


@dataclass(frozen=True)
class Compared:
    """One figure of one arm: its value, its difference from the control, and that over the control's value."""

    value: Interval
    difference: Interval
    gain: Interval


@dataclass(frozen=True)
class NullTests:
    """A/A tests of the control with itself: the difference that each found, where none is to be found."""

    differences: tuple[Interval, ...]

    @property
    def excluding_zero(self) -> int:
        """Tests that took luck for a difference; of many, as large a share as the level leaves outside."""
        return sum(one.excludes_zero for one in self.differences)


def fulfilment_totals(people: Behaviour, sessions: Sessions, pages: Pages, *, mood: int = 0) -> Totals:
    """Fulfilled searches over searches."""
    return _fulfilment(people, sessions, people.react(sessions, pages.kinds, pages.rows, mood=mood))


def gctr_totals(people: Behaviour, sessions: Sessions, pages: Pages, places: Sequence[int], *, mood: int = 0) -> Totals:
    """Shown ads with a good click over shown ads; `places` are where the columns of the pages stand, from 1."""
    at = np.asarray(places, np.int64) - 1
    return _gctr(people, sessions, pages, people.react(sessions, pages.kinds, pages.rows, places=at, mood=mood))


def null_tests(totals: Callable[[int], Totals], tests: int, *, resamples: int, level: float, seed: int) -> NullTests:
    """Hold a figure of the control against itself in `tests` pairs of moods, each mood in one pair.

    Parameters
    ----------
    totals
        The figure in a mood, moods counted from 0.
    """
    if tests == 0:
        return NullTests(())
    moods = [totals(mood) for mood in range(2 * tests)]
    sums, counts = (np.column_stack([getattr(one, name) for one in moods]) for name in ("sums", "counts"))
    ratios = Ratios.make(sums, counts, resamples=resamples, level=level, seed=seed)
    return NullTests(tuple(ratios.combined(lambda figures: figures[..., 1::2] - figures[..., ::2]).intervals()))


def organic_totals(
    people: Behaviour, sessions: Sessions, pages: Pages, graded: FloatArray, *, mood: int = 0
) -> dict[str, Totals]:
    """Figures of an arm of Table 7.

    | figure | what it is |
    |---|---|
    | `fulfilment` | searches with a save, a long click or what is stronger, over searches |
    | `relevance` | mean grade, 0 to 1, of the first pins of the query's list, over searches |
    | `expected_fulfilment` | probability of a fulfilled search by the world's law, without the luck of the draw |
    | `engaged` | searches with any action, over searches |

    `graded` is float64 (Q,), the mean grade of each query's first pins; NaN where there are none, and then its searches
    are not counted in `relevance`.
    """
    done = people.react(sessions, pages.kinds, pages.rows, mood=mood)
    chances = people.chances(sessions, pages.kinds, pages.rows)[..., _FULFILLING].sum(axis=-1)
    queries = len(people.queries)
    fulfilment = _fulfilment(people, sessions, done)
    searches = fulfilment.counts
    known = ~np.isnan(graded)
    return {
        "fulfilment": fulfilment,
        "relevance": Totals(np.where(known, searches * np.nan_to_num(graded), 0.0), np.where(known, searches, 0.0)),
        "expected_fulfilment": Totals(_by_query(sessions, 1 - (1 - chances).prod(axis=1), queries), searches),
        "engaged": Totals(_by_query(sessions, (done != ABSENT).any(axis=1), queries), searches),
    }


def ad_totals(
    people: Behaviour, sessions: Sessions, pages: Pages, places: Sequence[int], grades: FloatArray, *, mood: int = 0
) -> dict[str, Totals]:
    """Figures of an arm of Table 8.

    | figure | what it is |
    |---|---|
    | `gctr` | shown ads with a good click (long click, cart or checkout), over shown ads |
    | `relevance` | grade of shown ads, 0 to 1, over shown ads |
    | `expected_gctr` | probability of a good click by the world's law, over shown ads |
    | `shown` | ads shown over searches |
    | `good_clicks` | good clicks over searches |

    `places` are where the columns of the pages stand, from 1; `grades` float64 (B, P), NaN at an empty place.
    """
    at = np.asarray(places, np.int64) - 1
    done = people.react(sessions, pages.kinds, pages.rows, places=at, mood=mood)
    chances = people.chances(sessions, pages.kinds, pages.rows, places=at)[..., _QUALITY].sum(axis=-1)
    queries = len(people.queries)
    gctr = _gctr(people, sessions, pages, done)
    clicks, shown = gctr.sums, gctr.counts
    searches = _by_query(sessions, np.ones(len(sessions)), queries)
    return {
        "gctr": gctr,
        "relevance": Totals(_by_query(sessions, np.nan_to_num(grades).sum(axis=1), queries), shown),
        "expected_gctr": Totals(_by_query(sessions, chances.sum(axis=1), queries), shown),
        "shown": Totals(shown, searches),
        "good_clicks": Totals(clicks, searches),
    }


def compare(
    arms: Mapping[str, Mapping[str, Totals]], control: str, *, resamples: int, level: float, seed: int
) -> dict[str, dict[str, Compared]]:
    """Arm -> figure -> value, difference from the control, and relative gain, on the same draws of queries."""
    names = list(arms)
    figures = list(arms[control])
    found: dict[str, dict[str, Compared]] = {name: {} for name in names}
    for figure in figures:
        sums = np.column_stack([arms[name][figure].sums for name in names])
        counts = np.column_stack([arms[name][figure].counts for name in names])
        ratios = Ratios.make(sums, counts, resamples=resamples, level=level, seed=seed)
        column = names.index(control)
        differences = ratios.less(column)
        gains = ratios.combined(partial(_relative, column=column))
        parts = zip(names, ratios.intervals(), differences.intervals(), gains.intervals(), strict=True)
        for name, value, difference, gain in parts:
            found[name][figure] = Compared(value, difference, gain)
    return found


def _relative(values: FloatArray, column: int) -> FloatArray:
    control = np.broadcast_to(values[..., [column]], values.shape)
    return np.divide(values - control, control, out=np.full(values.shape, np.nan), where=control > 0)


def _fulfilment(people: Behaviour, sessions: Sessions, done: npt.NDArray[np.int8]) -> Totals:
    queries = len(people.queries)
    fulfilled, every = _any(done, _FULFILLING), np.ones(len(sessions))
    return Totals(_by_query(sessions, fulfilled, queries), _by_query(sessions, every, queries))


def _gctr(people: Behaviour, sessions: Sessions, pages: Pages, done: npt.NDArray[np.int8]) -> Totals:
    queries = len(people.queries)
    clicks, shown = _is(done, _QUALITY).sum(axis=1), (pages.kinds >= 0).sum(axis=1)
    return Totals(_by_query(sessions, clicks, queries), _by_query(sessions, shown, queries))


def _is(done: npt.NDArray[np.int8], counting: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which actions (B, P) count; -1, for nothing, takes the last row, which never does."""
    return np.append(counting, False)[done]


def _any(done: npt.NDArray[np.int8], counting: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(_is(done, counting).any(axis=1))


def _by_query(sessions: Sessions, values: npt.NDArray[np.generic], queries: int) -> FloatArray:
    return np.bincount(sessions.query, weights=values.astype(np.float64), minlength=queries).astype(np.float64)
