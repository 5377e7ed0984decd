"""What the world knows of itself, for the folder `truth/`: to check results and measure the world, never to train."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnifeat.data.artefacts import checked, read_object
from omnifeat.errors import DataError
from omnifeat.simulator import rates
from omnifeat.simulator.boards import Boards
from omnifeat.simulator.concepts import Concepts, FloatArray
from omnifeat.simulator.entities import Entities, entity_ids, vector_lists
from omnifeat.simulator.judgments import Judgments
from omnifeat.simulator.queries import Queries
from omnifeat.simulator.tables import Names

__all__ = ["TRUTH_FOLDER", "read_truth_notes", "write_truth"]

TRUTH_FOLDER = "truth"
_STATES = pa.array(["normal", "missing", "generic", "wrong"])
_OF_MIXED = ("MIXED_PINS", "MIXED_PRODUCTS", "EARLIER_LENGTH")  # rates that a world of words alone does not have
_BOARD_STATES = pa.array(["normal", "generic", "wrong"])


def write_truth(
    folder: Path,
    scale: rates.Scale,
    sources: str,
    entities: tuple[Entities, Entities],
    queries: Queries,
    boards: Boards,
    judgments: Judgments,
    names: Names,
    sessions: int,
) -> None:
    """Write the truth as Parquet tables, and the scale and every rate that the world has as `rates.json`.

    `sources` says where candidates came from; of words alone nothing is written, as before there were others.
    """
    folder.mkdir()
    for one in entities:
        own = {
            "title_state": _STATES.take(pa.array(one.title_state)),
            "description_state": _STATES.take(pa.array(one.description_state)),
            "attractive": pa.array(one.attractive),
            "born_seconds": pa.array(one.born),
            "popularity": pa.array(one.popularity),
        }
        ids = entity_ids(one.entity_type, len(one))
        _write_latent(folder / f"{one.entity_type}_latent.parquet", ids, one.concepts, one.latent, own)
    own = {
        "meant": queries.meant,
        "misspelled": pa.array(queries.misspelled),
        "popularity": pa.array(queries.popularity),
    }
    _write_latent(folder / "query_latent.parquet", queries.texts, queries.concepts, queries.latent, own)
    board_ids = pa.array([f"board-{row}" for row in range(len(boards))], pa.string())
    themes = {"id": board_ids, **_nodes(boards.themes), "title_state": _BOARD_STATES.take(pa.array(boards.title_state))}
    pq.write_table(pa.table(themes), folder / "boards.parquet")
    grades = {
        "query": names.queries.take(pa.array(judgments.query)),
        "entity_id": names.ids(judgments.kind, judgments.entity),
        "entity_type": names.types(judgments.kind),
        "grade": pa.array(judgments.grade.astype(np.float64)),
        "cosine": pa.array(judgments.cosine),
    }
    pq.write_table(pa.table(grades), folder / "grades.parquet")
    mixed = sources == "mixed"
    left_out = {"SCALES", *(() if mixed else _OF_MIXED)}
    said = {name: value for name, value in vars(rates).items() if name.isupper() and name not in left_out}
    content = {"scale": asdict(scale), "sessions": sessions, "rates": said} | ({"candidates": sources} if mixed else {})
    (folder / "rates.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_truth_notes(world: str | Path, names: Sequence[str], without: str) -> dict[str, Any]:
    """What `rates.json` says of a world: `scale`, `sessions` and `rates`.

    Parameters
    ----------
    world
        Folder that `omnifeat simulate` wrote.
    names
        Rates that must be what they are now.
    without
        What cannot be done without the truth, as the message says it: "so no rater can judge its pairs".

    Raises
    ------
    DataError
        If the folder holds no truth, or that of a world made with other rates.
    """
    path = Path(world) / TRUTH_FOLDER / "rates.json"
    remedy = "give a folder that omnifeat simulate wrote"
    if not path.exists():
        raise DataError(f"{world} holds no {TRUTH_FOLDER}/rates.json of a simulated world, {without}; {remedy}")
    notes = read_object(path, remedy=remedy)
    said = checked(dict[str, Any], notes.get("rates"), where=f"{path}, rates", remedy=remedy)
    now = json.loads(json.dumps({name: getattr(rates, name) for name in names}))
    other = next((name for name in names if said.get(name) != now[name]), None)
    if other is not None:
        raise DataError(
            f"{path} says that {other} was {said.get(other)} when this world was made, and now it is {now[other]}; "
            "simulate the world anew"
        )
    return notes


def _write_latent(
    path: Path, ids: pa.Array, concepts: Concepts, latent: FloatArray, own: dict[str, pa.Array], part: int = 65_536
) -> None:
    nodes = _nodes(concepts)
    writer: pq.ParquetWriter | None = None
    try:
        for start in range(0, len(ids), part):
            rows = slice(start, start + part)
            columns = {name: array[rows] for name, array in {"id": ids, **nodes, **own}.items()}
            table = pa.table(columns | {"latent": vector_lists(latent[rows])})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _nodes(concepts: Concepts) -> dict[str, pa.Array]:
    return {
        "domain": pa.array(concepts.domains),
        "topic": pa.array(concepts.topics),
        "thing": pa.array(concepts.things),
        "leaf": pa.array(concepts.leaves),
    }
