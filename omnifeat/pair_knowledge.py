"""What the encoder was trained on of pairs that are named by row numbers: each distinct text hashed once.

Shape legend: Q queries, E entities, P pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from omnifeat.keys import KeyIndex
from omnifeat.models.training_record import PAIR_KNOWN, TrainingRecord, id_hashes, query_hashes

__all__ = ["PairKnowledge"]

_HASHED_ROWS = 1 << 18  # texts copied out of an index at once

Int32 = npt.NDArray[np.int32]
UInt8 = npt.NDArray[np.uint8]
UInt64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class PairKnowledge:
    """Hashes of the queries uint64 (Q + 1,) and entities (E + 1,), the last 0 for row -1; the entities' types.

    `types` maps the tags uint8 (E + 1,) of the entities to their types, None for one that is not said.
    """

    record: TrainingRecord
    queries: UInt64
    entities: UInt64
    tags: UInt8
    types: Mapping[int, str | None]

    @classmethod
    def of(
        cls, record: TrainingRecord, queries: KeyIndex, count: int, entities: KeyIndex, types: Mapping[int, str | None]
    ) -> Self:
        """Of the first `count` queries, and of all entities."""
        of_queries = np.zeros(count + 1, np.uint64)
        for start in range(0, count, _HASHED_ROWS):
            stop = min(start + _HASHED_ROWS, count)
            of_queries[start:stop] = query_hashes(queries.strings(start, stop))
        tags = np.append(entities.tags, np.uint8(0))
        is_query = np.isin(tags, [tag for tag, kind in types.items() if kind == "query"])
        of_entities = np.zeros(len(entities) + 1, np.uint64)
        for start in range(0, len(entities), _HASHED_ROWS):
            stop = min(start + _HASHED_ROWS, len(entities))
            texts = entities.strings(start, stop)
            of_entities[start:stop] = np.where(is_query[start:stop], query_hashes(texts), id_hashes(texts))
        return cls(record, of_queries, of_entities, tags, types)

    def codes(self, query_rows: Int32, entity_rows: Int32) -> UInt8:
        """What `TrainingRecord.knows` says of pairs of these rows, uint8 (P,); -1 is no row."""
        queries, entities, tags = self.queries[query_rows], self.entities[entity_rows], self.tags[entity_rows]
        known = self.record.has_queries(queries).astype(np.uint8)
        for tag in np.unique(tags).tolist():
            rows = np.flatnonzero(tags == tag)
            found = self.record.has_pairs(queries[rows], self.types[tag], entities[rows])
            known[rows[found]] = PAIR_KNOWN
        return known
