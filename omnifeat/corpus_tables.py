"""A corpus of entities that stands in embedding tables on disk and is read block by block.

`omnifeat embed` writes such tables, one or many. Vectors are never held but for one block and those that are asked for
by id.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.ahead import ahead
from omnifeat.embedding_table import EmbeddingTable, VectorBatch
from omnifeat.errors import DataError
from omnifeat.frozen import FrozenEncoder
from omnifeat.keys import KeyIndex
from omnifeat.search.ranks import CorpusBlock

__all__ = ["CorpusTables"]

Float32 = npt.NDArray[np.float32]


class CorpusTables:
    """Embedding tables of entities, all of one encoder, read as one corpus.

    A table without `entity_type`, or a row where it is null, belongs to every type.
    """

    def __init__(self, tables: Sequence[EmbeddingTable]) -> None:
        self.tables = list(tables)

    @classmethod
    def open(
        cls, paths: Sequence[str | Path], encoder: FrozenEncoder | None = None, name: str = "the encoder"
    ) -> "CorpusTables":
        """Open tables, and check that `encoder` made them where it is given; `name` is what messages call it.

        Raises
        ------
        DataError
            If a file is no embedding table of entities, or the tables differ in width.
        FingerprintError
            If another encoder made one.
        """
        tables = [EmbeddingTable.open(str(path)) for path in paths]
        if not tables:
            raise DataError("there is no embedding table to read the corpus from; name at least one")
        for table in tables:
            if table.kind != "entities":
                raise DataError(f"{table.path} holds embeddings of {table.kind}; give a table of entities.")
            if encoder is not None:
                table.check_encoder(name, encoder.fingerprint, encoder.dim)
            else:
                table.check_encoder(tables[0].path, tables[0].fingerprint, tables[0].dim)
        return cls(tables)

    def blocks(self, entity_type: str, only: KeyIndex | None = None, threads: int = 2) -> Iterator[CorpusBlock]:
        """The entities of one type, in the order of the tables.

        With more than one thread, the next block is read while the last one is in use.

        Parameters
        ----------
        entity_type
            `pin` or `product`.
        only
            Ids of the entities that are wanted; each must stand in the tables once. Null for all, unchecked.

        Raises
        ------
        DataError
            If an entity that is wanted stands in the tables twice or (at the end) not at all; and what reading an
            embedding table raises.
        """
        return ahead(self._blocks(entity_type, only), threads)

    def vectors_of(self, ids: pa.Array, entity_type: str) -> Float32:
        """Vectors float32 (n, dim) of entities by id, in one reading of all tables; raises what `blocks` raises."""
        wanted = KeyIndex()
        rows = wanted.intern(ids.cast(pa.large_string()))
        vectors = np.empty((len(wanted), self.tables[0].dim), np.float32)
        for block in self.blocks(entity_type, wanted):
            vectors[wanted.find(block.ids)] = block.vectors
        found: Float32 = vectors[rows]
        return found

    def _blocks(self, entity_type: str, only: KeyIndex | None) -> Iterator[CorpusBlock]:
        seen = np.zeros(0 if only is None else len(only), np.bool_)
        for batch in self._batches():
            ids, vectors = batch.keys, batch.vectors
            if batch.types is not None:
                same = pc.fill_null(pc.equal(batch.types, entity_type), True)
                if not pc.all(same).as_py():
                    ids, vectors = ids.filter(same), vectors[same.to_numpy(zero_copy_only=False)]
            if only is not None:
                rows = only.find(ids)
                wanted = rows >= 0
                self._note(seen, rows[wanted], only)
                if not wanted.all():
                    ids, vectors = ids.filter(pa.array(wanted)), vectors[wanted]
            if len(ids):
                yield CorpusBlock(ids, vectors)
        if only is not None and not seen.all():
            missing = only.take(np.flatnonzero(~seen)[:1])[0]
            raise DataError(
                f"{int((~seen).sum()):,} of the {len(seen):,} evaluated entities of type {entity_type} have no vector "
                f"in {self._named()}, such as '{missing}'; embed them, too"
            )

    def _note(self, seen: npt.NDArray[np.bool_], rows: npt.NDArray[np.int32], only: KeyIndex) -> None:
        """Mark rows as seen, and refuse one that is so already or stands twice."""
        distinct, counts = np.unique(rows, return_counts=True)
        twice = distinct[(counts > 1) | seen[distinct]]
        if len(twice):
            raise DataError(f"'{only.take(twice[:1])[0]}' stands more than once in {self._named()}; keep one row of it")
        seen[distinct] = True

    def _named(self) -> str:
        shown = [table.path for table in self.tables[:3]]
        more = len(self.tables) - len(shown)
        return ", ".join(shown) + (f" and {more:,} more tables" if more else "")

    def _batches(self) -> Iterator[VectorBatch]:
        for table in self.tables:
            yield from table.batches()
