"""Ranks of evaluation pairs in a corpus that goes by block by block, from embedding tables or from memory.

Shapes: Q queries, N entities, D dimensions, P pairs.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.recall import EvaluationPairs
from omnifeat.corpus_tables import CorpusTables
from omnifeat.errors import DataError
from omnifeat.keys import KeyIndex
from omnifeat.ranks import Excluded
from omnifeat.search.ranks import CorpusBlock, PositiveRanks, RankedPairs, positive_ranks

__all__ = ["ranks_from_tables", "ranks_from_vectors"]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_ROWS = 16_384


def ranks_from_tables(
    queries_QD: FloatArray,
    tables: CorpusTables,
    entity_type: str,
    pairs: EvaluationPairs,
    *,
    leave_out_other_positives: bool = True,
    most: int | None = None,
    product: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    on_block: Callable[[int], None] | None = None,
) -> PositiveRanks:
    """Exact ranks of the pairs' positives by dot product with vectors that stand in tables.

    The tables are read twice: once for the positives, which are held, and once for the corpus. The rest is as in
    `positive_ranks`. Where float32 products order two entities by the last digit, the ranks may differ from
    `ranks_from_embeddings`; these here do not depend on blocks, threads or processor.

    Raises
    ------
    DataError
        If the tables lack an entity of the corpus or a positive, or hold one twice; and what reading them raises.
    SettingError
        If a setting is not what it must be.
    """
    ranked = _ranked_pairs(
        queries_QD, pairs, leave_out_other_positives,
        lambda rows: tables.vectors_of(pairs.entity_ids.take(pa.array(rows)), entity_type),
    )  # fmt: skip
    corpus = KeyIndex()
    corpus.intern(pairs.entity_ids.filter(pa.array(pairs.in_corpus)).cast(pa.large_string()))
    return positive_ranks(
        ranked, tables.blocks(entity_type, corpus), most=most, product=product, device=device, threads=threads,
        on_block=on_block,
    )  # fmt: skip


def ranks_from_vectors(
    queries_QD: FloatArray,
    entities_ND: FloatArray,
    pairs: EvaluationPairs,
    *,
    leave_out_other_positives: bool = True,
    most: int | None = None,
    threads: int | None = None,
) -> IntArray:
    """Exact rank int64 (P,) of each pair's positive by dot product; rows as in `pairs.queries` and `.entity_ids`.

    As `evaluation.recall.ranks_from_embeddings`, but entities outside the corpus are not scored, no table of scores is
    held, and the ranks depend on no block, thread or processor. With `most`, a rank beyond it is given as `most` + 1.

    Raises
    ------
    DataError
        If the numbers of rows or the widths do not fit, or a vector is not finite.
    SettingError
        If `most` or `threads` is less than one.
    """
    wanted = (len(pairs.queries), len(pairs.entity_ids))
    if (len(queries_QD), len(entities_ND)) != wanted:
        raise DataError(
            f"query vectors {queries_QD.shape} and entity vectors {entities_ND.shape} do not fit {wanted[0]} queries "
            f"and {wanted[1]} entities; encode the queries and entities of these pairs, in their order"
        )
    ranked = _ranked_pairs(queries_QD, pairs, leave_out_other_positives, lambda rows: entities_ND[rows])
    return positive_ranks(ranked, _corpus_blocks(entities_ND, pairs), most=most, threads=threads).ranks


def _ranked_pairs(
    queries_QD: FloatArray, pairs: EvaluationPairs, leave_out: bool, vectors_of: Callable[[IntArray], FloatArray]
) -> RankedPairs:
    """The pairs with the vectors of their positives, which `vectors_of` gives by their rows in `pairs.entity_ids`."""
    known_rows, positive_P = np.unique(pairs.pair_positives, return_inverse=True)
    excluded = pairs.excluded(leave_out)
    candidates = np.searchsorted(known_rows, excluded.candidates)
    return RankedPairs(
        queries_QD,
        pairs.entity_ids.take(pa.array(known_rows)),
        vectors_of(known_rows),
        pairs.pair_queries,
        positive_P.astype(np.int64),
        Excluded(excluded.offsets, candidates.astype(np.int64)),
    )


def _corpus_blocks(entities_ND: FloatArray, pairs: EvaluationPairs) -> Iterator[CorpusBlock]:
    rows = np.flatnonzero(pairs.in_corpus)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        yield CorpusBlock(pairs.entity_ids.take(pa.array(some)), entities_ND[some])
