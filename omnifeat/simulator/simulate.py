"""Make a dataset folder of a simulated world."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_limits

from omnifeat.cores import thread_count
from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.splits import TimeSplit
from omnifeat.errors import SettingError
from omnifeat.simulator import rates
from omnifeat.simulator.boards import Saves, make_boards, make_saves
from omnifeat.simulator.concepts import LatentSpace, draw_things
from omnifeat.simulator.earlier import STREAMS as EARLIER_STREAMS
from omnifeat.simulator.earlier import live_earlier
from omnifeat.simulator.entities import Entities, Eyes, make_entities
from omnifeat.simulator.evidence import START, Lists, most_frequent
from omnifeat.simulator.graph import graph_vectors, save_vectors
from omnifeat.simulator.judgments import make_judgments
from omnifeat.simulator.phrasebook import phrasebook
from omnifeat.simulator.queries import Queries, interests_table, make_queries, queries_table, words_by_query
from omnifeat.simulator.rates import SCALES, Scale
from omnifeat.simulator.search import Candidates, find_candidates, related_queries
from omnifeat.simulator.sessions import Engagements, make_surfaces, simulate_sessions
from omnifeat.simulator.sources import DEFAULT_SOURCES, SOURCES, mixed_candidates
from omnifeat.simulator.tables import (
    Names,
    board_tables,
    catalogue_parts,
    engagement_parts,
    impressions_table,
    judgments_table,
)
from omnifeat.simulator.truth import TRUTH_FOLDER, write_truth

__all__ = ["SCALES", "STEPS", "Scale", "SimulationResult", "simulate", "world_split"]

_STREAMS = (
    "space", "things", "eyes", "pins", "products", "queries", "words", "pin candidates", "product candidates",
    "related", "sessions", "boards", "saves", "pin table", "product table", "judgments",
    *EARLIER_STREAMS, "popular pins", "popular products",
)  # fmt: skip
_DAY = 86_400
STEPS = (
    "pins, products and queries", "candidates", "searches", "boards", "graph vectors", "the catalogue", "the truth",
)  # fmt: skip
_EARLY = (rates.DEVELOPMENT_FROM_DAY - rates.GAP_DAYS) * _DAY  # the training part ends here

Report = Callable[[str], None]
Streams = dict[str, np.random.Generator]


@dataclass(frozen=True)
class SimulationResult:
    """What was written: the folder, rows per table, notes that stand in `dataset.json` too, one of `SOURCES`."""

    path: Path
    counts: dict[str, int]
    notes: list[str]
    candidates: str


@dataclass(frozen=True)
class _Found:
    """What the engine has and finds: words of entities and queries, candidates of pins, products, related queries."""

    pairs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    typed: npt.NDArray[np.int64]
    candidates: tuple[Candidates, Candidates, Candidates]


def simulate(
    out: str | Path,
    *,
    scale: str = "small",
    seed: int = 0,
    candidates: str = DEFAULT_SOURCES,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Report = lambda step: None,
) -> SimulationResult:
    """Write a simulated dataset folder; the same settings give the same bytes, with any number of threads.

    Beside the tables stands a folder `truth/` with latent vectors, true grades and the state of every text. It is for
    checking results and for measuring the simulator; nothing that trains may read it.

    Parameters
    ----------
    out
        Folder to make.
    scale
        A key of `SCALES`.
    candidates
        One of `SOURCES`: whether the engine finds candidates by `words`, or has sources `mixed` as production has.
    threads
        Threads of the engine and of the sessions; as many as there are cores if None.
    progress
        Called with the name of each of `STEPS` as it begins.

    Raises
    ------
    SettingError
        For a scale or sources that do not exist, a seed that is negative or of more than 32 bits, or threads below 1.
    OutputError
        Where `out` cannot be written.
    """
    if scale not in SCALES:
        raise SettingError(f"Unknown scale '{scale}'; choose one of: {', '.join(SCALES)}.")
    if candidates not in SOURCES:
        raise SettingError(f"Unknown candidates '{candidates}'; choose one of: {', '.join(SOURCES)}.")
    if not 0 <= seed < 2**32:
        raise SettingError(f"The seed must be from 0 to {2**32 - 1}, but is {seed}.")
    workers = thread_count(threads)
    notes = [
        f"A simulated world of scale '{scale}': invented pins, products, queries and people.",
        "engaged_queries, board_titles, pinsage and itemsage come from before the development part of the split alone.",
        f"The folder {TRUTH_FOLDER}/ holds what the world knows of itself; nothing that trains reads it.",
    ]
    name = f"simulated-{scale}"
    if candidates == "mixed":  # a world of words is what it was before there were others, to the byte
        name += "-mixed"
        notes.append(
            "Its log comes from a search engine with mixed candidates: by words, nearest by an embedding of earlier "
            "behaviour, popular in the interest of the query (--candidates mixed)."
        )
    info = DatasetInfo(
        name=name, source="omnifeat simulate", licence="Apache-2.0", created_by="omnifeat simulate",
        seed=seed, split=world_split(), notes=notes,
    )  # fmt: skip
    # another number of BLAS threads gives other last digits
    with DatasetWriter(out, info, overwrite=overwrite) as writer, threadpool_limits(limits=1):
        _write_world(writer, SCALES[scale], seed, candidates, workers, progress)
    return SimulationResult(Path(out), writer.counts, notes, candidates)


def world_split() -> TimeSplit:
    """The split by time that every world has."""
    return TimeSplit(
        column="timestamp",
        development_from=START + timedelta(days=rates.DEVELOPMENT_FROM_DAY),
        test_from=START + timedelta(days=rates.TEST_FROM_DAY),
        gap_days=rates.GAP_DAYS,
    )


def _write_world(writer: DatasetWriter, scale: Scale, seed: int, sources: str, threads: int, progress: Report) -> None:
    # each part draws from a stream of its own, so that a change in one leaves the draws of the others alone
    seeds = np.random.SeedSequence(seed).spawn(len(_STREAMS))
    streams: Streams = dict(zip(_STREAMS, map(np.random.default_rng, seeds), strict=True))
    progress("pins, products and queries")
    space, things, eyes = LatentSpace(streams["space"]), draw_things(streams["things"]), Eyes(streams["eyes"])
    pins = make_entities(streams["pins"], "pin", scale.pins, space, things)
    products = make_entities(streams["products"], "product", scale.products, space, things)
    queries = make_queries(streams["queries"], scale.queries, space, things)
    entities = (pins, products)
    names = Names(pins, products, queries)
    progress("candidates")
    found = _search(streams, queries, entities, threads)
    if sources == "mixed":
        found = _mixed(streams, scale, queries, entities, things, found, seed, threads)
    progress("searches")
    surfaces = make_surfaces(queries, entities, found.candidates)
    engagements, shown, sessions = simulate_sessions(
        streams["sessions"], scale.engagements, scale.requests, queries, surfaces, scale.users, threads
    )
    del surfaces
    writer.write("engagements", engagement_parts(engagements, names))
    impressions = impressions_table(shown, queries, entities, engagements, found.typed, found.pairs, names)
    writer.write("impressions", impressions)
    judgments = make_judgments(streams["judgments"], scale.judged_queries, queries, entities, found.candidates[:2])
    writer.write("judgments", judgments_table(judgments, queries, names))
    del found, shown, impressions
    early = engagements.take(np.flatnonzero(engagements.seconds < _EARLY))
    del engagements
    progress("boards")
    boards = make_boards(streams["boards"], scale.boards, things)
    saves = make_saves(streams["saves"], scale.saves, boards, entities)
    board_table, save_parts = board_tables(boards, saves, names)
    writer.write("boards", board_table)
    writer.write("saves", save_parts)
    progress("graph vectors")
    early_saves = saves.take(np.flatnonzero(saves.seconds < _EARLY))
    sage = save_vectors(early_saves, (len(pins), len(products)), len(boards), seed)
    item_rows = early.kind == 1
    item = graph_vectors(early.entity[item_rows], early.query[item_rows], (len(products), len(queries)), seed)
    progress("the catalogue")
    for kind, one in enumerate(entities):
        lists = {
            "board_titles": _titles(early_saves, kind, len(one), boards.titles),
            "engaged_queries": _queries(early, kind, len(one), queries.texts),
        }
        vectors = {"pinsage": sage[kind]} | ({"itemsage": item} if kind else {})
        parts = catalogue_parts(streams[f"{one.entity_type} table"], one, space, eyes, lists, vectors)
        writer.write(f"{one.entity_type}s", parts)
    query_table, query_interests = queries_table(queries)
    writer.write("queries", query_table)
    writer.write("interests", interests_table())
    writer.write("query_interests", query_interests)
    progress("the truth")
    truth = writer.folder / TRUTH_FOLDER
    write_truth(truth, scale, sources, entities, queries, boards, judgments, names, sessions)


def _search(streams: Streams, queries: Queries, entities: tuple[Entities, Entities], threads: int) -> _Found:
    offsets, words, weights, typed = words_by_query(queries, streams["words"])
    pairs = tuple(phrasebook().word_pairs([one.title, one.description]) for one in entities)
    sizes = ((rates.MATCHED_PINS, rates.BROWSED_PINS), (rates.MATCHED_PRODUCTS, rates.BROWSED_PRODUCTS))
    candidates = [
        find_candidates(
            streams[f"{one.entity_type} candidates"], queries, (offsets, words, weights), one, pairs[kind],
            matched=sizes[kind][0], browsed=sizes[kind][1], threads=threads,
        )
        for kind, one in enumerate(entities)
    ]  # fmt: skip
    related = related_queries(streams["related"], queries, rates.RELATED_QUERIES)
    return _Found((pairs[0], pairs[1]), typed, (candidates[0], candidates[1], related))


def _mixed(
    streams: Streams,
    scale: Scale,
    queries: Queries,
    entities: tuple[Entities, Entities],
    things: npt.NDArray[np.float64],
    by_words: _Found,
    seed: int,
    threads: int,
) -> _Found:
    """What the engine finds with two sources more, which know what people did before the log."""
    words = by_words.candidates
    earlier = live_earlier(streams, scale, queries, entities, things, words, seed=seed, threads=threads)
    pins, products = (
        mixed_candidates(
            streams[f"popular {one.entity_type}s"], queries, one, words[kind], earlier, kind, threads=threads
        )
        for kind, one in enumerate(entities)
    )
    return replace(by_words, candidates=(pins, products, words[2]))


def _titles(saves: Saves, kind: int, number: int, titles: pa.Array) -> tuple[Lists, pa.Array]:
    """The most frequent titles, distinct: many boards have the same."""
    encoded = titles.dictionary_encode()
    rows = saves.kind == kind
    codes = encoded.indices.to_numpy()[saves.board[rows]]
    return most_frequent(
        saves.entity[rows], codes, number, len(encoded.dictionary), rates.KEPT_BOARD_TITLES
    ), encoded.dictionary


def _queries(early: Engagements, kind: int, number: int, texts: pa.Array) -> tuple[Lists, pa.Array]:
    rows = early.kind == kind
    return most_frequent(early.entity[rows], early.query[rows], number, len(texts), rates.KEPT_ENGAGED_QUERIES), texts
