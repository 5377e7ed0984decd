"""The entities of a study: the catalogue of one type, and which of it are the corpus.

The corpus is what the dataset's table `corpus` lists (`omnifeat pairs` writes it), a uniform sample, or the whole
catalogue.
"""

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.recall import EvaluationPairs
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.errors import DataError

__all__ = ["CORPORA", "catalogue_ids", "listed_ids", "pairs_in_corpus", "scored_entities"]

CORPORA = ("auto", "table", "all")


def pairs_in_corpus(
    dataset: Dataset, entity_type: str, engagements: pa.Table, *, corpus: str, corpus_size: int | None, seed: int
) -> tuple[EvaluationPairs, str]:
    """The pairs of engagements of one type and the corpus that they are ranked in, and in words where that is from.

    Parameters
    ----------
    engagements
        Rows with `query` and `entity_id`, all of `entity_type`.
    corpus
        One of `CORPORA`: `table` for the entities that the table `corpus` lists, `all` for the whole catalogue, `auto`
        for the table where it lists entities of this type, and else all.
    corpus_size, seed
        A uniform sample of this size instead; null for none.

    Raises
    ------
    DataError
        If a table, column or entity that is needed is not there.
    """
    listed = None
    if corpus_size is None and corpus != "all":
        listed = listed_ids(dataset, entity_type, required=corpus == "table")
    ids = catalogue_ids(dataset, entity_type)
    pairs = EvaluationPairs.make(
        engagements["query"].to_pylist(),
        engagements["entity_id"].to_pylist(),
        ids,
        corpus_size=corpus_size,
        corpus_ids=listed,
        seed=seed,
    )
    if listed is not None:
        return pairs, "the dataset's table corpus"
    if corpus_size is not None and corpus_size < len(ids):
        return pairs, f"a uniform sample, seed {seed}"
    return pairs, "the whole catalogue"


def listed_ids(dataset: Dataset, entity_type: str, *, required: bool = False) -> pa.StringArray | None:
    """Ids of the entities of a type that the table `corpus` lists; null where there is no such table, or it lists none.

    Raises
    ------
    DataError
        If the table lacks a column; if there is none that is `required`, or it lists no entity of the type.
    """
    if not required and not dataset.has("corpus"):
        return None
    dataset.require("corpus", "entity_type", "entity_id")
    parts = []
    for batch in dataset.batches("corpus", ["entity_type", "entity_id"]):
        inside = pc.equal(batch.column("entity_type"), entity_type)
        parts.append(batch.column("entity_id").filter(inside).cast(pa.string()))
    ids = pa.concat_arrays(parts) if parts else pa.array([], pa.string())
    if len(ids):
        return ids
    if required:
        raise DataError(
            f"the table corpus of {dataset.path} lists no entity of type {entity_type}; give --corpus all, or make it "
            "with `omnifeat pairs`"
        )
    return None


def catalogue_ids(dataset: Dataset, entity_type: str) -> pa.StringArray:
    """Ids of all entities of a type; those of queries, which may stand once a language, each once.

    Raises
    ------
    DataError
        If the table or its column of ids is not there.
    """
    table, column = ENTITY_TABLES[entity_type]
    dataset.require(table, column)
    ids = dataset.read(table, [column])[column].cast(pa.string())
    if entity_type == "query":
        ids = pc.unique(ids)
    return ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids


def scored_entities(dataset: Dataset, entity_type: str, ids: pa.StringArray) -> pa.Table:
    """Rows of the entities, in the order of `ids`; only these are ever held."""
    if entity_type == "query":
        return pa.table({"id": ids, "title": ids})
    batches = [
        batch.filter(pc.is_in(batch.column("id"), ids)) for batch in dataset.batches(ENTITY_TABLES[entity_type][0])
    ]
    table = pa.Table.from_batches(batches)
    order = pc.index_in(ids, table["id"].combine_chunks())
    return table.take(order)
