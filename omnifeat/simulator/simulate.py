"""Make a dataset folder of a simulated world, with the truth about it in a folder of its own."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.splits import TimeSplit
from omnifeat.errors import SettingError
from omnifeat.simulator.behaviour import START, attach_lists, make_boards, make_engagements, make_judgments
from omnifeat.simulator.concepts import LatentSpace
from omnifeat.simulator.entities import (
    Population,
    Projections,
    interests_table,
    make_pins,
    make_products,
    make_queries,
    thing_probabilities,
    vector_column,
)
from omnifeat.simulator.impressions import make_impressions

__all__ = ["SCALES", "Scale", "SimulationResult", "World", "make_world", "simulate"]

TRUTH_FOLDER = "truth"
_STREAMS = (
    "space", "things", "projections", "pins", "products", "queries", "engagements", "boards", "impressions",
    "judgments",
)  # fmt: skip
_DEVELOPMENT_FROM_DAY, _TEST_FROM_DAY, _GAP_DAYS = 68, 79, 2


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How many of each thing a world has."""

    pins: int
    products: int
    queries: int
    boards: int
    saves: int
    engagements: int
    requests: int
    judged_queries: int
    users: int


SCALES: dict[str, Scale] = {
    "tiny": Scale(
        pins=400, products=150, queries=200, boards=60, saves=1_200, engagements=6_000, requests=300,
        judged_queries=40, users=100,
    ),
    "small": Scale(
        pins=8_000, products=3_000, queries=3_000, boards=1_000, saves=24_000, engagements=80_000, requests=4_000,
        judged_queries=250, users=2_000,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """The tables of a dataset folder, and the tables that only the simulator knows."""

    tables: dict[str, pa.Table]
    truth: dict[str, pa.Table]
    split: TimeSplit


@dataclass(frozen=True)
class SimulationResult:
    """What was written: the folder, rows per table, notes that stand in `dataset.json` too."""

    path: Path
    counts: dict[str, int]
    notes: list[str]


def simulate(out: str | Path, *, scale: str = "small", seed: int = 0, overwrite: bool = False) -> SimulationResult:
    """Write a simulated dataset folder; the same scale and seed give the same bytes.

    Beside the tables stands a folder `truth/` with the latent vectors and true grades. It is for checking results
    and for measuring the simulator; nothing that trains may read it.

    Raises
    ------
    SettingError
        For a scale that does not exist or a negative seed.
    OutputError
        Where `out` cannot be written.
    """
    if scale not in SCALES:
        raise SettingError(f"Unknown scale '{scale}'; choose one of: {', '.join(SCALES)}.")
    if seed < 0:
        raise SettingError(f"The seed must not be negative, but is {seed}.")
    world = make_world(SCALES[scale], seed)
    notes = [
        f"A simulated world of scale '{scale}': invented pins, products, queries and people.",
        "Image embeddings, pinsage and itemsage are noisy rotations of latent vectors, from no graph and no image.",
        "engaged_queries, board_titles and f_popularity come from the training part of the time split alone.",
        f"The folder {TRUTH_FOLDER}/ holds what the world knows of itself; nothing that trains reads it.",
    ]
    info = DatasetInfo(
        name=f"simulated-{scale}", source="omnifeat simulate", licence="Apache-2.0", created_by="omnifeat simulate",
        seed=seed, split=world.split, notes=notes,
    )  # fmt: skip
    with DatasetWriter(out, info, overwrite=overwrite) as writer:
        for name, table in world.tables.items():
            writer.write(name, table)
        folder = writer.folder / TRUTH_FOLDER
        folder.mkdir()
        for name, table in world.truth.items():
            pq.write_table(table, folder / f"{name}.parquet")
    return SimulationResult(Path(out), {name: table.num_rows for name, table in world.tables.items()}, notes)


def make_world(scale: Scale, seed: int) -> World:
    """Make all tables in memory.

    Each part draws from a random stream of its own, so that a change in one leaves the draws of the others alone.
    """
    seeds = np.random.SeedSequence(seed).spawn(len(_STREAMS))
    streams = dict(zip(_STREAMS, map(np.random.default_rng, seeds), strict=True))
    space = LatentSpace(streams["space"])
    things = thing_probabilities(streams["things"])
    projections = Projections(streams["projections"])
    pins = make_pins(streams["pins"], scale.pins, space, projections, things)
    products = make_products(streams["products"], scale.products, space, projections, things)
    queries = make_queries(streams["queries"], scale.queries, space, things)
    populations = {"pin": pins.population, "product": products.population, "query": queries.population}
    catalogue = [pins.population, products.population]

    engagements = make_engagements(
        streams["engagements"], scale.engagements, queries.population, populations, scale.users
    )
    boards, saves = make_boards(streams["boards"], scale.boards, scale.saves, space, things, catalogue)
    split = TimeSplit(
        column="timestamp",
        development_from=START + timedelta(days=_DEVELOPMENT_FROM_DAY),
        test_from=START + timedelta(days=_TEST_FROM_DAY),
        gap_days=_GAP_DAYS,
    )
    # what the encoders read of behaviour ends where training ends
    engagements_before = _training_part(engagements, split)
    saves_before = _training_part(saves, split)
    judgments, true_grades = make_judgments(streams["judgments"], scale.judged_queries, queries.population, catalogue)
    tables = {
        "pins": attach_lists(pins.table, "pin", engagements_before, saves_before, boards),
        "products": attach_lists(products.table, "product", engagements_before, saves_before, boards),
        "queries": queries.table,
        "engagements": engagements,
        "boards": boards,
        "saves": saves,
        "judgments": judgments,
        "impressions": make_impressions(
            streams["impressions"], scale.requests, queries.population, [pins, products], engagements_before
        ),
        "interests": interests_table(),
        "query_interests": _query_interests(queries.table),
    }
    truth = {f"{kind}_latent": _latent_table(population) for kind, population in populations.items()}
    return World(tables, truth | {"grades": true_grades}, split)


def _training_part(table: pa.Table, split: TimeSplit) -> pa.Table:
    return table.filter(pc.equal(split.assign(table), "train"))


def _latent_table(population: Population) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(population.ids, pa.string()),
            "topic": pa.array(population.concepts.topics, pa.int64()),
            "thing": pa.array(population.concepts.things, pa.int64()),
            "popularity": pa.array(population.popularity, pa.float64()),
            "latent": vector_column(population.latent),
        }
    )


def _query_interests(queries: pa.Table) -> pa.Table:
    rows = [
        (query, interest)
        for query, interests in zip(queries["query"].to_pylist(), queries["interests"].to_pylist(), strict=True)
        for interest in interests
    ]
    return pa.table(
        {
            "query": pa.array([query for query, _ in rows], pa.string()),
            "interest_id": pa.array([interest for _, interest in rows], pa.string()),
        }
    )
