"""A simulated A/B test: the models of both encoders, the stacks of all arms, and the same searches in each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from evaluation.ab.arms import CONTROL, ads_arms, advertised, organic_arms
from evaluation.ab.embeddings import Embeddings
from evaluation.ab.grading import first_of_type, grade_lists, mean_grades
from evaluation.ab.measures import (
    Compared,
    NullTests,
    Totals,
    ad_totals,
    compare,
    fulfilment_totals,
    gctr_totals,
    null_tests,
    organic_totals,
)
from evaluation.ab.pages import Pages, WorldRows, first_there
from evaluation.ab.second_opinions import Counterfactual, Interleaved, interleaved, off_policy
from evaluation.ab.settings import AbSettings
from evaluation.judges import PanelJudge
from omnifeat.data.dataset import Dataset
from omnifeat.frozen import FrozenEncoder
from omnifeat.simulator.behaviour import Behaviour, Sessions
from ranking.rank_features import RankFeatures
from ranking.stack import Catalogue, Remembered, SearchResults, SearchStack, measure_latency

__all__ = ["AA_MOOD", "AA_SAME", "AbResult", "run_ab"]

AA_SAME = "A/A, same numbers"
AA_MOOD = "A/A, other numbers"
_LATENCY_QUERIES = 50

Report = Callable[[str], None]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AbResult:
    """What a simulated A/B test found.

    Attributes
    ----------
    arms
        Arm -> figure -> value, difference and gain beside the control. Two of them are A/A: the control run anew with
        the same numbers, and with others.
    nulls
        More A/A tests of the control with other numbers on either side, in the first figure of the table.
    interleaved
        Arm -> how it does against the control on one page; for organic arms.
    exponent, requests, counterfactual
        Of the estimates from the log; null without them.
    sessions, queries, candidates
        Searches of each arm, their distinct queries, mean candidates of a query in the control.
    latency
        Stage -> p50 and p90 in milliseconds of the control, query by query.
    traces
        Of the control's first results of the most frequent query, as lines.
    """

    arms: Mapping[str, Mapping[str, Compared]]
    nulls: NullTests
    interleaved: Mapping[str, Interleaved] = field(default_factory=dict)
    exponent: float | None = None
    requests: int = 0
    counterfactual: Mapping[str, Counterfactual] = field(default_factory=dict)
    sessions: int
    queries: int
    candidates: float
    advertised: int = 0
    latency: Mapping[str, Mapping[str, float]]
    traces: tuple[str, ...]


def run_ab(
    dataset: Dataset,
    world: str,
    encoder: FrozenEncoder,
    reference: FrozenEncoder,
    settings: AbSettings,
    progress: Report = lambda step: None,
) -> AbResult:
    """Run every arm on the same searches of the world's people, in the days of the test part.

    Parameters
    ----------
    dataset
        Pairs of the world: pins, products, a log, impressions, judgments, a split.
    world
        Folder that `omnifeat simulate` wrote, with its `truth/`. People and raters read it; no model does.
    encoder, reference
        Ours, and the one in whose place it is put.
    settings
        What is compared and how.
    progress
        Called with what is done next.

    Raises
    ------
    DataError
        If the dataset lacks a table, or the world does not know its entities.
    SettingError
        If an encoder has not the embeddings that are asked for.
    """
    people, judge = Behaviour(world, settings.seed), PanelJudge(world, settings.seed)
    organic = settings.kind == "organic"
    catalogue = Catalogue.of(dataset, ("pin", "product") if organic else ("product",))
    world_rows = WorldRows(people, catalogue)
    sessions = people.draw(settings.sessions)
    progress("encoding the catalogue")
    theirs = Embeddings("reference", reference, dataset, catalogue, settings.reference_entities)
    ours = Embeddings("encoder", encoder, dataset, catalogue, "learned")
    progress("indexing text and counting the log")
    with RankFeatures.from_dataset(dataset, threads=settings.threads) as shared:
        make = organic_arms if organic else ads_arms
        stacks = make(dataset, catalogue, shared, theirs, ours, settings, progress)
        asked = np.unique(sessions.query)
        queries = [people.queries[row] for row in asked]
        found: dict[str, SearchResults] = {}
        for name, stack in {**stacks, AA_SAME: stacks[CONTROL]}.items():
            progress(f"searching {len(queries):,} queries: {name}")
            found[name] = stack.search_many(queries)
        place = np.searchsorted(asked, sessions.query)
        arms = _Arms(people, sessions, world_rows, catalogue, judge, settings, queries, asked, place)
        progress("looking at what people do")
        totals = arms.organic(found) if organic else arms.ads(found)
        nulls = arms.nulls(found[CONTROL])
        compared = compare(totals, CONTROL, resamples=settings.resamples, level=settings.level, seed=settings.seed)
        beside: dict[str, Interleaved] = {}
        exponent, requests, counterfactual = None, 0, dict[str, Counterfactual]()
        if organic:
            progress("interleaving, and estimates from the log")
            control = arms.lists(found[CONTROL])
            beside = {
                name: interleaved(people, sessions, arms.lists(found[name]), control, settings)
                for name in (*list(stacks)[1:], AA_SAME)
            }
            rankers = {"reference": stacks[CONTROL].l2, "encoder": stacks["all"].l2}
            exponent, requests, counterfactual = off_policy(dataset, people, rankers, settings)
        often = int(np.bincount(place).argmax())
        return AbResult(
            arms=compared,
            nulls=nulls,
            interleaved=beside,
            exponent=exponent,
            requests=requests,
            counterfactual=counterfactual,
            sessions=len(sessions),
            queries=len(queries),
            advertised=0 if organic else len(advertised(catalogue, settings)),
            candidates=float(found[CONTROL].candidates.mean()),
            latency=_latency(stacks[CONTROL], queries, settings),
            traces=tuple(f"{queries[often]}: {one.explain()}" for one in found[CONTROL].of(often)[:5]),
        )


@dataclass(frozen=True)
class _Arms:
    """The searches, which all arms share."""

    people: Behaviour
    sessions: Sessions
    world: WorldRows
    catalogue: Catalogue
    judge: PanelJudge
    settings: AbSettings
    queries: list[str]
    asked: IntArray  # (U,) rows of the queries in the world
    place: IntArray  # (B,) of each session's query among them

    def lists(self, results: SearchResults) -> Pages:
        """What each session's list holds that exists at its moment, a page long."""
        size = 2 * (self.settings.page if self.settings.kind == "organic" else len(self.settings.ad_places))
        whole = self.world.pages(results.pages(size)[self.place])
        return first_there(self.people, self.sessions, whole, size // 2)

    def organic(self, found: Mapping[str, SearchResults]) -> dict[str, dict[str, Totals]]:
        settings = self.settings
        firsts = {
            name: first_of_type(one.pages(2 * settings.page), self.catalogue, "pin", settings.graded)
            for name, one in found.items()
        }
        grades = grade_lists(firsts, self.queries, self.catalogue, "pin", self.judge)
        totals = {}
        for name, one in found.items():
            graded = np.full(len(self.people.queries), np.nan)
            graded[self.asked] = mean_grades(grades[name])
            totals[name] = organic_totals(self.people, self.sessions, self.lists(one), graded)
            if name == AA_SAME:
                totals[AA_MOOD] = organic_totals(self.people, self.sessions, self.lists(one), graded, mood=1)
        return totals

    def ads(self, found: Mapping[str, SearchResults]) -> dict[str, dict[str, Totals]]:
        lists = {name: one.pages(2 * len(self.settings.ad_places)) for name, one in found.items()}
        grades = grade_lists(lists, self.queries, self.catalogue, "product", self.judge)
        totals = {}
        places = self.settings.ad_places
        for name, one in found.items():
            pages = self.lists(one)
            graded = self._shown_grades(pages, lists[name], grades[name])
            totals[name] = ad_totals(self.people, self.sessions, pages, places, graded)
            if name == AA_SAME:
                totals[AA_MOOD] = ad_totals(self.people, self.sessions, pages, places, graded, mood=1)
        return totals

    def nulls(self, control: SearchResults) -> NullTests:
        """A/A tests with moods that no arm is measured in."""
        settings, pages = self.settings, self.lists(control)

        def totals(mood: int) -> Totals:
            if settings.kind == "organic":
                return fulfilment_totals(self.people, self.sessions, pages, mood=mood + 2)
            return gctr_totals(self.people, self.sessions, pages, settings.ad_places, mood=mood + 2)

        return null_tests(
            totals, settings.null_tests, resamples=settings.resamples, level=settings.level, seed=settings.seed
        )

    def _shown_grades(
        self, pages: Pages, rows_UL: IntArray, grades_UL: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Grades (B, P) of what stands on the pages, found among the grades of the whole lists."""
        whole = self.world.pages(rows_UL).rows[self.place]  # (B, L)
        graded = np.full(pages.rows.shape, np.nan)
        for column in range(pages.rows.shape[1]):
            same = (whole == pages.rows[:, [column]]) & (rows_UL[self.place] >= 0)
            at = same.argmax(axis=1)
            there = pages.kinds[:, column] >= 0
            graded[there, column] = grades_UL[self.place[there], at[there]]
        return graded


def _latency(stack: SearchStack, queries: list[str], settings: AbSettings) -> Mapping[str, Mapping[str, float]]:
    """Of queries that are retrieved anew, because what was retrieved is kept."""
    fresh = tuple(one.retriever if isinstance(one, Remembered) else one for one in stack.retrievers)
    rng = np.random.default_rng([settings.seed, 13])
    chosen = rng.permutation(len(queries))[:_LATENCY_QUERIES]
    return measure_latency(replace(stack, retrievers=fresh), [queries[row] for row in chosen])
