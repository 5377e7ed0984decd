"""Recall@k of engaged pairs against a corpus (section 4.2 of the paper), from embeddings or from any scorer.

Recall@k here is a **hit rate per pair**, not the share of a query's positives that are found:

    Recall@k = (1 / P) * sum over pairs (q, e) of [rank(e | q) <= k]
    rank(e | q) = 1 + number of counted c of the corpus, c != e, that stand before e:
                  score(q, c) > score(q, e), or score(q, c) = score(q, e) and id(c) < id(e)

The positive never counts against itself, be it in the random corpus or not; nor do, by default, the query's other
positives. The mean reciprocal rank is the mean of 1 / rank over the same pairs.

Shapes: Q queries, N entities, D dimensions, P pairs, B queries of one block.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import DataError, SettingError
from omnifeat.keys import KeyIndex
from omnifeat.ranks import Excluded, id_order, ranks_by_exclusion

__all__ = [
    "EvaluationPairs",
    "RecallFigures",
    "group_figures",
    "per_query_sums",
    "ranks_by_corpus",
    "ranks_from_embeddings",
    "ranks_from_score_blocks",
    "recall_figures",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_BLOCK_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class EvaluationPairs:
    """Distinct (query, positive) pairs and the corpus that the positives are ranked in.

    Attributes
    ----------
    queries : list of str (Q,)
        Distinct queries, sorted.
    entity_ids : pa.StringArray (N,)
        Distinct ids of the scored entities: the corpus, and the positives outside it.
    pair_queries, pair_positives : int64 (P,)
        Row of each pair's query in `queries` and of its positive in `entity_ids`; sorted, each pair once.
    in_corpus : bool (N,)
        Whether the entity belongs to the corpus. One that does not is ranked as a positive, and counts against none.
    """

    queries: list[str]
    entity_ids: pa.StringArray
    pair_queries: IntArray
    pair_positives: IntArray
    in_corpus: BoolArray

    @classmethod
    def make(
        cls,
        queries: Sequence[str],
        positives: Sequence[str],
        catalogue_ids: pa.StringArray,
        *,
        corpus_size: int | None = None,
        corpus_ids: pa.StringArray | None = None,
        seed: int = 0,
    ) -> "EvaluationPairs":
        """Pairs from two columns of equal length, ranked in all of `catalogue_ids`, in a sample or in a list of them.

        Parameters
        ----------
        queries, positives
            Query text and entity id of each pair; a pair may repeat.
        catalogue_ids
            Ids of all entities (each once).
        corpus_size
            Draw this many entities for the corpus, uniformly; all if null or not less than there are. Which ones does
            not depend on the order of `catalogue_ids`.
        corpus_ids
            The corpus, where it was chosen before; one of this and `corpus_size` is null.
        seed
            Of the draw.

        Raises
        ------
        DataError
            If there are no pairs, an id is null or stands twice in the catalogue, or a positive or an entity of the
            corpus is not in it.
        SettingError
            If `corpus_size` is less than one.
        """
        row_of = _catalogue_rows(catalogue_ids)
        count = len(catalogue_ids)
        if len(queries) == 0:
            raise DataError("there are no pairs to evaluate; check the split and the entity type")
        positive_rows = row_of.find(pa.array(positives, pa.large_string()))
        unknown = np.flatnonzero(positive_rows < 0)
        if len(unknown):
            entity_id = positives[unknown[0]]
            raise DataError(f"entity '{entity_id}' stands in a pair but not in the catalogue; add it or drop its pairs")
        distinct = sorted(set(queries))
        place = {query: row for row, query in enumerate(distinct)}
        query_rows = np.array([place[query] for query in queries], dtype=np.int64)
        pair_queries, rows = np.unique(np.stack([query_rows, positive_rows]), axis=1).astype(np.int64)

        in_corpus = np.ones(count, dtype=bool)
        if corpus_size is not None and corpus_size < 1:
            raise SettingError(f"the corpus needs at least one entity, got {corpus_size}")
        if corpus_ids is not None:
            in_corpus = _listed(corpus_ids, row_of, count)
        elif corpus_size is not None and corpus_size < count:
            by_id = np.argsort(id_order(catalogue_ids))
            drawn = np.random.default_rng(seed).choice(count, size=corpus_size, replace=False)
            in_corpus[:] = False
            in_corpus[by_id[drawn]] = True
        scored = in_corpus.copy()
        scored[rows] = True
        new_row = np.cumsum(scored) - 1
        kept = catalogue_ids.filter(pa.array(scored))
        return cls(distinct, kept, pair_queries, new_row[rows].astype(np.int64), in_corpus[scored])

    @property
    def corpus_count(self) -> int:
        """Number of entities in the corpus."""
        return int(self.in_corpus.sum())

    def excluded(self, leave_out_other_positives: bool) -> Excluded:
        """What does not count per query: its other positives, or only those of them that are outside the corpus."""
        kept = np.ones(len(self.pair_queries), dtype=bool)
        if not leave_out_other_positives:
            kept = ~self.in_corpus[self.pair_positives]
        return Excluded.from_pairs(self.pair_queries[kept], self.pair_positives[kept], len(self.queries))


def ranks_from_score_blocks(
    blocks: Iterable[tuple[int, FloatArray]],
    pairs: EvaluationPairs,
    *,
    leave_out_other_positives: bool = True,
    on_block: Callable[[int], None] | None = None,
) -> IntArray:
    """Exact rank of each pair's positive from the scores of any retriever, held one block at a time.

    Parameters
    ----------
    blocks
        (first query, scores (B, N)) with columns as in `pairs.entity_ids`, covering all queries; may be overwritten.
    pairs
        What is ranked, and among what.
    leave_out_other_positives
        Whether the query's other positives do not count against this one.
    on_block
        Called with the number of queries of each block that is done.

    Returns
    -------
    int64 (P,)
        Ranks from 1, in the order of the pairs.

    Raises
    ------
    DataError
        If a score is NaN or infinite.
    """
    excluded = pairs.excluded(leave_out_other_positives)
    one = ranks_by_corpus(blocks, pairs, [excluded], on_block=on_block)
    return one[0]


def ranks_by_corpus(
    blocks: Iterable[tuple[int, FloatArray]],
    pairs: EvaluationPairs,
    exclusions: Sequence[Excluded],
    *,
    on_block: Callable[[int], None] | None = None,
) -> IntArray:
    """As `ranks_from_score_blocks`, in V corpora that leave out different entities for each query: int64 (V, P).

    `exclusions` hold rows of `pairs.entity_ids`; each must hold what `pairs.excluded` gives.
    """
    return ranks_by_exclusion(
        _only_corpus(blocks, pairs),
        id_order(pairs.entity_ids),
        pairs.pair_queries,
        pairs.pair_positives,
        exclusions,
        on_block,
    )


def ranks_from_embeddings(
    queries_QD: FloatArray,
    entities_ND: FloatArray,
    pairs: EvaluationPairs,
    *,
    leave_out_other_positives: bool = True,
    block_bytes: int = _BLOCK_BYTES,
    on_block: Callable[[int], None] | None = None,
) -> IntArray:
    """Exact rank int64 (P,) of each pair's positive by dot product; rows as in `pairs.queries` and `.entity_ids`.

    Memory beyond the vectors is one block of `block_bytes`. The last digits of a dot product may differ between block
    sizes (about 1e-7 for unit vectors), and with them the order of entities that lie closer together than that.

    Raises
    ------
    DataError
        If the numbers of rows or the widths do not fit, or a score is NaN or infinite.
    """
    wanted = (len(pairs.queries), len(pairs.entity_ids))
    if (len(queries_QD), len(entities_ND)) != wanted or queries_QD.shape[1] != entities_ND.shape[1]:
        raise DataError(
            f"query vectors {queries_QD.shape} and entity vectors {entities_ND.shape} do not fit {wanted[0]} queries "
            f"and {wanted[1]} entities of one width; encode the queries and entities of these pairs, in their order"
        )
    size = max(1, block_bytes // (4 * wanted[1]))
    blocks = ((start, queries_QD[start : start + size] @ entities_ND.T) for start in range(0, wanted[0], size))
    return ranks_from_score_blocks(
        blocks, pairs, leave_out_other_positives=leave_out_other_positives, on_block=on_block
    )


@dataclass(frozen=True)
class RecallFigures:
    """Recall@k per k, mean reciprocal rank, and what they were measured on."""

    recall: dict[int, float]
    mean_reciprocal_rank: float
    pairs: int
    queries: int


def recall_figures(
    ranks_P: IntArray, pair_queries_P: IntArray, ks: Sequence[int] = (10,), members_P: BoolArray | None = None
) -> RecallFigures:
    """Hit rates per pair at each k, and the mean reciprocal rank; of the `members` alone where given.

    Raises
    ------
    SettingError
        If a k is less than one.
    """
    check_ks(ks)
    ranks, queries = (ranks_P, pair_queries_P) if members_P is None else (ranks_P[members_P], pair_queries_P[members_P])
    if len(ranks) == 0:
        return RecallFigures(dict.fromkeys(ks, float("nan")), float("nan"), 0, 0)
    return RecallFigures(
        {k: float((ranks <= k).mean()) for k in ks}, float((1 / ranks).mean()), len(ranks), len(np.unique(queries))
    )


def group_figures(
    ranks_P: IntArray, pair_queries_P: IntArray, groups: Mapping[str, BoolArray], ks: Sequence[int] = (10,)
) -> dict[str, RecallFigures]:
    """`recall_figures` of each group of pairs; groups may overlap (a word may belong to two languages)."""
    return {name: recall_figures(ranks_P, pair_queries_P, ks, members) for name, members in groups.items()}


def per_query_sums(
    values_PS: npt.NDArray[np.float64], pair_queries_P: IntArray, query_count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sums float64 (Q, S) of the values of each query's pairs, and their counts float64 (Q,), for the bootstrap."""
    sums = np.column_stack([np.bincount(pair_queries_P, column, query_count) for column in values_PS.T]).astype(
        np.float64
    )
    return sums, np.bincount(pair_queries_P, minlength=query_count).astype(np.float64)


def check_ks(ks: Sequence[int]) -> None:
    """Raise `SettingError` unless there are ks and all are one or more."""
    if not ks or min(ks) < 1:
        raise SettingError(f"k must be 1 or more, got {', '.join(map(str, ks)) or 'none'}")


def check_finite(start: int, scores_BN: FloatArray, pairs: EvaluationPairs) -> None:
    """Raise `DataError` if a score is not finite; `start` is the first query."""
    invalid = ~np.isfinite(scores_BN).all(axis=1)
    if invalid.any():
        query = pairs.queries[start + int(invalid.argmax())]
        raise DataError(
            f"query '{query}' has a score that is not a finite number, so there is no rank; check the vectors of "
            "the query and of the entities"
        )


def _catalogue_rows(ids: pa.StringArray) -> KeyIndex:
    """The row of each id, in place of a dictionary of Python texts, which takes several times the memory."""
    row_of = KeyIndex()
    rows = row_of.intern(ids.cast(pa.large_string()))
    if ids.null_count:
        raise DataError(
            f"row {ids.is_null().index(True).as_py() + 1} of the catalogue has a null id; give every entity an id"
        )
    if len(row_of) < len(ids):
        double = ids[int(np.flatnonzero(rows != np.arange(len(ids)))[0])].as_py()
        raise DataError(f"entity id '{double}' stands more than once in the catalogue; keep one row for each id")
    return row_of


def _listed(corpus_ids: pa.StringArray, row_of: KeyIndex, count: int) -> BoolArray:
    """Which rows of the catalogue belong to a corpus that is given by id."""
    listed = row_of.find(corpus_ids.cast(pa.large_string()))
    absent = np.flatnonzero(listed < 0)
    if len(absent):
        raise DataError(
            f"entity '{corpus_ids[int(absent[0])].as_py()}' stands in the corpus but not in the catalogue; add it, or "
            "choose the corpus again"
        )
    if len(listed) == 0:
        raise DataError("the corpus lists no entity of this type; rank among all instead")
    in_corpus = np.zeros(count, dtype=bool)
    in_corpus[listed] = True
    return in_corpus


def _only_corpus(blocks: Iterable[tuple[int, FloatArray]], pairs: EvaluationPairs) -> Iterator[tuple[int, FloatArray]]:
    """The blocks, checked, with what is outside the corpus below everything but for the query's own positives.

    Those of the query's positives that are outside the corpus keep their scores; `EvaluationPairs.excluded` names them.
    """
    outside = ~pairs.in_corpus
    for start, scores_BN in blocks:
        check_finite(start, scores_BN, pairs)
        if outside.any():
            first, last = np.searchsorted(pairs.pair_queries, [start, start + len(scores_BN)])
            rows, columns = pairs.pair_queries[first:last] - start, pairs.pair_positives[first:last]
            own = scores_BN[rows, columns]
            scores_BN[:, outside] = -np.inf
            scores_BN[rows, columns] = own
        yield start, scores_BN
