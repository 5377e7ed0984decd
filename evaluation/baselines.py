"""The rows that a recall study compares, each a function that scores a range of queries against all entities.

    random, bm25-words, bm25-trigrams, tfidf   token-based, on all text of the entity
    pretrained                                 cosine of an encoder that was not trained here, on the same text
    pretrained-engaged, learned-engaged        largest cosine of the query to the entity's engaged queries, by either
    learned                                    the trained encoder's own cosine
    learned+...-engaged                        the sum of the learned and the largest cosine

Engaged queries stand in the entity tables and come from training data alone, so that no evaluated pair leaks into them.

Shapes: Q queries, N entities, D dimensions, U distinct engaged texts, M mentions of them, B queries of one block.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import DataError
from omnifeat.retrieval.lexical import LexicalScorer

__all__ = [
    "ENTITY_TEXT_FIELDS",
    "EngagedTexts",
    "Row",
    "cosine_row",
    "entity_texts",
    "largest_cosine_row",
    "lexical_row",
    "sum_row",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

ENTITY_TEXT_FIELDS = (
    "title",
    "description",
    "caption",
    "brand",
    "color",
    "material",
    "product_type",
    "link_domain",
    "board_titles",
    "engaged_queries",
)
"""Text columns of an entity in the order in which they are joined."""

_BLOCK_BYTES = 64 * 1024 * 1024
_NO_ENGAGED_QUERIES = -1.0  # the smallest cosine there is: such an entity comes last


@dataclass(frozen=True)
class Row:
    """One retriever of a study.

    Attributes
    ----------
    name
        As it is shown.
    description
        What it is, in a few words.
    score
        From the first query and the one past the last to scores float32 (B, N); a new array each time.
    width
        Floats that scoring one query holds at a time, from which the size of blocks follows.
    """

    name: str
    description: str
    score: Callable[[int, int], FloatArray]
    width: int

    def blocks(self, query_count: int, block_bytes: int = _BLOCK_BYTES) -> Iterator[tuple[int, FloatArray]]:
        """(first query, scores (B, N)) for all queries; a block takes at most `block_bytes`, or is one query."""
        size = max(1, block_bytes // (4 * max(1, self.width)))
        for start in range(0, query_count, size):
            yield start, self.score(start, min(query_count, start + size))


def lexical_row(name: str, description: str, scorer: LexicalScorer, queries: Sequence[str]) -> Row:
    """A row of a fitted token-based scorer."""
    return Row(name, description, lambda first, last: scorer.scores(queries[first:last]), scorer.size)


def cosine_row(name: str, description: str, queries_QD: FloatArray, entities_ND: FloatArray) -> Row:
    """A row of dot products of unit vectors."""
    return Row(name, description, lambda first, last: queries_QD[first:last] @ entities_ND.T, len(entities_ND))


def sum_row(name: str, description: str, *rows: Row) -> Row:
    """A row of the sum of other rows' scores."""

    def score(first: int, last: int) -> FloatArray:
        total = rows[0].score(first, last)
        for row in rows[1:]:
            total += row.score(first, last)
        return total

    return Row(name, description, score, sum(row.width for row in rows))


@dataclass(frozen=True)
class EngagedTexts:
    """Distinct engaged queries of N entities, and which entity has which, as compressed rows.

    Attributes
    ----------
    texts : list of str (U,)
        In the order in which they first stand.
    offsets : int64 (N + 1,)
        Where each entity's texts start in `rows`.
    rows : int64 (M,)
        Rows of `texts`.
    """

    texts: list[str]
    offsets: IntArray
    rows: IntArray

    @classmethod
    def from_column(cls, engaged_queries: pa.ChunkedArray | pa.Array) -> "EngagedTexts":
        """From a column of lists of text; null lists, null texts and blank texts hold nothing."""
        place: dict[str, int] = {}
        rows: list[int] = []
        offsets = [0]
        for texts in engaged_queries.to_pylist():
            rows.extend(place.setdefault(text, len(place)) for text in texts or () if text and not text.isspace())
            offsets.append(len(rows))
        return cls(list(place), np.array(offsets, dtype=np.int64), np.array(rows, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1


def largest_cosine_row(
    name: str, description: str, queries_QD: FloatArray, texts_UD: FloatArray, engaged: EngagedTexts
) -> Row:
    """A row of the largest cosine of the query to the entity's engaged queries; -1 where an entity has none.

    Each distinct text is compared with a query once, so entities that share their nearest text tie exactly.

    Raises
    ------
    DataError
        If there is not one vector per distinct text.
    """
    if len(texts_UD) != len(engaged.texts):
        raise DataError(
            f"there are {len(texts_UD)} vectors for {len(engaged.texts)} engaged queries; encode `EngagedTexts.texts`"
        )

    def score(first: int, last: int) -> FloatArray:
        largest = np.empty((last - first, len(engaged)), dtype=np.float32)
        _largest(queries_QD[first:last] @ texts_UD.T, engaged.offsets, engaged.rows, largest)
        return largest

    return Row(name, description, score, len(engaged) + len(engaged.texts))


@numba.njit(parallel=True, nogil=True, cache=True)
def _largest(cosines_BU, offsets, rows, largest_BN):  # type: ignore[no-untyped-def]
    for query in numba.prange(len(cosines_BU)):
        for entity in range(len(offsets) - 1):
            best = np.float32(_NO_ENGAGED_QUERIES)
            for index in range(offsets[entity], offsets[entity + 1]):
                best = max(best, cosines_BU[query, rows[index]])
            largest_BN[query, entity] = best


def entity_texts(entities: pa.Table, fields: Sequence[str] = ENTITY_TEXT_FIELDS) -> list[str]:
    """All text of each entity (N): fields and list items, joined by line breaks; a column may be missing."""
    parts: list[list[str]] = [[] for _ in range(entities.num_rows)]
    for field in fields:
        if field not in entities.column_names:
            continue
        for part, value in zip(parts, entities.column(field).to_pylist(), strict=True):
            if isinstance(value, str):
                part.append(value)
            elif value is not None:
                part.extend(text for text in value if text)
    return ["\n".join(part) for part in parts]
