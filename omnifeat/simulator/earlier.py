"""What is known when the log begins: who engaged with what and saved what in a period before it.

The search engine of that period found candidates by words alone, as production did before it had embeddings. Entities
that appear during the log are unknown here, and nothing of the log, of judgments or of the truth is read: people's
earlier actions are all that is left of the period.

Shape suffixes: Q queries, N entities of a type, P pairs of a query and an entity, D width.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from omnifeat.simulator import rates
from omnifeat.simulator.boards import make_boards, make_saves
from omnifeat.simulator.concepts import FloatArray
from omnifeat.simulator.entities import Entities
from omnifeat.simulator.graph import Vectors, save_vectors
from omnifeat.simulator.queries import Queries
from omnifeat.simulator.rates import Scale
from omnifeat.simulator.search import Candidates
from omnifeat.simulator.sessions import Engagements, make_surfaces, simulate_sessions

__all__ = ["STREAMS", "Earlier", "EngagedPairs", "behaviour_vectors", "live_earlier"]

STREAMS = ("earlier sessions", "earlier boards", "earlier saves")
_NEVER = rates.DAYS * 86_400  # beyond every moment of the period


@dataclass(frozen=True)
class EngagedPairs:
    """P distinct pairs of one entity type that were engaged with, sorted by query and entity, and how often."""

    query: npt.NDArray[np.int64]
    entity: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Earlier:
    """The period before the log: pairs of pins and of products, and an embedding of its behaviour.

    Attributes
    ----------
    pairs
        Of pins and of products.
    entities
        Vectors of pins and of products, and which have one.
    queries : float32 (Q, D)
        Of unit length, in the same space; zero for a query that has none.
    """

    pairs: tuple[EngagedPairs, EngagedPairs]
    entities: tuple[Vectors, Vectors]
    queries: FloatArray


def live_earlier(
    streams: dict[str, np.random.Generator],
    scale: Scale,
    queries: Queries,
    entities: tuple[Entities, Entities],
    things: npt.NDArray[np.float64],
    candidates: tuple[Candidates, Candidates, Candidates],
    *,
    seed: int,
    threads: int,
) -> Earlier:
    """Let people search and save before the log, and embed what they did.

    Parameters
    ----------
    streams
        With a generator for each of `STREAMS`.
    things
        How usual each thing is, as the log's boards are drawn by it.
    candidates
        What the engine of words finds for each query: pins, products, related queries.
    seed
        Of the factorisation.
    """
    known = (_without_newcomers(entities[0]), _without_newcomers(entities[1]))
    surfaces = make_surfaces(queries, known, candidates)
    engagements, _, _ = simulate_sessions(
        streams["earlier sessions"], _longer(scale.engagements), 0, queries, surfaces, scale.users, threads
    )
    del surfaces
    pairs = (_engaged(engagements, 0, len(known[0])), _engaged(engagements, 1, len(known[1])))
    del engagements
    boards = make_boards(streams["earlier boards"], _longer(scale.boards), things)
    saves = make_saves(streams["earlier saves"], _longer(scale.saves), boards, known)
    born = np.concatenate([one.born for one in known])
    there = born[saves.entity + np.where(saves.kind == 1, len(known[0]), 0)] == 0
    vectors = save_vectors(saves.take(np.flatnonzero(there)), (len(known[0]), len(known[1])), len(boards), seed)
    return Earlier(pairs, vectors, behaviour_vectors(len(queries), pairs, vectors))


def behaviour_vectors(
    queries: int, pairs: tuple[EngagedPairs, EngagedPairs], entities: tuple[Vectors, Vectors]
) -> FloatArray:
    """Unit vectors (Q, D) of queries: the mean of what was engaged with, each engagement once; zero where none is.

    Pins and products count alike: as in SearchSage, one query vector stands in the space that both have.
    """
    total_QD = np.zeros((queries, entities[0][0].shape[1]), np.float64)
    for one, (vectors_ND, _) in zip(pairs, entities, strict=True):
        counts = sp.csr_matrix((one.count.astype(np.float64), (one.query, one.entity)), (queries, len(vectors_ND)))
        total_QD += counts @ vectors_ND.astype(np.float64)
    norms = np.sqrt(np.einsum("qd,qd->q", total_QD, total_QD))[:, None]
    return np.asarray(np.divide(total_QD, norms, out=np.zeros_like(total_QD), where=norms > 1e-9), np.float32)


def _longer(number: int) -> int:
    return max(round(number * rates.EARLIER_LENGTH), 1)


def _without_newcomers(entities: Entities) -> Entities:
    """The same entities, with those that appear during the log there at no moment of the period before it."""
    return replace(entities, born=np.where(entities.born > 0, _NEVER, 0))


def _engaged(engagements: Engagements, kind: int, number: int) -> EngagedPairs:
    rows = engagements.kind == kind
    keys = engagements.query[rows].astype(np.int64) * number + engagements.entity[rows]
    distinct, counts = np.unique(keys, return_counts=True)
    return EngagedPairs(distinct // number, distinct % number, counts)
