"""Feature sources that serve one query's candidates and the rows of a log alike.

Each is fitted once on the catalogue; the same pair gets the same numbers in any batch.

Shape suffixes: N entities, n pairs, D width.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import DataError, SettingError
from omnifeat.retrieval.lexical import LexicalScorer
from ranking.features import FINGERPRINT_KEY
from ranking.stack.parts import Catalogue, FeatureSource

__all__ = ["ColumnsOf", "Cosine", "EntityColumns", "Joined", "Lexical"]

Float32 = npt.NDArray[np.float32]


class Joined:
    """The columns of several sources side by side.

    Raises
    ------
    SettingError
        If there is no source.
    DataError
        When features are computed, if two sources give a column of one name.
    """

    def __init__(self, sources: Sequence[FeatureSource]) -> None:
        if not sources:
            raise SettingError("joined features need at least one source")
        self._sources = tuple(sources)

    def compute(self, pairs: pa.Table) -> pa.Table:
        columns: dict[str, pa.ChunkedArray] = {}
        metadata: dict[bytes, bytes] = {}
        for source in self._sources:
            table = source.compute(pairs)
            for name in table.column_names:
                if name in columns:
                    raise DataError(f"two sources of features give a column '{name}'; rename one")
                columns[name] = table[name]
            metadata |= table.schema.metadata or {}
        return pa.table(columns).replace_schema_metadata(metadata or None)


class ColumnsOf:
    """Some columns of another source, such as the cheap ones that L1 takes."""

    def __init__(self, source: FeatureSource, names: Sequence[str]) -> None:
        self._source, self._names = source, list(names)

    def compute(self, pairs: pa.Table) -> pa.Table:
        return self._source.compute(pairs).select(self._names)


class Cosine:
    """The cosine of query and entity, as `column`; null where either has no vector.

    Parameters
    ----------
    catalogue
        N entities.
    encode_queries
        Unit vectors float32 (Q, D) of query texts.
    vectors : float32 (N, D)
        Unit vectors of the catalogue's entities; zero where there is none.
    fingerprint
        Of the frozen encoder, which rankers hold their features to; null leaves it out.
    column
        Name of the feature.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        encode_queries: Callable[[Sequence[str]], Float32],
        vectors: Float32,
        *,
        fingerprint: str | None = None,
        column: str = "cosine",
    ) -> None:
        self._catalogue, self._encode = catalogue, encode_queries
        self._vectors_ND, self._column = vectors, column
        self._metadata = {FINGERPRINT_KEY: fingerprint} if fingerprint is not None else None
        self._there_N = (vectors != 0).any(axis=1)

    def compute(self, pairs: pa.Table) -> pa.Table:
        queries = pairs["query"].combine_chunks().dictionary_encode()
        vectors_QD = self._encode(queries.dictionary.to_pylist()) if len(pairs) else np.zeros((0, 1), np.float32)
        place = queries.indices.to_numpy()
        rows = self._catalogue.find(pairs)
        cosines = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), 65_536):  # copies of the vectors are made for each block
            block = slice(start, start + 65_536)
            np.einsum("nd,nd->n", vectors_QD[place[block]], self._vectors_ND[rows[block]], out=cosines[block])
        column = pa.array(cosines, mask=~self._there_N[rows])
        return pa.table({self._column: column}).replace_schema_metadata(self._metadata)


class Lexical:
    """Token scores by scorers that were fitted on the catalogue's texts, one column for each."""

    def __init__(self, catalogue: Catalogue, scorers: Mapping[str, LexicalScorer]) -> None:
        for name, scorer in scorers.items():
            if scorer.size != len(catalogue):
                raise SettingError(f"scorer '{name}' has {scorer.size} texts for {len(catalogue)} entities")
        self._catalogue, self._scorers = catalogue, dict(scorers)

    def compute(self, pairs: pa.Table) -> pa.Table:
        rows = self._catalogue.find(pairs)
        queries = pairs["query"].to_pylist()
        return pa.table({name: pa.array(one.pair_scores(queries, rows)) for name, one in self._scorers.items()})


class EntityColumns:
    """What is known of an entity whatever the query: numbers (N,) by column name, NaN where unknown."""

    def __init__(self, catalogue: Catalogue, columns: Mapping[str, npt.NDArray[np.floating]]) -> None:
        for name, values in columns.items():
            if len(values) != len(catalogue):
                raise SettingError(f"column '{name}' has {len(values)} values for {len(catalogue)} entities")
        self._catalogue = catalogue
        self._columns = {name: np.asarray(values, np.float32) for name, values in columns.items()}

    def compute(self, pairs: pa.Table) -> pa.Table:
        rows = self._catalogue.find(pairs)
        return pa.table({name: pa.array(values[rows], from_pandas=True) for name, values in self._columns.items()})
