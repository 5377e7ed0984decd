"""The world's arrays as the tables of a dataset folder, part by part."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.data.schema import ACTIONS, ENTITY_TYPES
from omnifeat.simulator import rates
from omnifeat.simulator.boards import Boards, Saves
from omnifeat.simulator.concepts import FloatArray, LatentSpace
from omnifeat.simulator.entities import Entities, Eyes, entity_ids, table_parts, vector_lists
from omnifeat.simulator.evidence import Lists, earlier_counts, times
from omnifeat.simulator.judgments import Judgments
from omnifeat.simulator.phrasebook import phrasebook
from omnifeat.simulator.queries import Queries
from omnifeat.simulator.sessions import Engagements, Shown

__all__ = [
    "Names",
    "board_tables",
    "catalogue_parts",
    "engagement_parts",
    "impressions_table",
    "judgments_table",
    "text_match",
]

_DAY = 86_400
_EVENTS_PART = 1 << 19


class Names:
    """The ids of all entities, so that rows of any type become ids by one look-up."""

    def __init__(self, pins: Entities, products: Entities, queries: Queries) -> None:
        ids = [entity_ids("pin", len(pins)), entity_ids("product", len(products)), queries.texts]
        self._starts = np.cumsum([0, *map(len, ids[:-1])])
        self._ids = pa.concat_arrays(ids)
        self._types = pa.array(ENTITY_TYPES)
        self.queries = queries.texts

    def ids(self, kind: npt.NDArray[np.integer], rows: npt.NDArray[np.integer]) -> pa.Array:
        """The id of each row of its kind (a place in ENTITY_TYPES)."""
        return self._ids.take(pa.array(self._starts[kind] + rows))

    def types(self, kind: npt.NDArray[np.integer]) -> pa.Array:
        """The entity type of each row."""
        return self._types.take(pa.array(kind.astype(np.int8)))


def catalogue_parts(
    rng: np.random.Generator,
    entities: Entities,
    space: LatentSpace,
    eyes: Eyes,
    lists: dict[str, tuple[Lists, pa.Array]],
    vectors: dict[str, tuple[FloatArray, npt.NDArray[np.bool_]]],
) -> Iterator[pa.Table]:
    """The table of pins or products; `lists` and `vectors` are columns that come from log and graph."""
    for rows, columns in table_parts(rng, entities, space, eyes):
        for name, (members, texts) in lists.items():
            columns[name] = members.texts(rows, texts)
        for name, (values, present) in vectors.items():
            columns[name] = vector_lists(values[rows], present[rows])
        yield pa.table(columns)


def engagement_parts(engagements: Engagements, names: Names) -> Iterator[pa.Table]:
    """The table `engagements`, in order of time."""
    for start in range(0, len(engagements), _EVENTS_PART):
        part = engagements.take(slice(start, start + _EVENTS_PART))
        yield pa.table(
            {
                "query": names.queries.take(pa.array(part.query)),
                "entity_id": names.ids(part.kind, part.entity),
                "entity_type": names.types(part.kind),
                "action": pa.array(ACTIONS).take(pa.array(part.action)),
                "timestamp": times(part.seconds),
                "country": pa.array(rates.COUNTRIES).take(pa.array(part.country)),
                "user_id": pa.array([f"user-{row}" for row in part.user.tolist()], pa.string()),
            }
        )


def board_tables(boards: Boards, saves: Saves, names: Names) -> tuple[pa.Table, Iterator[pa.Table]]:
    """The tables `boards` and `saves`."""
    ids = pa.array([f"board-{row}" for row in range(len(boards))], pa.string())

    def parts() -> Iterator[pa.Table]:
        for start in range(0, len(saves), _EVENTS_PART):
            part = saves.take(slice(start, start + _EVENTS_PART))
            yield pa.table(
                {
                    "board_id": ids.take(pa.array(part.board)),
                    "entity_id": names.ids(part.kind, part.entity),
                    "entity_type": names.types(part.kind),
                    "timestamp": times(part.seconds),
                }
            )

    return pa.table({"board_id": ids, "title": boards.titles}), parts()


def judgments_table(judgments: Judgments, queries: Queries, names: Names) -> pa.Table:
    """The table `judgments`: one row for each rater of each pair."""
    row = np.repeat(np.arange(len(judgments)), rates.RATERS_PER_PAIR)
    country = queries.locales[judgments.query]
    return pa.table(
        {
            "query": names.queries.take(pa.array(judgments.query[row])),
            "entity_id": names.ids(judgments.kind[row], judgments.entity[row]),
            "entity_type": names.types(judgments.kind[row]),
            "grade": pa.array(judgments.given.reshape(-1)),
            "country": pa.array(rates.COUNTRIES).take(pa.array(country[row])),
            "rater": pa.array([f"rater_{rater + 1}" for rater in judgments.raters.reshape(-1)], pa.string()),
        }
    )


def text_match(
    typed: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],
    query: npt.NDArray[np.integer],
    entity: npt.NDArray[np.integer],
) -> npt.NDArray[np.float64]:
    """The share of a query's known words that stand in the entity's title or description; 0 where none is known.

    `typed` are sorted `query * number_of_words + word`, `pairs` the same of entities.
    """
    words = np.int64(phrasebook().number_of_words)
    first = np.searchsorted(typed, query * words)
    counts = np.searchsorted(typed, (query + 1) * words) - first
    owner = np.repeat(np.arange(len(query)), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + first[owner]
    wanted = entity[owner].astype(np.int64) * words + typed[place] % words
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    hits = np.bincount(owner, weights=pairs[at] == wanted, minlength=len(query))
    return np.asarray(hits / np.maximum(counts, 1))


def impressions_table(
    shown: Shown,
    queries: Queries,
    entities: tuple[Entities, Entities],
    engagements: Engagements,
    typed: npt.NDArray[np.int64],
    pairs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    names: Names,
) -> pa.Table:
    """The table `impressions`, in order of time; its features are known when the request comes.

    `f_popularity` is log(1 + engagements of the entity before the request's day).
    """
    request, position = np.nonzero(shown.rows >= 0)
    order = np.lexsort((position, request, shown.seconds[request]))
    request, position = request[order], position[order]
    entity, kind = shown.rows[request, position], shown.kind[request]
    query, seconds = shown.query[request].astype(np.int64), shown.seconds[request]
    match = np.zeros(len(request))
    earlier = np.zeros(len(request))
    age = np.zeros(len(request))
    same = np.zeros(len(request))
    language = np.array([0, 0, 1, 2])
    for which, one in enumerate(entities):
        rows = np.flatnonzero(kind == which)
        match[rows] = text_match(typed, pairs[which], query[rows], entity[rows])
        logged = engagements.kind == which
        earlier[rows] = earlier_counts(
            engagements.entity[logged], engagements.seconds[logged], entity[rows],
            seconds[rows] // _DAY * _DAY, rates.DAYS * _DAY,
        )  # fmt: skip
        age[rows] = (seconds[rows] - one.born[entity[rows]]) / _DAY
        same[rows] = language[one.locales[entity[rows]]] == language[queries.locales[query[rows]]]
    action = shown.actions[request, position]
    return pa.table(
        {
            "request_id": pa.array([f"request-{row}" for row in request.tolist()], pa.string()),
            "query": names.queries.take(pa.array(query)),
            "entity_id": names.ids(kind, entity),
            "entity_type": names.types(kind),
            "position": pa.array(position + 1, pa.int64()),
            "action": pa.array(ACTIONS).take(pa.array(action, pa.int8(), mask=action < 0)),
            "timestamp": times(seconds),
            "f_popularity": pa.array(np.log1p(earlier)),
            "f_text_match": pa.array(match),
            "f_engine_score": pa.array(shown.scores[request, position].astype(np.float64)),
            "f_age_days": pa.array(age),
            "f_same_language": pa.array(same),
        }
    )
