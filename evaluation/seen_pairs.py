"""Which evaluated pairs the training part of the log holds, too: what a system may have learned by heart.

Engagements repeat: people save tomorrow what others saved today, so that a pair of the test part may stand in
the training part. Recall on the new pairs alone tells what is beyond that.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.recall import EvaluationPairs
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError
from omnifeat.keys import KeyIndex

__all__ = ["NEW_PAIRS", "SEEN_PAIRS", "seen_in_training"]

NEW_PAIRS, SEEN_PAIRS = "new pairs", "pairs seen in training"


def seen_in_training(dataset: Dataset, entity_type: str, pairs: EvaluationPairs) -> tuple[npt.NDArray[np.bool_], str]:
    """Whether a row of the training part has the pair's query and entity, bool (P,), and the table looked at.

    The table is `log` where the dataset has one (`omnifeat pairs` keeps the whole log there), else `engagements`; a row
    of any action counts.

    Raises
    ------
    DataError
        If the dataset records no split, or the table lacks a column.
    """
    split = dataset.info.split
    if split is None:
        raise DataError(
            f"{dataset.path} records no split in dataset.json, so that no pair is known to be for training; import it "
            "with a split, or leave `--by seen` out"
        )
    table = dataset.log_table()
    queries, entities = KeyIndex(), KeyIndex()
    queries.intern(pa.array(pairs.queries, pa.large_string()))
    entity_P = entities.intern(pairs.entity_ids.take(pa.array(pairs.pair_positives)).cast(pa.large_string()))
    codes_P = pairs.pair_queries * len(entities) + entity_P
    order = np.argsort(codes_P)
    seen_P = np.zeros(len(codes_P), np.bool_)
    columns = list(dict.fromkeys(["query", "entity_id", "entity_type", split.column]))
    for batch in dataset.batches(table, columns):
        rows = batch.filter(pc.equal(batch.column("entity_type"), entity_type))
        query_rows = queries.find(rows.column("query").cast(pa.large_string()))
        entity_rows = entities.find(rows.column("entity_id").cast(pa.large_string()))
        known = (query_rows >= 0) & (entity_rows >= 0)
        if not known.any():
            continue
        # the part is asked for last: of a hash split it costs a hash a row
        training = pc.equal(split.assign(rows.filter(pa.array(known))), "train").to_numpy(zero_copy_only=False)
        codes = query_rows[known][training].astype(np.int64) * len(entities) + entity_rows[known][training]
        places = np.minimum(np.searchsorted(codes_P, codes, sorter=order), len(order) - 1)
        hits = order[places]
        seen_P[hits[codes_P[hits] == codes]] = True
    return seen_P, table
