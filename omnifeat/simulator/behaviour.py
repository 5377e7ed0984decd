"""What people of the world do: engagements, boards and saves, judgments. What is shown to them is in `impressions`.

Shape suffixes: Q queries, N entities, D latent width.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.simulator.concepts import FloatArray, IntArray, LatentSpace, draw_concepts
from omnifeat.simulator.entities import Population
from omnifeat.simulator.wording import board_title

__all__ = ["DAYS", "START", "attach_lists", "make_boards", "make_engagements", "make_judgments", "times"]

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 90
_SECONDS = DAYS * 86_400
_BLOCK = 256  # queries at a time: the score matrix is never held whole

_SHARPNESS = 16.0  # of the choice by cosine
_POPULARITY_WEIGHT = 0.4
_TYPE_SHARES = {"pin": 0.6, "product": 0.25, "query": 0.15}
_ACTIONS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "pin": (("save", "long_click", "click"), (0.45, 0.3, 0.25)),
    "product": (("save", "long_click", "click", "add_to_cart", "checkout"), (0.25, 0.3, 0.3, 0.1, 0.05)),
    "query": (("click",), (1.0,)),
}
_COUNTRIES, _COUNTRY_SHARES = ("US", "GB", "FR", "DE"), (0.6, 0.2, 0.1, 0.1)
_KEPT_QUERIES, _KEPT_TITLES = 20, 10

# cosines of query and entity from which a grade of 1, 2, 3, 4 holds
GRADE_COSINES = (0.25, 0.45, 0.65, 0.8)
_RATERS = ("rater_1", "rater_2", "rater_3")


def times(seconds: npt.NDArray[np.int64]) -> pa.Array:
    """Seconds since the world's first day as UTC timestamps."""
    microseconds = seconds * 1_000_000 + int(START.timestamp()) * 1_000_000
    return pa.array(microseconds, pa.int64()).cast(pa.timestamp("us", tz="UTC"))


def make_engagements(
    rng: np.random.Generator, number: int, queries: Population, entities: Mapping[str, Population], users: int
) -> pa.Table:
    """Engagements in order of time: a query by its popularity, then an entity by cosine and popularity."""
    sizes = rng.multinomial(number, list(_TYPE_SHARES.values()))
    query_rows, ids, types, actions = [], [], [], []
    for entity_type, size in zip(_TYPE_SHARES, sizes, strict=True):
        population = entities[entity_type]
        counts_Q = rng.multinomial(size, queries.popularity)
        rows = _choose(rng, counts_Q, queries, population)
        query_rows.append(np.repeat(np.arange(len(queries)), counts_Q))
        ids += [population.ids[row] for row in rows]
        types += [entity_type] * int(size)
        names, shares = _ACTIONS[entity_type]
        actions += [names[pick] for pick in rng.choice(len(names), size=size, p=shares)]
    seconds = rng.integers(0, _SECONDS, size=number)
    order = np.argsort(seconds, kind="stable")
    query_row = np.concatenate(query_rows)
    country = rng.choice(len(_COUNTRIES), size=number, p=_COUNTRY_SHARES)
    user = np.minimum((users * rng.random(number) ** 2).astype(np.int64), users - 1)
    text = pa.string()
    return pa.table(
        {
            "query": pa.array([queries.ids[row] for row in query_row], text).take(pa.array(order)),
            "entity_id": pa.array(ids, text).take(pa.array(order)),
            "entity_type": pa.array(types, text).take(pa.array(order)),
            "action": pa.array(actions, text).take(pa.array(order)),
            "timestamp": times(seconds[order]),
            "country": pa.array([_COUNTRIES[row] for row in country], text),
            "user_id": pa.array([f"user-{row}" for row in user], text),
        }
    )


def make_boards(
    rng: np.random.Generator,
    boards: int,
    saves: int,
    space: LatentSpace,
    things: FloatArray,
    entities: Sequence[Population],
) -> tuple[pa.Table, pa.Table]:
    """Boards with titles, and saves of pins (three in four) and products that fit them, in order of time."""
    concepts = draw_concepts(rng, boards, thing_probabilities=things, attribute_rate=0.3, topic_rate=0.4)
    titles = [board_title(concepts, row, rng) for row in range(boards)]
    board = Population("board", [f"board-{row}" for row in range(boards)], concepts,
                       space.vectors(concepts, rng), np.full(boards, 1 / boards))  # fmt: skip
    board_ids, ids, types = [], [], []
    for population, share in zip(entities, (0.75, 0.25), strict=True):
        counts = rng.multinomial(round(saves * share), board.popularity)
        rows = _choose(rng, counts, board, population)
        board_ids += [board.ids[row] for row in np.repeat(np.arange(boards), counts)]
        ids += [population.ids[row] for row in rows]
        types += [population.entity_type] * len(rows)
    seconds = rng.integers(0, _SECONDS, size=len(ids))
    order = np.argsort(seconds, kind="stable")
    text = pa.string()
    return (
        pa.table({"board_id": pa.array(board.ids, text), "title": pa.array(titles, text)}),
        pa.table(
            {
                "board_id": pa.array(board_ids, text).take(pa.array(order)),
                "entity_id": pa.array(ids, text).take(pa.array(order)),
                "entity_type": pa.array(types, text).take(pa.array(order)),
                "timestamp": times(seconds[order]),
            }
        ),
    )


def attach_lists(
    table: pa.Table, entity_type: str, engagements: pa.Table, saves: pa.Table, boards: pa.Table
) -> pa.Table:
    """Add `engaged_queries` and `board_titles`, most frequent first, of the given engagements and saves alone.

    Pass only what lies before the split: these are inputs of the entity encoder.
    """
    title_of = dict(zip(boards["board_id"].to_pylist(), boards["title"].to_pylist(), strict=True))
    queries = _most_frequent(engagements, "query", entity_type)
    saved = _most_frequent(saves, "board_id", entity_type)
    titles: dict[str, Counter[str]] = {}
    for identity, counter in saved.items():
        titles[identity] = Counter()
        for board_id, count in counter.items():
            titles[identity][title_of[board_id]] += count
    strings = pa.list_(pa.string())
    ids = table["id"].to_pylist()
    for name, counters, kept in (
        ("board_titles", titles, _KEPT_TITLES),
        ("engaged_queries", queries, _KEPT_QUERIES),
    ):
        lists = [
            [
                text
                for text, _ in sorted(counters.get(identity, Counter()).items(), key=lambda item: (-item[1], item[0]))[
                    :kept
                ]
            ]
            for identity in ids
        ]
        table = table.append_column(name, pa.array(lists, strings))
    return table


def make_judgments(
    rng: np.random.Generator, judged: int, queries: Population, entities: Sequence[Population]
) -> tuple[pa.Table, pa.Table]:
    """Judgments by three raters, each off by a grade now and then, and the truth beside them.

    Per query and entity type: eight of the nearest thirty, six of the same topic and four of any.
    """
    chosen = np.sort(rng.choice(len(queries), size=min(judged, len(queries)), replace=False, p=queries.popularity))
    columns: dict[str, list[object]] = defaultdict(list)
    truth: dict[str, list[object]] = defaultdict(list)
    for query_row in chosen:
        for population in entities:
            cosine_N = population.latent @ queries.latent[query_row]
            near = np.argsort(-cosine_N, kind="stable")[:30]
            same = np.flatnonzero(population.concepts.topics == queries.concepts.topics[query_row])
            picks = [_some(rng, near, 8), _some(rng, same, 6), _some(rng, np.arange(len(population)), 4)]
            for row in np.unique(np.concatenate(picks)):
                grade = int(np.searchsorted(GRADE_COSINES, cosine_N[row], side="right"))
                shared = (queries.ids[query_row], population.ids[row], population.entity_type)
                for name, value in zip(("query", "entity_id", "entity_type"), shared, strict=True):
                    truth[name].append(value)
                    columns[name] += [value] * len(_RATERS)
                truth["grade"].append(grade)
                truth["cosine"].append(float(cosine_N[row]))
                given = np.clip(np.rint(grade + 0.55 * rng.standard_normal(len(_RATERS))), 0, len(GRADE_COSINES))
                columns["grade"] += given.tolist()
                columns["rater"] += _RATERS
    types = dict.fromkeys(("query", "entity_id", "entity_type", "rater"), pa.string())
    tables = [
        pa.table({name: pa.array(values, types.get(name, pa.float64())) for name, values in table.items()})
        for table in (columns, truth)
    ]
    return tables[0], tables[1]


def _some(rng: np.random.Generator, rows: IntArray, number: int) -> IntArray:
    return rng.choice(rows, size=min(number, len(rows)), replace=False)


def _choose(rng: np.random.Generator, counts_Q: IntArray, queries: Population, entities: Population) -> IntArray:
    """For each query as many entity rows as counted, drawn by softmax of cosine and log popularity; never itself."""
    chosen = [np.empty(0, dtype=np.int64)]
    prior_N = _POPULARITY_WEIGHT * np.log(entities.popularity)
    for start in range(0, len(queries), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(queries)))
        logits_QN = _SHARPNESS * (queries.latent[rows] @ entities.latent.T) + prior_N
        if entities is queries:
            logits_QN[np.arange(len(rows)), rows] = -np.inf
        cumulated_QN = np.cumsum(np.exp(logits_QN - logits_QN.max(axis=1, keepdims=True)), axis=1)
        for place, row in enumerate(rows):
            points = rng.random(counts_Q[row]) * cumulated_QN[place, -1]
            chosen.append(np.searchsorted(cumulated_QN[place], points, side="right"))
    return np.concatenate(chosen)


def _most_frequent(table: pa.Table, column: str, entity_type: str) -> dict[str, Counter[str]]:
    counters: dict[str, Counter[str]] = defaultdict(Counter)
    for identity, kind, value in zip(
        table["entity_id"].to_pylist(), table["entity_type"].to_pylist(), table[column].to_pylist(), strict=True
    ):
        if kind == entity_type:
            counters[identity][value] += 1
    return counters
