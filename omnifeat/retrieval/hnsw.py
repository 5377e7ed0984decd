"""An index of embeddings for nearest neighbours: a hierarchical small-world graph (Malkov and Yashunin, 2018).

Section 5.2 of the paper retrieves pins and products so, and section 5.3 product ads. The graph is faiss's; what
it leaves to its callers is done here: ids, one order of entities, an exact score that decides ranks, places that stay
empty, the fingerprint of the encoder, and files that are checked before faiss reads them.

Shape suffixes: Q queries, N entities, D dimensions.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.cores import thread_count
from omnifeat.embedding_table import EmbeddingTable, refuse_duplicates, typed_keys
from omnifeat.errors import DataError, FingerprintError, SettingError
from omnifeat.keys import KeyIndex, as_strings
from omnifeat.retrieval.nearest import Hits, best_first, join_hits, lengths_of, nearest, unit_rows

__all__ = ["HnswIndex", "HnswSettings", "faiss_library"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

_LEAST_BREADTH = 128
_BLOCK_CANDIDATES = 1 << 20


@dataclass(frozen=True)
class HnswSettings:
    """How the graph is built.

    Parameters
    ----------
    neighbours : int
        Links of an entity on each layer (M), and twice that on the lowest one.
    breadth : int
        Candidates that are kept while the links of a new entity are chosen (efConstruction).
    exact_below : int
        Up to so many entities there is no graph: every search is exact.
    """

    neighbours: int = 32
    breadth: int = 200
    exact_below: int = 20_000

    def __post_init__(self) -> None:
        for name, least in (("neighbours", 2), ("breadth", 1), ("exact_below", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SettingError(
                    f"The {name!r} setting of an index must be a whole number from {least}; got {value!r}."
                )


def faiss_library() -> Any:
    """The faiss module, imported when first needed: its OpenMP must not load before the caller's own."""
    return importlib.import_module("faiss")


class HnswIndex:
    """Nearest entities by cosine, from a graph, or exactly where there are few.

    The same entities, vectors and settings give the same index, in whatever order they came: entities are put in the
    order of their ids before the graph is built, on one thread unless more are asked for.

    Attributes
    ----------
    ids : large_string (N,)
        In rising order; of equal ids, a product stands behind a pin.
    types : large_string (N,) or None
        `pin` or `product`; None where the source did not say.
    vectors : float32 (N, D), rows of length one
    fingerprint : str or None
        The encoder's.
    zero_vectors : int
        Entities that were left out because their vector is zero: the encoder knows nothing of them.
    settings : HnswSettings
    """

    def __init__(
        self,
        ids: pa.LargeStringArray,
        types: pa.LargeStringArray | None,
        vectors_ND: Float32,
        graph: Any,
        *,
        fingerprint: str | None,
        zero_vectors: int,
        settings: HnswSettings,
    ) -> None:
        """Take parts that belong together; use `build`, `from_tables` or `load`."""
        self.ids = ids
        self.types = types
        self.vectors = vectors_ND
        self.graph = graph
        self.fingerprint = fingerprint
        self.zero_vectors = zero_vectors
        self.settings = settings

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.vectors.shape[1])

    @property
    def exact(self) -> bool:
        """Whether every search is exact because there is no graph."""
        return self.graph is None

    @classmethod
    def build(
        cls,
        ids: Any,
        vectors: npt.NDArray[np.floating],
        *,
        types: Any = None,
        fingerprint: str | None = None,
        settings: HnswSettings | None = None,
        threads: int = 1,
    ) -> "HnswIndex":
        """Build from arrays.

        Parameters
        ----------
        ids : text (N,), each once
        vectors : float (N, D), finite, of any length
        types : text (N,) or None
            `pin` or `product`; with them, an id may stand once for each type.
        fingerprint : str or None
            Of the encoder behind the vectors; searches are held to it.
        threads : int
            With more than one the graph is built faster, but not twice the same.

        Raises
        ------
        DataError
            No entity, an id that is null or stands twice, vectors of another count or not finite, or all zero.
        """
        names = as_strings(pa.array(ids) if not isinstance(ids, pa.Array | pa.ChunkedArray) else ids, "the ids")
        if len(names) == 0:
            raise DataError("There are no entities to index; give at least one.")
        if names.null_count:
            raise DataError(f"The id in row {pc.index(names.is_null(), True).as_py() + 1} is null; give every row one.")
        kinds = None
        if types is not None:
            kinds = as_strings(pa.array(types) if not isinstance(types, pa.Array | pa.ChunkedArray) else types, "types")
        if vectors.ndim != 2 or len(vectors) != len(names) or (kinds is not None and len(kinds) != len(names)):
            raise DataError(f"There must be one vector and one type for each of the {len(names):,} ids; got others.")
        lengths = lengths_of(vectors)
        if not np.isfinite(lengths).all():
            row = int(np.flatnonzero(~np.isfinite(lengths))[0])
            raise DataError(f"The vector of {names[row].as_py()!r} (row {row + 1}) holds NaN or infinity; embed again.")
        refuse_duplicates(lambda: iter([typed_keys(names, kinds)]), "the index", "id")
        known = lengths > 0
        if not known.any():
            raise DataError(f"All {len(names):,} vectors are zero: the encoder knows nothing of these entities.")
        order = pc.sort_indices(
            pa.table({"id": names, "type": pa.nulls(len(names), pa.large_string()) if kinds is None else kinds}),
            sort_keys=[("id", "ascending"), ("type", "ascending")],
        ).to_numpy()
        order = order[known[order]]
        chosen = settings or HnswSettings()
        vectors_ND = unit_rows(vectors, lengths, order)
        graph = None
        if len(order) > chosen.exact_below:
            graph = _built(vectors_ND, chosen, threads)
            vectors_ND = stored_vectors(graph)  # the copy in the graph is the one that is kept
        rows = pa.array(order)
        return cls(
            names.take(rows),
            None if kinds is None else kinds.take(rows),
            vectors_ND,
            graph,
            fingerprint=fingerprint,
            zero_vectors=int((~known).sum()),
            settings=chosen,
        )

    @classmethod
    def from_tables(
        cls,
        paths: Sequence[str | Path],
        *,
        entity_type: str | None = None,
        only: Any = None,
        settings: HnswSettings | None = None,
        threads: int = 1,
    ) -> "HnswIndex":
        """Build from embedding tables of entities (`omnifeat embed --entities`), all of one encoder.

        Parameters
        ----------
        entity_type : `pin`, `product` or None
            Index these alone, as for product ads; a row that does not say its type belongs to every one.
        only : text ids or None
            Index these alone, such as the products that are advertised; one that the tables lack is refused.
        settings, threads
            As in `build`.

        Raises
        ------
        DataError
            A table is none of entities, an entity stands twice, none is of the type, or one of `only` is missing.
        FingerprintError
            The tables are of two encoders.
        """
        tables = [EmbeddingTable.open(str(path)) for path in paths]
        if not tables:
            raise SettingError("There is no embedding table to index; name at least one.")
        for table in tables:
            if table.kind != "entities":
                raise DataError(f"{table.path} holds embeddings of {table.kind}; give a table of entities.")
            table.check_encoder(tables[0].path, tables[0].fingerprint, tables[0].dim)
        wanted = None
        if only is not None:
            wanted = KeyIndex()
            wanted.intern(as_strings(only if isinstance(only, pa.Array | pa.ChunkedArray) else pa.array(only), "only"))
        ids, types, vectors = [], [], []
        for batch in (batch for table in tables for batch in table.batches()):
            keep = np.ones(len(batch.keys), np.bool_)
            if entity_type is not None and batch.types is not None:
                same = pc.fill_null(pc.equal(batch.types, entity_type), True)
                keep &= same.to_numpy(zero_copy_only=False)
            if wanted is not None:
                keep &= wanted.find(batch.keys) >= 0
            mask = pa.array(keep)
            kinds = pa.nulls(len(batch.keys), pa.large_string()) if batch.types is None else batch.types
            if entity_type is not None:
                kinds = pc.fill_null(kinds, entity_type)
            ids.append(batch.keys.filter(mask))
            types.append(kinds.filter(mask))
            vectors.append(batch.vectors[keep])
        named = ", ".join(table.path for table in tables[:3])
        names = pa.chunked_array(ids, pa.large_string())
        if wanted is not None:
            found = np.zeros(len(wanted), np.bool_)
            found[wanted.find(names.combine_chunks())] = True
            if not found.all():
                missing = wanted.take(np.flatnonzero(~found)[:1])[0]
                raise DataError(
                    f"{int((~found).sum()):,} of the {len(found):,} entities to index have no vector in {named}, such "
                    f"as {missing!r}; embed them, too."
                )
        if len(names) == 0:
            kind = "entity" if entity_type is None else f"entity of type {entity_type!r}"
            raise DataError(f"There is no {kind} in {named}, so there is nothing to index.")
        kinds = pa.chunked_array(types, pa.large_string())
        together = np.concatenate(vectors)
        vectors.clear()
        return cls.build(
            names,
            together,
            types=None if kinds.null_count == len(kinds) else kinds,
            fingerprint=tables[0].fingerprint,
            settings=settings,
            threads=threads,
        )

    def check_encoder(self, name: str, fingerprint: str | None, dim: int) -> None:
        """Refuse queries of another encoder or width; raises `FingerprintError` or `DataError`."""
        if None not in (fingerprint, self.fingerprint) and fingerprint != self.fingerprint:
            raise FingerprintError(
                f"The index is of encoder {self.fingerprint}, but {name} is of encoder {fingerprint}; use the encoder "
                "that embedded the entities, or build the index anew."
            )
        if dim != self.dim:
            raise DataError(f"The index holds vectors of width {self.dim}, but {name} gives {dim}; embed again.")

    def search(
        self,
        vectors: npt.NDArray[np.floating],
        k: int,
        *,
        breadth: int | None = None,
        fingerprint: str | None = None,
        threads: int | None = None,
    ) -> Hits:
        """The k entities nearest to each vector, best first: by (-cosine, id).

        Each query gets min(k, N) hits; a zero vector, which is near to nothing, gets none. From a graph they are the
        best that it found: nearly always the true ones (raise `breadth` for more). The graph proposes, the exact
        cosine decides their order. A query for which the graph finds fewer than that is searched exactly.

        Parameters
        ----------
        vectors : float (Q, D), finite
        k : int
        breadth : int or None
            Candidates that are kept on the way through the graph (efSearch), at least k; None for the larger of 128
            and 2 k.
        fingerprint : str or None
            The encoder of the vectors, where known: it must be the index's.
        threads : int or None
            Threads that go through the graph, all cores if not given; the result does not depend on them.

        Raises
        ------
        DataError
            Vectors of another width, or one that is not finite (named by its row).
        FingerprintError
            The vectors are of another encoder.
        SettingError
            `k` or `breadth` below 1.
        """
        if k < 1 or (breadth is not None and breadth < 1):
            raise SettingError(f"A search needs k and breadth of 1 or more; got k = {k} and breadth = {breadth}.")
        queries = np.asarray(vectors)
        if queries.ndim != 2:
            raise DataError(f"Query vectors must have two dimensions (queries, width); got {queries.ndim} instead.")
        self.check_encoder("the query table", fingerprint, queries.shape[1])
        lengths = lengths_of(queries)
        if not np.isfinite(lengths).all():
            row = int(np.flatnonzero(~np.isfinite(lengths))[0])
            raise DataError(f"The query vector in row {row + 1} holds NaN or infinity.")
        asked = np.flatnonzero(lengths > 0)
        units_QD = unit_rows(queries, lengths, asked)
        if self.graph is None or k >= len(self):
            hits = nearest(units_QD, self.vectors, k)
        else:
            kept = max(breadth or max(_LEAST_BREADTH, 2 * k), k)
            with _threads(thread_count(threads)):
                hits = join_hits(list(self._by_graph(units_QD, k, kept)))
        return Hits(asked[hits.query_rows], hits.rows, hits.ranks, hits.scores)

    def save(self, path: str | Path) -> None:
        """Write the index as a folder (see `omnifeat.retrieval.index_folder`); raises `OutputError`."""
        from omnifeat.retrieval.index_folder import save_index

        save_index(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "HnswIndex":
        """Read an index written by `save`; raises `DataError` if a file is missing or was changed."""
        from omnifeat.retrieval.index_folder import load_index

        return load_index(path)

    def _by_graph(self, units_QD: Float32, k: int, breadth: int) -> Iterator[Hits]:
        """Hits of one block of queries after the other, so that candidates take little memory."""
        places = min(breadth, len(self))
        parameters = faiss_library().SearchParametersHNSW(efSearch=breadth)
        size = max(1, _BLOCK_CANDIDATES // places)
        for start in range(0, len(units_QD), size):
            block_BD = units_QD[start : start + size]
            _, found_BK = self.graph.search(block_BD, places, params=parameters)
            filled_BK = found_BK >= 0
            short = np.flatnonzero(filled_BK.sum(axis=1) < k)
            filled_BK[short] = False
            query_rows, rows = np.nonzero(filled_BK)[0], found_BK[filled_BK]
            if len(short):
                exact = nearest(block_BD[short], self.vectors, k)
                query_rows = np.concatenate([query_rows, short[exact.query_rows]])
                rows = np.concatenate([rows, exact.rows])
            hits = best_first(block_BD, self.vectors, query_rows, rows, k)
            yield Hits(hits.query_rows + start, hits.rows, hits.ranks, hits.scores)


def stored_vectors(graph: Any) -> Float32:
    """The vectors in a graph, float32 (N, D), without a copy; they live as long as the graph does."""
    faiss = faiss_library()
    storage = faiss.downcast_index(graph.storage)
    flat: Float32 = faiss.rev_swig_ptr(storage.get_xb(), graph.ntotal * graph.d).reshape(graph.ntotal, graph.d)
    return flat


def _built(vectors_ND: Float32, settings: HnswSettings, threads: int) -> Any:
    faiss = faiss_library()
    graph = faiss.IndexHNSWFlat(vectors_ND.shape[1], settings.neighbours, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = settings.breadth
    with _threads(thread_count(threads)):
        graph.add(vectors_ND)
    return graph


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let faiss use so many threads; its number is the process's and is put back."""
    faiss = faiss_library()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
