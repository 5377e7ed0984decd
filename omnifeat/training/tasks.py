"""Sets of pairs, and the tasks over them (sections 3.5 and 4.1, Table 1).

A task is a set of (query, entity) pairs and an encoder of the entities. Pairs come from the `engagements` table, one
set for each entity type and group of actions:

    pins              pin      save, long_click, click
    pins_offsite      pin      add_to_cart, checkout
    products          product  save, long_click, click
    products_offsite  product  add_to_cart, checkout
    queries           query    any

A pair stands once in its set, however often it was engaged with. The tasks of a set share its pairs: pins and products
have the learned entity encoder and a compatibility encoder for each existing embedding, queries the query encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from omnifeat.data.tasks import PAIR_TASKS
from omnifeat.errors import DataError, SettingError

__all__ = ["ENTITY", "QUERY", "Catalogue", "PairSet", "Task", "build_pair_sets", "chosen_tasks", "shuffled", "tasks_of"]

ENTITY, QUERY = "entity", "query"  # encoders that are learned; others are named by their vector column
_TABLE_OF = {"pin": "pins", "product": "products"}

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairSet:
    """Distinct pairs of one entity type and group of actions.

    Attributes
    ----------
    name, entity_type
        See the table above.
    queries
        int64 (P,): row of each pair's query in the catalogue's queries.
    entities
        int64 (P,): row of its entity in the table of the type; for queries, in the catalogue's queries.
    """

    name: str
    entity_type: str
    queries: Rows
    entities: Rows

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class Task:
    """A set of pairs and the encoder of its entities: `entity`, `query` or the name of an existing embedding."""

    pairs: str
    encoder: str

    @property
    def name(self) -> str:
        """`pairs/encoder`."""
        return f"{self.pairs}/{self.encoder}"


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What rows of pairs mean: distinct query texts, and the ids of each entity table."""

    queries: pa.Array
    ids: Mapping[str, pa.Array]  # "pin", "product"

    def size(self, entity_type: str) -> int:
        """Number of entities of a type."""
        return len(self.queries) if entity_type == QUERY else len(self.ids[entity_type])


def build_pair_sets(engagements: pa.Table, ids: Mapping[str, pa.Array]) -> tuple[Catalogue, list[PairSet]]:
    """Group engagements into sets of distinct pairs; sets without a pair are left out.

    Parameters
    ----------
    engagements
        Columns `query`, `entity_id`, `entity_type` and `action`.
    ids
        Ids of the entity tables there are, by entity type (`pin`, `product`).

    Raises
    ------
    DataError
        An engagement's entity is in no table.
    """
    columns = {name: _text(engagements.column(name)) for name in ("query", "entity_id", "entity_type", "action")}
    chosen: dict[str, tuple[str, pa.Array, pa.Array]] = {}
    for name, (entity_type, actions) in PAIR_TASKS.items():
        is_type = pc.equal(columns["entity_type"], entity_type)
        mask = pc.and_(is_type, pc.is_in(columns["action"], value_set=pa.array(actions)))
        if pc.any(mask).as_py():
            chosen[name] = (entity_type, columns["query"].filter(mask), columns["entity_id"].filter(mask))
    texts = [queries for _, queries, _ in chosen.values()]
    texts += [entities for entity_type, _, entities in chosen.values() if entity_type == QUERY]
    distinct = pc.unique(pa.concat_arrays(texts)) if texts else pa.array([], pa.string())

    pair_sets = []
    for name, (entity_type, queries, entities) in chosen.items():
        query_rows = _rows(queries, distinct)
        if entity_type == QUERY:
            entity_rows = _rows(entities, distinct)
        elif entity_type not in ids:
            raise DataError(
                f"Table 'engagements' has entities of type '{entity_type}' but the dataset has no table "
                f"'{_TABLE_OF[entity_type]}'; add it."
            )
        else:
            entity_rows = _rows(entities, ids[entity_type])
        if (entity_rows < 0).any():
            missing = entities[int(np.flatnonzero(entity_rows < 0)[0])].as_py()
            raise DataError(
                f"Table 'engagements' has the {entity_type} '{missing}', which is not in table "
                f"'{_TABLE_OF[entity_type]}'; add it there or remove its engagements."
            )
        pairs = np.unique(np.stack([query_rows, entity_rows], axis=1), axis=0)
        if entity_type == QUERY:  # a query is no suggestion for itself
            pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        if len(pairs):
            pair_sets.append(PairSet(name, entity_type, pairs[:, 0].copy(), pairs[:, 1].copy()))
    return Catalogue(distinct, dict(ids)), pair_sets


def tasks_of(pair_sets: Sequence[PairSet], compatibility: Mapping[str, Sequence[str]]) -> list[Task]:
    """Tasks of the sets; `compatibility` names the existing embeddings of each entity type."""
    tasks = []
    for pairs in pair_sets:
        encoders = [QUERY] if pairs.entity_type == QUERY else [ENTITY, *compatibility.get(pairs.entity_type, ())]
        tasks += [Task(pairs.name, encoder) for encoder in encoders]
    return tasks


def chosen_tasks(tasks: Sequence[Task], patterns: Sequence[str] | None) -> list[Task]:
    """The tasks that a pattern names (`*` stands for any text), in their order; all without patterns.

    Raises
    ------
    SettingError
        A pattern names no task.
    """
    if patterns is None:
        return list(tasks)
    for pattern in patterns:
        if not any(fnmatchcase(task.name, pattern) for task in tasks):
            raise SettingError(
                f"The 'tasks' setting names '{pattern}', but the tasks of this dataset are "
                f"{', '.join(task.name for task in tasks)}."
            )
    return [task for task in tasks if any(fnmatchcase(task.name, pattern) for pattern in patterns)]


def shuffled(pairs: PairSet, seed: int) -> PairSet:
    """The same queries and the same entities, each as often as before, dealt out anew (a pair may then repeat)."""
    order = np.random.default_rng([seed, len(pairs), *pairs.name.encode()]).permutation(len(pairs))
    return replace(pairs, entities=pairs.entities[order])


def _text(column: pa.ChunkedArray) -> pa.Array:
    """One array of strings, of the type that ids are looked up in."""
    array = column.combine_chunks()
    return array if array.type == pa.string() else array.cast(pa.string())


def _rows(values: pa.Array, among: pa.Array) -> Rows:
    found = pc.fill_null(pc.index_in(values, value_set=_text(pa.chunked_array([among]))), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)
