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

__all__ = ["positive_ranks_from_vectors", "ranks_from_tables", "ranks_from_vectors"]

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
    left_out: Excluded | None = None,
    most: int | None = None,
    product: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    on_block: Callable[[int], None] | None = None,
) -> PositiveRanks:
    """Exact ranks of the pairs' positives by dot product with vectors that stand in tables.

    The tables are read twice: once for the positives and for what is left out, which are held, and once for the corpus.
    The rest is as in `positive_ranks`. Where float32 products order two entities by the last digit, the ranks may
    differ from `ranks_from_embeddings`; these here do not depend on blocks, threads or processor.

    With `left_out`, which holds rows of `pairs.entity_ids`, `ranks` are those in a corpus without these entities, and
    `with_competing` those in all of it.

    Raises
    ------
    DataError
        If the tables lack an entity of the corpus or a positive, or hold one twice; and what reading them raises.
    SettingError
        If a setting is not what it must be.
    """
    ranked = _ranked_pairs(
        queries_QD, pairs, leave_out_other_positives, left_out,
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
    found = positive_ranks_from_vectors(
        queries_QD, entities_ND, pairs, leave_out_other_positives=leave_out_other_positives, most=most, threads=threads
    )
    return found.ranks


def positive_ranks_from_vectors(
    queries_QD: FloatArray,
    entities_ND: FloatArray,
    pairs: EvaluationPairs,
    *,
    leave_out_other_positives: bool = True,
    left_out: Excluded | None = None,
    most: int | None = None,
    threads: int | None = None,
) -> PositiveRanks:
    """As `ranks_from_vectors`; with `left_out` also without these entities, as in `ranks_from_tables`."""
    wanted = (len(pairs.queries), len(pairs.entity_ids))
    if (len(queries_QD), len(entities_ND)) != wanted:
        raise DataError(
            f"query vectors {queries_QD.shape} and entity vectors {entities_ND.shape} do not fit {wanted[0]} queries "
            f"and {wanted[1]} entities; encode the queries and entities of these pairs, in their order"
        )
    ranked = _ranked_pairs(queries_QD, pairs, leave_out_other_positives, left_out, lambda rows: entities_ND[rows])
    return positive_ranks(ranked, _corpus_blocks(entities_ND, pairs), most=most, threads=threads)


def _ranked_pairs(
    queries_QD: FloatArray,
    pairs: EvaluationPairs,
    leave_out: bool,
    left_out: Excluded | None,
    vectors_of: Callable[[IntArray], FloatArray],
) -> RankedPairs:
    """The pairs with the vectors of their positives, which `vectors_of` gives by their rows in `pairs.entity_ids`."""
    excluded = pairs.excluded(leave_out)
    competing = Excluded.none(len(pairs.queries)) if left_out is None else left_out.without(excluded)
    excluded = excluded.union(competing)
    known_rows = np.union1d(pairs.pair_positives, excluded.candidates)

    def known(some: Excluded) -> Excluded:
        return Excluded(some.offsets, np.searchsorted(known_rows, some.candidates).astype(np.int64))

    return RankedPairs(
        queries_QD,
        pairs.entity_ids.take(pa.array(known_rows)),
        vectors_of(known_rows),
        pairs.pair_queries,
        np.searchsorted(known_rows, pairs.pair_positives).astype(np.int64),
        known(excluded),
        known(competing),
    )


def _corpus_blocks(entities_ND: FloatArray, pairs: EvaluationPairs) -> Iterator[CorpusBlock]:
    rows = np.flatnonzero(pairs.in_corpus)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        yield CorpusBlock(pairs.entity_ids.take(pa.array(some)), entities_ND[some])
