"""Ranks of evaluation pairs in a corpus that is read from embedding tables, block by block.

Shapes: Q queries, D dimensions, P pairs.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.recall import EvaluationPairs
from omnifeat.corpus_tables import CorpusTables
from omnifeat.keys import KeyIndex
from omnifeat.ranks import Excluded
from omnifeat.search.ranks import PositiveRanks, RankedPairs, positive_ranks

__all__ = ["ranks_from_tables"]


def ranks_from_tables(
    queries_QD: npt.NDArray[np.float32],
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
    known_rows, positive_P = np.unique(pairs.pair_positives, return_inverse=True)
    known_ids = pairs.entity_ids.take(pa.array(known_rows))
    excluded = pairs.excluded(leave_out_other_positives)
    candidates = np.searchsorted(known_rows, excluded.candidates)
    ranked = RankedPairs(
        queries_QD,
        known_ids,
        tables.vectors_of(known_ids, entity_type),
        pairs.pair_queries,
        positive_P.astype(np.int64),
        Excluded(excluded.offsets, candidates.astype(np.int64)),
    )
    corpus = KeyIndex()
    corpus.intern(pairs.entity_ids.filter(pa.array(pairs.in_corpus)).cast(pa.large_string()))
    return positive_ranks(
        ranked, tables.blocks(entity_type, corpus), most=most, product=product, device=device, threads=threads,
        on_block=on_block,
    )  # fmt: skip
