"""The embeddings of one encoder as a stack uses them: vectors of the catalogue, and of queries as they are met.

Shape suffixes: N entities of the catalogue, Q queries, D width.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.errors import SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.retrieval.hnsw import HnswIndex
from ranking.stack import Catalogue, Cosine, EmbeddingRetriever, IndexRetriever, Remembered, Retriever

__all__ = ["Embeddings"]

Float32 = npt.NDArray[np.float32]

_EXISTING = {"pin": "pinsage", "product": "itemsage"}


class Embeddings:
    """Vectors of one encoder.

    Parameters
    ----------
    name
        As errors name it: `encoder` or `reference`.
    encoder
        Encodes queries and entities.
    dataset
        Holds pins and products.
    catalogue
        N entities of it, type by type.
    entities
        `learned` for the entity encoder's vectors, `existing` for PinSage of pins and ItemSage of products, brought to
        the queries' width. An entity that has none has the zero vector: it is not retrieved, and its cosine is null.

    Raises
    ------
    SettingError
        If existing embeddings are asked for that the encoder was not trained with.
    DataError
        If the dataset lacks them.
    """

    def __init__(
        self, name: str, encoder: FrozenEncoder, dataset: Dataset, catalogue: Catalogue, entities: str
    ) -> None:
        self._encoder, self._catalogue, self._met = encoder, catalogue, dict[str, Float32]()
        self.fingerprint: str = encoder.fingerprint
        self.vectors = np.zeros((len(catalogue), encoder.dim), np.float32)
        for entity_type, column in _EXISTING.items():
            rows = catalogue.rows(entity_type)
            if not len(rows):
                continue
            if entities == "existing" and column not in encoder.config.compatibility:
                raise SettingError(
                    f"the {name} was not trained with '{column}', which stands for its {entity_type}s; give another "
                    "encoder, or --reference-entities learned"
                )
            table = dataset.read(ENTITY_TABLES[entity_type][0])
            if entities == "existing":
                self.vectors[rows] = encoder.encode_compatibility(table, column, entity_type)[0]
            else:
                self.vectors[rows] = encoder.encode_entities(table, entity_type)

    def encode_queries(self, queries: Sequence[str]) -> Float32:
        """Unit vectors float32 (Q, D); a query that was met before is not encoded again."""
        new = [query for query in dict.fromkeys(queries) if query not in self._met]
        if new:
            self._met |= dict(zip(new, self._encoder.encode_queries(new), strict=True))
        if not len(queries):
            return np.zeros((0, self.vectors.shape[1]), np.float32)
        return np.stack([self._met[query] for query in queries])

    def cosine(self) -> Cosine:
        """The feature `cosine`, which carries the encoder's fingerprint."""
        return Cosine(self._catalogue, self.encode_queries, self.vectors, fingerprint=self.fingerprint)

    def retriever(self, name: str, rows: npt.NDArray[np.int64], k: int, index: str) -> Retriever:
        """Retrieval of these rows of the catalogue, exact or from a graph; what was retrieved is kept."""
        if index == "exact":
            return Remembered(EmbeddingRetriever(name, self.encode_queries, self.vectors[rows], rows, k))
        graph = HnswIndex.build(
            self._catalogue.ids.take(rows),
            self.vectors[rows],
            types=self._catalogue.types(rows),
            fingerprint=self.fingerprint,
        )
        return Remembered(IndexRetriever(name, self.encode_queries, graph, self._catalogue, k))
