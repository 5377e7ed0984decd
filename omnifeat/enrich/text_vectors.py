"""Vectors of texts in the files of a folder, so that no text is encoded twice, neither in a run nor in the next one.

    folder/KEY-000000.arrow    (text: digest of the text, vector), the first `PART_TEXTS` texts, or as many as was asked
    folder/KEY-000001.arrow    the next ones

KEY is a digest of the model and of all settings that vectors depend on; it stands in the files' metadata too. Files are
written whole, and mapped into memory when they are read, so that a run holds digests and not vectors: 60 to 80 bytes
of each distinct text. A file that is damaged goes, and its texts are encoded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.data.artefacts import regular_file
from omnifeat.data.writing import TableWriter, output_error
from omnifeat.embedding_table import vector_array
from omnifeat.errors import DataError
from omnifeat.keys import KeyIndex

__all__ = ["PART_TEXTS", "TextVectors"]

PART_TEXTS = 4_096
"""Texts of a part: held in memory, sorted by length together, and lost at most if the run is killed (of a small
model on two cores, 5 to 20 seconds' work)."""

_LENGTH_TOLERANCE = 1e-3

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


class TextVectors:
    """Numbered texts with their vectors; numbers count from 0 in the order in which texts first come.

    Parameters
    ----------
    folder
        Where the files lie; a lock must keep other runs out.
    key
        What tells these vectors from those of other models and settings: hexadecimal digits.
    dim
        Width of the vectors.

    Attributes
    ----------
    stored
        Texts that have a vector: those with a number below it.
    """

    def __init__(self, folder: Path, key: str, dim: int) -> None:
        self._folder, self._name, self._dim = folder, key[:32], dim
        fields = [pa.field("text", pa.string(), nullable=False)]
        fields.append(pa.field("vector", vector_array(np.zeros((0, dim), np.float32)).type, nullable=False))
        self._schema = pa.schema(fields, metadata={b"omnifeat.text_vectors": key.encode()})
        self._index = KeyIndex()
        self._parts: list[Float32] = []
        self._starts: list[int] = []
        self._next_part = 0
        self.stored = 0
        for path in sorted(folder.glob(f"{self._name}-*.arrow")):
            self._open(path)

    def __len__(self) -> int:
        return len(self._index)

    def number(self, texts: pa.StringArray) -> Int32:
        """Numbers of the texts, int32 (n,); a new one gets the next number, null gets -1."""
        return self._index.intern(pa.array([_digest(text) for text in texts.to_pylist()], pa.large_string()))

    def add(self, vectors: Float32) -> None:
        """Keep the vectors (n, D) of the texts that are numbered from `stored` on.

        Raises
        ------
        OutputError
            The operating system refused to write.
        """
        digests = self._index.strings(self.stored, self.stored + len(vectors)).cast(pa.string())
        path = self._folder / f"{self._name}-{self._next_part:06d}.arrow"
        with TableWriter(path, self._schema) as writer:
            writer.write(pa.table([digests, vector_array(vectors)], schema=self._schema))
        found = self._read(path)
        if found is None:
            raise DataError(f"{path} was changed while it was written: run the command again")
        self._keep(found[1])

    def take(self, numbers: Int32) -> Float32:
        """Vectors of the texts of these numbers, all of which are stored, float32 (n, D)."""
        vectors = np.empty((len(numbers), self._dim), dtype=np.float32)
        parts = np.searchsorted(self._starts, numbers, side="right") - 1
        for part in np.unique(parts):
            rows = parts == part
            vectors[rows] = self._parts[part][numbers[rows] - self._starts[part]]
        return vectors

    def _open(self, path: Path) -> None:
        """Take up a file of an earlier run; one that is damaged goes."""
        found = self._read(path)
        if found is None or (self._index.find(found[0]) >= 0).any():
            try:
                os.unlink(path)
            except OSError as error:
                raise output_error(path, error) from error
            return
        self._index.intern(found[0])
        self._keep(found[1])
        with contextlib.suppress(ValueError):
            self._next_part = max(self._next_part, int(path.stem.rpartition("-")[2]) + 1)

    def _keep(self, vectors: Float32) -> None:
        self._starts.append(self.stored)
        self._parts.append(vectors)
        self.stored += len(vectors)
        self._next_part += 1

    def _read(self, path: Path) -> tuple[pa.LargeStringArray, Float32] | None:
        """Digests and vectors (n, D) of a file; None where it is damaged, or of other vectors."""
        try:
            regular_file(path)
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            table.validate(full=True)
        except (DataError, OSError, ValueError, pa.ArrowException):
            return None
        if not table.schema.equals(self._schema, check_metadata=True) or table.column(0).num_chunks != 1:
            return None
        digests, vectors = table.column(0).chunk(0), table.column(1).chunk(0)
        if digests.null_count or vectors.null_count or len(digests.unique()) != len(digests):
            return None
        numbers = vectors.flatten().to_numpy(zero_copy_only=True).reshape(len(digests), self._dim)
        lengths = np.sqrt(np.einsum("nd,nd->n", numbers, numbers))
        # a zero vector stands for a text that has none
        sound = (np.abs(lengths - 1) < _LENGTH_TOLERANCE) | (lengths == 0)
        return (digests.cast(pa.large_string()), numbers) if sound.all() else None


def _digest(text: str | None) -> str | None:
    return None if text is None else hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
