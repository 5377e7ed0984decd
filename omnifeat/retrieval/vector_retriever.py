"""Entities for query texts from an index: the embedding retrieval of sections 5.2 and 5.3."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.files import iter_batches, read_schema
from omnifeat.data.text_lists import text_list
from omnifeat.embedding_table import EmbeddingTable
from omnifeat.entity_sources import is_dataset_folder
from omnifeat.errors import DataError
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.query_encoders import QueryEncoder
from omnifeat.retrieval.hnsw import HnswIndex

__all__ = ["RUN_SCHEMA", "VectorRetriever", "distinct_queries", "run_table", "search_table"]

RUN_SCHEMA = pa.schema(
    [
        pa.field("query", pa.string()),
        pa.field("entity_id", pa.string()),
        pa.field("entity_type", pa.string()),
        pa.field("rank", pa.int64()),
        pa.field("score", pa.float32()),
    ]
)
"""A run: for each query the entities that were found, the best first, `rank` from 1 and `score` a cosine."""


class VectorRetriever:
    """Retrieves entities for query texts.

    An index of products alone (`HnswIndex.from_tables(..., entity_type="product")`, and `only=` for those that are
    advertised) makes this the retrieval of product ads.

    Parameters
    ----------
    index
        Entities.
    encoder
        Embeds the queries; it must be the encoder of the index.
    breadth
        As in `HnswIndex.search`.
    min_score
        Cosine below which an entity is not retrieved, or None for no limit: an ad that has nothing to do with the
        query is worse than none.

    Raises
    ------
    FingerprintError
        If the index is of another encoder.
    DataError
        If the widths differ.
    """

    def __init__(
        self, index: HnswIndex, encoder: QueryEncoder, *, breadth: int | None = None, min_score: float | None = None
    ) -> None:
        index.check_encoder("the encoder", encoder.fingerprint, encoder.dim)
        self.index = index
        self.encoder = encoder
        self.breadth = breadth
        self.min_score = min_score

    def retrieve(self, queries: Sequence[str], k: int, *, threads: int | None = None) -> pa.Table:
        """The k nearest entities of each query as a table of `RUN_SCHEMA`, queries in their order.

        A query that is null or blank is refused by the encoder with `DataError`.
        """
        queries = text_list(queries)
        vectors = self.encoder.encode_queries(queries)
        return run_table(
            self.index, queries, vectors, k, breadth=self.breadth, min_score=self.min_score, threads=threads
        )


def run_table(
    index: HnswIndex,
    queries: Any,
    vectors: npt.NDArray[np.float32],
    k: int,
    *,
    breadth: int | None = None,
    min_score: float | None = None,
    threads: int | None = None,
) -> pa.Table:
    """Search for queries (Q,) by their vectors (Q, D); a table of `RUN_SCHEMA`, at most Q x k rows."""
    hits = index.search(vectors, k, breadth=breadth, threads=threads)
    kept = slice(None) if min_score is None else hits.scores >= min_score
    rows = pa.array(hits.rows[kept])
    texts = queries if isinstance(queries, pa.Array) else pa.array(list(queries), pa.large_string())
    types = pa.nulls(len(rows), pa.string()) if index.types is None else index.types.take(rows).cast(pa.string())
    return pa.table(
        [
            texts.take(pa.array(hits.query_rows[kept])).cast(pa.string()),
            index.ids.take(rows).cast(pa.string()),
            types,
            pa.array(hits.ranks[kept]),
            pa.array(hits.scores[kept]),
        ],
        schema=RUN_SCHEMA,
    )


def search_table(
    index: HnswIndex,
    queries: str | Path,
    k: int,
    *,
    encoder: QueryEncoder | None = None,
    breadth: int | None = None,
    min_score: float | None = None,
    threads: int | None = None,
    batch_size: int = 1_024,
) -> Iterator[tuple[int, pa.Table]]:
    """Search for all queries of a table or dataset folder, a batch at a time: (queries searched, their run).

    An embedding table of queries is searched by its vectors; the queries of any other table, each distinct text once,
    are embedded by `encoder`.

    Raises
    ------
    DataError
        There is no column `query` or no query, or an encoder is needed and not given.
    FingerprintError
        The queries, or the encoder, are not of the encoder of the index.
    """
    path = str(queries)
    if not is_dataset_folder(path) and b"omnifeat.kind" in (read_schema(path).metadata or {}):
        table = EmbeddingTable.open(path)
        if table.kind != "queries":
            raise DataError(f"{path} holds embeddings of {table.kind}; give queries.")
        index.check_encoder(path, table.fingerprint, table.dim)
        if encoder is not None:
            table.check_encoder("the encoder", encoder.fingerprint, encoder.dim)
        table.check_unique()
        for batch in table.batches(batch_size):
            found = run_table(
                index, batch.keys, batch.vectors, k, breadth=breadth, min_score=min_score, threads=threads
            )
            yield len(batch.keys), found
        return
    if encoder is None:
        raise DataError(f"{path} holds no embeddings, so the queries must be encoded: say with which encoder.")
    index.check_encoder("the encoder", encoder.fingerprint, encoder.dim)
    texts = distinct_queries(path)
    for start in range(0, len(texts), batch_size):
        part = texts.slice(start, batch_size)
        vectors = encoder.encode_queries(part.to_pylist())
        yield len(part), run_table(index, part, vectors, k, breadth=breadth, min_score=min_score, threads=threads)


def distinct_queries(path: str) -> pa.LargeStringArray:
    """Each text once of a table's column `query`, or of a dataset folder's queries, in order of appearance.

    Raises
    ------
    DataError
        No such column, no query at all, or one that is null or blank (named by its row).
    """
    if is_dataset_folder(path):
        dataset = Dataset.open(path)
        dataset.require("queries", "query")
        name, batches = f"{path}: table queries", dataset.batches("queries", columns=["query"])
    else:
        names = read_schema(path).names
        if "query" not in names:
            raise DataError(f"{path} has no column 'query'; its columns are {', '.join(names)}.")
        name, batches = path, iter_batches(path, columns=["query"])
    index, first_row = KeyIndex(), 1
    for batch in batches:
        texts = as_strings(batch.column("query"), f"{name}: column 'query'")
        blank = pc.fill_null(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0), True)
        if pc.any(blank).as_py():
            row = first_row + pc.index(blank, True).as_py()
            raise DataError(f"{name}: the query in row {row} is null or blank; take the row out.")
        index.intern(texts)
        first_row += batch.num_rows
    if len(index) == 0:
        raise DataError(f"{name} holds no queries; give a table with at least one.")
    return index.strings()
