"""What a first, plain ranker showed to people, at which position, and what they did with it.

Shape suffixes: N entities, S shown.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from omnifeat.simulator.behaviour import DAYS, times
from omnifeat.simulator.concepts import FloatArray
from omnifeat.simulator.entities import Entities, Population

__all__ = ["make_impressions"]

SHOWN = 12
_POSITION_EXPONENT = 0.6  # position p is looked at with probability p ** -0.6
_RANKER_NOISE = 0.35  # of the ranker that chose what was shown, in units of cosine
_CLICK_SLOPE, _CLICK_MIDDLE = 8.0, 0.6  # of a looked-at result, by cosine
_ACTIONS, _ACTION_SHARES = ("save", "long_click", "click"), (0.3, 0.3, 0.4)


def make_impressions(
    rng: np.random.Generator,
    requests: int,
    queries: Population,
    entities: Sequence[Entities],
    engagements_before: pa.Table,
) -> pa.Table:
    """Impressions of `requests` requests, 12 results each, pins in three requests of four, products in the others.

    `action` is null where nothing was done. Features: `f_popularity`, log(1 + engagements of the entity before the
    split), and `f_text_match`, the share of the query's words in the entity's title and description.
    """
    columns: dict[str, list[object]] = defaultdict(list)
    popularity = [_log_counts(entity, engagements_before) for entity in entities]
    words = [_words(entity.table) for entity in entities]
    seconds = np.sort(rng.integers(0, DAYS * 86_400, size=requests))
    asked = rng.choice(len(queries), size=requests, p=queries.popularity)
    kinds = (rng.random(requests) < 0.25).astype(np.int64)
    looked_S = np.arange(1, SHOWN + 1) ** -_POSITION_EXPONENT
    for request in range(requests):
        query, kind = int(asked[request]), int(kinds[request])
        population = entities[kind].population
        cosine_N = population.latent @ queries.latent[query]
        scores_N = cosine_N + _RANKER_NOISE * rng.standard_normal(len(population)) + 0.03 * popularity[kind]
        shown = np.argpartition(-scores_N, min(SHOWN, len(population)) - 1)[:SHOWN]
        shown = shown[np.lexsort((shown, -scores_N[shown]))]
        wanted_S = 1 / (1 + np.exp(-_CLICK_SLOPE * (cosine_N[shown] - _CLICK_MIDDLE)))
        clicked = rng.random(len(shown)) < looked_S[: len(shown)] * wanted_S
        picks = rng.choice(len(_ACTIONS), size=len(shown), p=_ACTION_SHARES)
        text = queries.ids[query]
        query_words = set(text.split())
        number = len(shown)
        columns["request_id"] += [f"request-{request}"] * number
        columns["query"] += [text] * number
        columns["entity_id"] += [population.ids[row] for row in shown]
        columns["entity_type"] += [population.entity_type] * number
        columns["position"] += range(1, number + 1)
        columns["action"] += [_ACTIONS[pick] if click else None for pick, click in zip(picks, clicked, strict=True)]
        columns["seconds"] += [int(seconds[request])] * number
        columns["f_popularity"] += popularity[kind][shown].tolist()
        columns["f_text_match"] += [len(query_words & words[kind][row]) / len(query_words) for row in shown]
    text_columns = ("request_id", "query", "entity_id", "entity_type")
    return pa.table(
        {
            **{name: pa.array(columns[name], pa.string()) for name in text_columns},
            "position": pa.array(columns["position"], pa.int64()),
            "action": pa.array(columns["action"], pa.string()),
            "timestamp": times(np.array(columns["seconds"], dtype=np.int64)),
            "f_popularity": pa.array(columns["f_popularity"], pa.float64()),
            "f_text_match": pa.array(columns["f_text_match"], pa.float64()),
        }
    )


def _log_counts(entity: Entities, engagements: pa.Table) -> FloatArray:
    row_of = {identity: row for row, identity in enumerate(entity.population.ids)}
    counts = np.zeros(len(row_of))
    for identity in engagements["entity_id"].to_pylist():
        if identity in row_of:
            counts[row_of[identity]] += 1
    return np.log1p(counts)


def _words(table: pa.Table) -> list[set[str]]:
    return [
        set(f"{title or ''} {description or ''}".lower().replace(".", " ").split())
        for title, description in zip(table["title"].to_pylist(), table["description"].to_pylist(), strict=True)
    ]
