"""An index as a folder; nothing is pickled.

| file | holds |
|---|---|
| `manifest.json` | the encoder's fingerprint, settings, counts, and the SHA-256 of each other file |
| `entities.parquet` | `id` and `entity_type`, in the order of the index |
| `graph.faiss` | the graph with its vectors, in faiss's own form; or |
| `vectors.npy` | the vectors alone, float32 (N, D), where there is no graph |
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from omnifeat.data.array_files import read_array
from omnifeat.data.artefacts import LibraryCall, check_version, checked, member, read_object, regular_file
from omnifeat.data.files import read_table, replace_when_whole
from omnifeat.errors import DataError
from omnifeat.retrieval.graph_file import check_graph_file

if TYPE_CHECKING:
    from omnifeat.retrieval.hnsw import HnswIndex

__all__ = ["FORMAT_VERSION", "load_index", "save_index"]

FORMAT_VERSION = 1
_MANIFEST, _ENTITIES, _GRAPH, _VECTORS = "manifest.json", "entities.parquet", "graph.faiss", "vectors.npy"

_REMEDY = "build the index again"
_ROUNDING = 1e-3  # of the length of a vector that was brought to one


class _Manifest(BaseModel):
    """An index's `manifest.json`."""

    fingerprint: str | None
    entities: int
    dim: int
    zero_vectors: int
    exact: bool
    settings: dict[str, Any]
    sha256: dict[str, str]


def save_index(index: "HnswIndex", path: str | Path) -> None:
    """Write an index; the folder appears when it is whole. Raises `OutputError` if it cannot be written."""
    from omnifeat.retrieval.hnsw import faiss_library

    types = pa.nulls(len(index), pa.large_string()) if index.types is None else index.types
    with replace_when_whole(path) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": index.ids, "entity_type": types}), folder / _ENTITIES, compression="zstd")
        if index.graph is None:
            np.save(folder / _VECTORS, index.vectors, allow_pickle=False)
        else:
            faiss_library().write_index(index.graph, str(folder / _GRAPH))
        files = [_ENTITIES, _VECTORS if index.graph is None else _GRAPH]
        manifest = {
            "format_version": FORMAT_VERSION,
            "fingerprint": index.fingerprint,
            "entities": len(index),
            "dim": index.dim,
            "zero_vectors": index.zero_vectors,
            "exact": index.exact,
            "settings": asdict(index.settings),
            "sha256": {name: _sha256(folder / name) for name in files},
        }
        (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_index(path: str | Path) -> "HnswIndex":
    """Read an index written by `save_index`.

    Raises
    ------
    DataError
        A file is missing, is not what it must be, is of another format, or was changed after it was saved.
    """
    from omnifeat.retrieval.hnsw import HnswIndex, HnswSettings, faiss_library, stored_vectors

    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"There is no index folder {folder}; give the folder that `omnifeat index build` wrote.")
    place = member(folder, _MANIFEST, remedy=_REMEDY)
    values = read_object(place, remedy=_REMEDY)
    check_version(values, FORMAT_VERSION, f"Index {folder}", remedy=_REMEDY)
    manifest = checked(_Manifest, values, where=place, remedy=_REMEDY)
    settings = checked(HnswSettings, manifest.settings, where=f"{place}, settings", remedy=_REMEDY)
    numbers = _VECTORS if manifest.exact else _GRAPH
    if manifest.sha256.keys() != {_ENTITIES, numbers}:
        raise DataError(f"File {place} must name {_ENTITIES} and {numbers}, and names others; {_REMEDY}.")
    for name, digest in manifest.sha256.items():
        file = member(folder, name, remedy=_REMEDY)
        regular_file(file, remedy=_REMEDY)
        if _sha256(file) != digest:
            raise DataError(f"File {file} was changed after it was saved; {_REMEDY}.")
    ids, types = _entities(folder / _ENTITIES)
    if len(ids) != manifest.entities or not len(ids):
        raise DataError(f"Index {folder} has {len(ids)} entities and its manifest says {manifest.entities}; {_REMEDY}.")
    graph, vectors = None, None
    if manifest.exact:
        vectors = read_array(folder / _VECTORS, remedy=_REMEDY)
    else:
        check_graph_file(folder / _GRAPH, entities=len(ids), dim=manifest.dim)
        with LibraryCall(f"Faiss cannot read {folder / _GRAPH}", remedy=_REMEDY):
            graph = faiss_library().read_index(str(folder / _GRAPH))
        vectors = stored_vectors(graph)
    _check_vectors(vectors, (len(ids), manifest.dim), folder / numbers)
    return HnswIndex(
        ids,
        types,
        vectors,
        graph,
        fingerprint=manifest.fingerprint,
        zero_vectors=manifest.zero_vectors,
        settings=settings,
    )


def _entities(file: Path) -> tuple[pa.LargeStringArray, pa.LargeStringArray | None]:
    """Ids, and their types where any is known."""
    table = read_table(str(file))
    columns = []
    for name in ("id", "entity_type"):
        if name not in table.column_names or not _is_text(table.schema.field(name).type):
            raise DataError(f"File {file} has no column '{name}' of text; {_REMEDY}.")
        columns.append(pc.cast(table[name], pa.large_string()).combine_chunks())
    ids, types = columns
    if ids.null_count:
        raise DataError(f"The id in row {pc.index(ids.is_null(), True).as_py() + 1} of {file} is null; {_REMEDY}.")
    return ids, None if types.null_count == len(types) else types


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


def _check_vectors(vectors: Any, shape: tuple[int, int], file: Path) -> None:
    """Whether vectors are float32 of this shape and of length one, which the bound of exact search rests on."""
    from omnifeat.retrieval.nearest import lengths_of

    if vectors.dtype != np.float32 or vectors.shape != shape or shape[1] < 1:
        raise DataError(
            f"File {file} holds {vectors.dtype} of shape {list(vectors.shape)}, not float32 of {list(shape)}; "
            f"{_REMEDY}."
        )
    wrong = ~(np.abs(lengths_of(vectors) - 1) < _ROUNDING)
    if wrong.any():
        raise DataError(f"The vector in row {int(wrong.argmax()) + 1} of {file} is not of length one; {_REMEDY}.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
