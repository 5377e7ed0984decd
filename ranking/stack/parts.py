"""What the stages of a search stack hand to each other, and what each must be able to do.

Shape suffixes: N entities of the catalogue, Q queries, K candidates, n pairs of a query and an entity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES, ENTITY_TYPES
from omnifeat.errors import DataError, SettingError

__all__ = ["ABSENT", "Blender", "Candidates", "Catalogue", "FeatureSource", "Retriever", "Scorer", "best_first"]

ABSENT = -1  # in the place of a row: no candidate

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Catalogue:
    """The entities that a stack can show, N rows; stages name an entity by its row.

    Attributes
    ----------
    ids : pa.Array of string (N,)
        Distinct within a type.
    kinds : int8 (N,)
        Places in ENTITY_TYPES.
    """

    ids: pa.Array
    kinds: npt.NDArray[np.int8]

    @classmethod
    def of(cls, dataset: Dataset, entity_types: Sequence[str] = ("pin", "product")) -> "Catalogue":
        """The entities of these types, type by type, in the order of their tables.

        Raises
        ------
        DataError
            If a table or its ids are missing.
        SettingError
            If no type is named, or one that no stack shows.
        """
        if not entity_types or not set(entity_types) <= {"pin", "product"}:
            raise SettingError(f"a stack shows pins, products or both, got {', '.join(entity_types) or 'nothing'}")
        ids, kinds = [], []
        for entity_type in entity_types:
            dataset.require(ENTITY_TABLES[entity_type][0], "id")
            column = dataset.read(ENTITY_TABLES[entity_type][0], ["id"])["id"].cast(pa.string()).combine_chunks()
            ids.append(column)
            kinds.append(np.full(len(column), ENTITY_TYPES.index(entity_type), np.int8))
        return cls(pa.concat_arrays(ids), np.concatenate(kinds))

    def __len__(self) -> int:
        return len(self.kinds)

    def rows(self, entity_type: str) -> IntArray:
        """Rows of one type, in order."""
        return np.flatnonzero(self.kinds == ENTITY_TYPES.index(entity_type))

    def types(self, rows: IntArray) -> pa.Array:
        """The entity type of each row."""
        return pa.array(ENTITY_TYPES).take(pa.array(self.kinds[rows]))

    def find(self, pairs: pa.Table) -> IntArray:
        """Row of each entity of a table of `entity_id` and `entity_type`, int64 (n,).

        Raises
        ------
        DataError
            If one is not in the catalogue.
        """
        ids = pairs["entity_id"].combine_chunks()
        kinds = pc.index_in(pairs["entity_type"].combine_chunks(), pa.array(ENTITY_TYPES))
        found = np.full(len(ids), ABSENT, np.int64)
        for kind in np.unique(self.kinds):
            rows = np.flatnonzero(self.kinds == kind)
            of_kind = pc.fill_null(pc.equal(kinds, int(kind)), False).to_numpy(zero_copy_only=False)
            # rows of one kind mostly lie together, and then the look-up table is a view of the ids
            together = rows[-1] - rows[0] == len(rows) - 1
            known = self.ids.slice(rows[0], len(rows)) if together else self.ids.take(pa.array(rows))
            place = pc.fill_null(pc.index_in(ids.filter(pa.array(of_kind)), known), ABSENT).to_numpy()
            found[of_kind] = np.where(place >= 0, rows[place], ABSENT)
        if (found < 0).any():
            row = int(np.argmin(found))
            raise DataError(
                f"the catalogue has no {pairs['entity_type'][row].as_py()} '{ids[row].as_py()}' of row {row + 1}; "
                "give pairs of the dataset that the stack was made of"
            )
        return found


@dataclass(frozen=True)
class Candidates:
    """What one retriever found for Q queries, the best first.

    Attributes
    ----------
    rows : int64 (Q, K)
        Rows of the catalogue; -1 where there is none, after those that there are.
    scores : float32 (Q, K)
        The retriever's own, comparable within a query.
    """

    rows: IntArray
    scores: npt.NDArray[np.float32]


class Retriever(Protocol):
    """Finds candidates for queries."""

    @property
    def name(self) -> str:
        """As a trace names it."""

    def retrieve(self, queries: Sequence[str]) -> Candidates:
        """Candidates of each query, at most a number that is the retriever's setting."""


@runtime_checkable
class FeatureSource(Protocol):
    """Computes features of pairs."""

    def compute(self, pairs: pa.Table) -> pa.Table:
        """Feature columns of pairs (`query`, `entity_id`, `entity_type`), the same n rows in the same order."""


class Scorer(Protocol):
    """A model that scores rows of features; the estimators of `ranking` are such."""

    def predict(self, X: Any) -> FloatArray:
        """Scores float64 (n,), higher is better."""


class Blender(Protocol):
    """Makes one list of the candidates of one query."""

    def blend(self, kinds: npt.NDArray[np.int8], utilities: FloatArray) -> IntArray:
        """The order in which n candidates are shown, int64 (m,) of places in what is given, m at most n.

        The candidates come sorted by utility within each kind, the best first, kind by kind.
        """


def best_first(scores: npt.NDArray[np.floating], rows: IntArray, groups: IntArray) -> IntArray:
    """The order (n,) by group, then falling score, then row, so that equals stand alike in any order of input.

    Raises
    ------
    DataError
        If a score is not a number.
    """
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores))[0])
        raise DataError(f"the stack's score of candidate {row} is not a number; check the model and its features")
    return np.lexsort((rows, -scores, groups))
