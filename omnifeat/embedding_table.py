"""The embedding table: a Parquet file of keys and vectors that says which encoder made it.

| kind | columns |
|---|---|
| `entities` | `id` text, `entity_type` text (null where the source has none), `vector` fixed_size_list<float32>[dim] |
| `queries` | `query` text, `vector` fixed_size_list<float32>[dim] |

The schema's metadata carries `omnifeat.fingerprint`, the fingerprint of the encoder, and `omnifeat.kind`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnifeat.data.checks import check_text
from omnifeat.data.files import read_schema
from omnifeat.data.locations import one_line, part_files
from omnifeat.errors import DataError, FingerprintError
from omnifeat.keys import DuplicateCheck, as_strings

__all__ = [
    "EmbeddingTable",
    "VectorBatch",
    "embedding_schema",
    "open_writer",
    "refuse_duplicates",
    "typed_keys",
    "vector_array",
]

KINDS = ("entities", "queries")
_FINGERPRINT = b"omnifeat.fingerprint"
_KIND = b"omnifeat.kind"
# bytes read at once from each column
_READ_BUFFER = 1 << 20
_KEY_OF = {"entities": "id", "queries": "query"}

Float32 = npt.NDArray[np.float32]


def embedding_schema(kind: str, fingerprint: str, dim: int) -> pa.Schema:
    """Schema of an embedding table of one kind and encoder, metadata included."""
    fields = [pa.field(_KEY_OF[kind], pa.string(), nullable=False)]
    if kind == "entities":
        fields.append(pa.field("entity_type", pa.string()))
    fields.append(pa.field("vector", _vector_type(dim), nullable=False))
    return pa.schema(fields, metadata={_FINGERPRINT: fingerprint.encode(), _KIND: kind.encode()})


def vector_array(vectors_ND: Float32) -> pa.FixedSizeListArray:
    """A float32 matrix (N, D) as an Arrow column, without a copy."""
    flat = pa.array(np.ascontiguousarray(vectors_ND, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=_vector_type(vectors_ND.shape[1]))


def _vector_type(dim: int) -> pa.DataType:
    # with numbers that cannot be null, Parquet keeps no level for each of them: read 2 to 6 times as fast
    return pa.list_(pa.field("item", pa.float32(), nullable=False), dim)


def open_writer(path: str, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer that suits vectors: neither compressed nor dictionary-encoded, which costs time and saves 7%."""
    keys = [name for name in schema.names if name != "vector"]
    return pq.ParquetWriter(
        path,
        schema,
        compression={name: "zstd" if name in keys else "none" for name in schema.names},
        use_dictionary=[name for name in keys if name == "entity_type"],
        write_statistics=keys,
    )


@dataclass(frozen=True)
class VectorBatch:
    """Some rows of an embedding table: `keys` text, `types` text or None, `vectors` float32 (n, dim)."""

    keys: pa.LargeStringArray
    types: pa.LargeStringArray | None
    vectors: Float32


@dataclass(frozen=True)
class EmbeddingTable:
    """An embedding table on disk, known to be one; its vectors are checked as they are read."""

    path: str
    kind: str
    fingerprint: str
    dim: int

    @classmethod
    def open(cls, path: str) -> "EmbeddingTable":
        """Read what the schema says.

        Raises
        ------
        DataError
            If there is no such file, or it is not an embedding table.
        """
        schema = read_schema(path)
        metadata = schema.metadata or {}
        remedy = "make it with `omnifeat embed`"
        if _FINGERPRINT not in metadata or _KIND not in metadata:
            raise DataError(f"{path} is not an embedding table: it names no encoder in its metadata; {remedy}.")
        kind = metadata[_KIND].decode("utf-8", "replace")
        if kind not in KINDS:
            raise DataError(f"{path} is an embedding table of {kind!r}, but only {' and '.join(KINDS)} can be used.")
        for name in (_KEY_OF[kind], "vector"):
            if name not in schema.names:
                raise DataError(f"{path} has no column '{name}'; its columns are {', '.join(schema.names)}; {remedy}.")
        vector_type = schema.field("vector").type
        if not pa.types.is_fixed_size_list(vector_type) or vector_type.value_type != pa.float32():
            raise DataError(
                f"{path}: column 'vector' must be a fixed-size list of float32, "
                f"but its type is {vector_type}; {remedy}."
            )
        if vector_type.list_size < 1:
            raise DataError(f"{path}: column 'vector' has vectors of width {vector_type.list_size}; {remedy}.")
        return cls(path, kind, metadata[_FINGERPRINT].decode("utf-8", "replace"), int(vector_type.list_size))

    def check_encoder(self, name: str, fingerprint: str, dim: int) -> None:
        """Refuse the vectors of another encoder.

        Raises
        ------
        FingerprintError
            If the table was made by another encoder.
        DataError
            If the vectors are not `dim` wide.
        """
        if self.fingerprint != fingerprint:
            raise FingerprintError(
                f"The embedding table {self.path} was made by the encoder {self.fingerprint}, but {name} is the "
                f"encoder {fingerprint}; embed again with this encoder, or give the encoder that made the table."
            )
        if self.dim != dim:
            raise DataError(
                f"{self.path}: the vectors have width {self.dim}, but the encoder {name} gives {dim}; embed again."
            )

    def batches(self, batch_size: int = 16_384) -> Iterator[VectorBatch]:
        """All rows, in order, `batch_size` at a time.

        Raises
        ------
        DataError
            If a key or vector is null, or a vector holds NaN or infinity; the message names row and key.
        """
        key = _KEY_OF[self.kind]
        has_types = self.kind == "entities" and "entity_type" in read_schema(self.path).names
        columns = [key, "entity_type", "vector"] if has_types else [key, "vector"]
        first_row = 1
        for batch in self._read(columns, batch_size):
            keys = as_strings(batch.column(key), f"{self.path}: column '{key}'")
            if keys.null_count:
                row = first_row + keys.is_null().index(True).as_py()
                raise DataError(f"{self.path}: column '{key}' is null in row {row}; embed again.")
            types = None
            if has_types:
                types = as_strings(batch.column("entity_type"), f"{self.path}: column 'entity_type'")
            yield VectorBatch(keys, types, self._vectors(batch.column("vector"), keys, first_row))
            first_row += batch.num_rows

    def check_unique(self) -> None:
        """Refuse a table that has a key twice.

        Raises
        ------
        DataError
            Names the key and both rows.
        """
        key = _KEY_OF[self.kind]
        columns = [key]
        if self.kind == "entities" and "entity_type" in read_schema(self.path).names:
            columns.append("entity_type")

        def keys() -> Iterator[pa.LargeStringArray]:
            for batch in self._read(columns, 131_072):
                yield typed_keys(
                    as_strings(batch.column(0), f"{self.path}: column '{key}'"),
                    as_strings(batch.column(1), f"{self.path}: column 'entity_type'") if len(columns) == 2 else None,
                )

        refuse_duplicates(keys, self.path, key)

    def _read(self, columns: list[str], batch_size: int) -> Iterator[pa.RecordBatch]:
        """Batches as they lie in the file: the vectors are checked here, once, and nothing is to be converted."""
        row = 1
        for part in part_files(self.path):
            try:
                # without these two settings Arrow reads the whole file into memory before the first batch
                file = pq.ParquetFile(part.open(), pre_buffer=False, buffer_size=_READ_BUFFER)
                for batch in file.iter_batches(batch_size=batch_size, columns=columns):
                    for name in columns:
                        if name != "vector":
                            check_text(batch.column(name), f"{self.path}: column '{name}'", row)
                    row += batch.num_rows
                    yield batch.select(columns)
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{part.name} cannot be read as Parquet: it is truncated or corrupt ({one_line(error)}); "
                    "embed again."
                ) from error

    def _vectors(self, column: pa.FixedSizeListArray, keys: pa.LargeStringArray, first_row: int) -> Float32:
        flat = column.flatten()
        if column.null_count or flat.null_count:
            row = next(row for row in range(len(column)) if not column[row].is_valid or None in column[row].as_py())
            raise DataError(
                f"{self.path}: the vector of {keys[row].as_py()!r} (row {first_row + row}) is null or holds a null; "
                "embed again."
            )
        vectors = flat.to_numpy(zero_copy_only=True).reshape(len(column), self.dim)
        # One sum a row finds NaN and infinity faster than a look at each value; a sum of finite values this far from
        # unit length could overflow, so that the suspects are looked at again.
        suspects = np.flatnonzero(~np.isfinite(vectors.sum(axis=1)))
        for row in suspects.tolist():
            if not np.isfinite(vectors[row]).all():
                raise DataError(
                    f"{self.path}: the vector of {keys[row].as_py()!r} (row {first_row + row}) holds NaN or infinity; "
                    "embed again."
                )
        return vectors


def typed_keys(ids: pa.LargeStringArray, types: pa.LargeStringArray | None) -> pa.LargeStringArray:
    """Ids with their entity type behind a unit separator, so that a pin and a product may share an id."""
    if types is None:
        return ids
    return pc.binary_join_element_wise(ids, pc.fill_null(types, ""), pa.scalar("\x1f", pa.large_string()))


def refuse_duplicates(keys: Callable[[], Iterator[pa.LargeStringArray]], name: str, column: str) -> None:
    """Refuse keys that occur twice; `keys()` starts a reading of them (a second one if hashes meet).

    Raises
    ------
    DataError
        Names the file, the key and both rows.
    """
    check = DuplicateCheck()
    for batch in keys():
        check.add(batch)
    suspects = check.suspects()
    if len(suspects) == 0:
        return
    found = DuplicateCheck.first_duplicate(keys(), suspects)
    if found is not None:
        text, first, second = found
        identifier = text.split("\x1f")[0]
        raise DataError(
            f"{name}: the {column} {identifier!r} stands in row {first} and again in row {second}; keep one of them."
        )
