"""What is measured: a trained model by its own entity vectors or by the existing ones, and baselines without training.

    NAME             the model's query and entity encoders
    NAME/existing    the model's query encoder against PinSage (pins) and ItemSage (products), section 3.4.3; queries
                     against queries by the query encoder itself
    NAME@WIDTH       the first dimensions of the model's vectors alone, made unit length again
    bm25, random     token-based retrieval over all text; uniform scores
    pretrained       an encoder that was not trained here, on the text of entities

Shapes: Q queries, N entities, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.baselines import entity_texts, lexical_row
from evaluation.recall import ranks_from_score_blocks
from evaluation.reproduction.questions import PairGroup
from evaluation.reproduction.vectors import Vectors
from evaluation.streamed import ranks_from_vectors
from omnifeat.retrieval.lexical import lexical_scorer

__all__ = [
    "BASELINES",
    "EXISTING",
    "SEARCHSAGE",
    "baseline_ranks",
    "cut",
    "lexical_scorer_of",
    "parse",
    "ranks_of_vectors",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

BASELINES = {"random": "Random", "bm25": "Token-based (BM25)"}
EXISTING = "/existing"
SEARCHSAGE = f"searchsage{EXISTING}"
"""What the paper names SearchSage: a query encoder trained for existing embeddings alone, against these."""
_LEXICAL = {"random": "random", "bm25": "bm25-words"}


def parse(system: str) -> tuple[str, bool, int | None]:
    """The model that a system is of, whether it ranks existing embeddings, and the width that it is cut to."""
    name, _, width = system.removesuffix(EXISTING).partition("@")
    return name, system.endswith(EXISTING), int(width) if width else None


def cut(vectors: Vectors, width: int | None) -> Vectors:
    """The first `width` dimensions of all vectors, made unit length; all of them where it is None."""
    if width is None:
        return vectors
    return Vectors(_unit(vectors.queries[:, :width]), _unit(vectors.entities[:, :width]), vectors.present)


def _unit(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def ranks_of_vectors(
    vectors: Vectors, group: PairGroup, *, most: int | None = None, threads: int | None = None
) -> IntArray:
    """Rank of each pair's positive by cosine; an entity without a vector cannot be found, and stands behind all others.

    One dimension more says who has none: 1 for queries, 0 for entities with a vector, -3 for those without, below any
    cosine. With `most`, a rank beyond it is given as `most` + 1.
    """
    queries, entities = vectors.queries, vectors.entities
    if not vectors.present.all():
        lacks = np.where(vectors.present, 0, -3).astype(np.float32)
        entities = np.hstack([entities, lacks[:, None]])
        queries = np.hstack([queries, np.ones((len(queries), 1), np.float32)])
    return ranks_from_vectors(queries, entities, group.pairs, most=most, threads=threads)


def baseline_ranks(name: str, group: PairGroup, entities: pa.Table, seed: int) -> IntArray:
    """Ranks by a baseline that needs no vectors, a name of `BASELINES`."""
    scorer = lexical_scorer(_LEXICAL[name], seed).fit(entity_texts(entities))
    row = lexical_row(name, BASELINES[name], scorer, group.pairs.queries)
    return ranks_from_score_blocks(row.blocks(len(group.pairs.queries)), group.pairs)


def lexical_scorer_of(name: str, group: PairGroup, entities: pa.Table) -> Callable[[Sequence[int]], FloatArray]:
    """Rows of the group's queries -> scores float32 (rows, N) by a token-based baseline."""
    scorer = lexical_scorer(_LEXICAL[name], 0).fit(entity_texts(entities))
    return lambda rows: scorer.scores([group.pairs.queries[row] for row in rows])
