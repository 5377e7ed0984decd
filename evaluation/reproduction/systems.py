"""What is measured: a trained model by its own entity vectors or by the existing ones, and baselines without training.

    NAME             the model's query and entity encoders
    NAME/existing    the model's query encoder against PinSage (pins) and ItemSage (products), section 3.4.3; queries
                     against queries by the query encoder itself
    NAME@WIDTH       the first dimensions of the model's vectors alone, made unit length again
    bm25, random     token-based retrieval over all text; uniform scores
    pretrained       an encoder that was not trained here, on the text of entities
    bm25+NAME        reciprocal rank fusion of the two, with equal weights: nothing of a study is chosen

Shapes: Q queries, N entities, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.baselines import cosine_row, entity_texts, lexical_row
from evaluation.fusion import fused_ranks, score_together
from evaluation.recall import ranks_by_corpus
from evaluation.reproduction.questions import PairGroup
from evaluation.reproduction.vectors import Vectors
from evaluation.streamed import positive_ranks_from_vectors
from omnifeat.retrieval.lexical import LexicalScorer, lexical_scorer

__all__ = [
    "BASELINES",
    "EXISTING",
    "FUSED",
    "SEARCHSAGE",
    "baseline_ranks",
    "cut",
    "fused_with",
    "lexical_scorer_of",
    "parse",
    "ranks_of_vectors",
    "token_scorer",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

BASELINES = {"random": "Random", "bm25": "Token-based (BM25)"}
EXISTING = "/existing"
SEARCHSAGE = f"searchsage{EXISTING}"
"""What the paper names SearchSage: a query encoder trained for existing embeddings alone, against these."""
FUSED = "bm25+"
"""What the name of a system begins with that fuses another with BM25."""
_LEXICAL = {"random": "random", "bm25": "bm25-words"}


def parse(system: str) -> tuple[str, bool, int | None]:
    """The model that a system is of, whether it ranks existing embeddings, and the width that it is cut to."""
    name, _, width = system.removeprefix(FUSED).removesuffix(EXISTING).partition("@")
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
    """Rank of each pair's positive by cosine, int64 (2, P): among all, and without training positives.

    An entity without a vector cannot be found, and stands behind all others. With `most`, a rank beyond it is given as
    `most` + 1.
    """
    queries, entities = _with_presence(vectors)
    found = positive_ranks_from_vectors(
        queries, entities, group.pairs, left_out=group.training, most=most, threads=threads
    )
    return np.stack([found.with_competing, found.ranks])


def _with_presence(vectors: Vectors) -> tuple[FloatArray, FloatArray]:
    """Vectors of queries and entities whose products put those without a vector last.

    One dimension more says who has none: 1 for queries, 0 for entities with a vector, -3 for those without, below any
    cosine.
    """
    if vectors.present.all():
        return vectors.queries, vectors.entities
    lacks = np.where(vectors.present, 0, -3).astype(np.float32)
    ones = np.ones((len(vectors.queries), 1), np.float32)
    return np.hstack([vectors.queries, ones]), np.hstack([vectors.entities, lacks[:, None]])


def baseline_ranks(name: str, group: PairGroup, entities: pa.Table, seed: int) -> IntArray:
    """Ranks by a baseline that needs no vectors, a name of `BASELINES`; as in `ranks_of_vectors`."""
    scorer = token_scorer(name, entities, seed)
    row = lexical_row(name, BASELINES[name], scorer, group.pairs.queries)
    return ranks_by_corpus(row.blocks(len(group.pairs.queries)), group.pairs, group.exclusions)


def fused_with(scorer: LexicalScorer, vectors: Vectors, group: PairGroup) -> IntArray:
    """Ranks by reciprocal rank fusion of a scorer of the group's entities and of cosines; as in `ranks_of_vectors`."""
    rows = [lexical_row("words", "", scorer, group.pairs.queries), cosine_row("cosine", "", *_with_presence(vectors))]
    blocks = score_together(rows, len(group.pairs.queries))
    return fused_ranks(blocks, group.pairs, group.exclusions, [(1, 1)])[:, 0]


def token_scorer(name: str, entities: pa.Table, seed: int = 0) -> LexicalScorer:
    """A token-based baseline, fitted on entities."""
    return lexical_scorer(_LEXICAL[name], seed).fit(entity_texts(entities))


def lexical_scorer_of(name: str, group: PairGroup, entities: pa.Table) -> Callable[[Sequence[int]], FloatArray]:
    """Rows of the group's queries -> scores float32 (rows, N) by a token-based baseline."""
    scorer = token_scorer(name, entities)
    return lambda rows: scorer.scores([group.pairs.queries[row] for row in rows])
