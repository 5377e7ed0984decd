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
import pyarrow.parquet as pq

from omnifeat.data.files import replace_when_whole
from omnifeat.errors import DataError

if TYPE_CHECKING:
    from omnifeat.retrieval.hnsw import HnswIndex

__all__ = ["FORMAT_VERSION", "load_index", "save_index"]

FORMAT_VERSION = 1
_MANIFEST, _ENTITIES, _GRAPH, _VECTORS = "manifest.json", "entities.parquet", "graph.faiss", "vectors.npy"


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
    manifest = _manifest(folder)
    try:
        # A damaged graph may end the process: only what was saved reaches faiss.
        for name, digest in manifest["sha256"].items():
            if not (folder / name).is_file():
                raise DataError(f"Index {folder} has no file {name}; build it again.")
            if _sha256(folder / name) != digest:
                raise DataError(f"File {folder / name} was changed after it was saved; build the index again.")
        table = pq.read_table(folder / _ENTITIES)
        types = table["entity_type"].combine_chunks()
        if manifest["exact"]:
            graph, vectors = None, np.load(folder / _VECTORS, allow_pickle=False)
        else:
            graph = faiss_library().read_index(str(folder / _GRAPH))
            vectors = stored_vectors(graph)
        if vectors.shape != (table.num_rows, manifest["dim"]) or table.num_rows != manifest["entities"]:
            raise DataError(f"Index {folder} does not hold what its manifest says; build it again.")
        return HnswIndex(
            table["id"].combine_chunks(),
            None if types.null_count == len(types) else types,
            vectors,
            graph,
            fingerprint=manifest["fingerprint"],
            zero_vectors=int(manifest["zero_vectors"]),
            settings=HnswSettings(**manifest["settings"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"File {folder / _MANIFEST} is not an index's manifest ({error}); build it again.") from None


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"Index {folder} has no file {_MANIFEST}; build it again.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"File {folder / _MANIFEST} is not JSON ({error}); build the index again.") from None
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"Index {folder} is of format version {version!r}, this program reads version {FORMAT_VERSION}; build it "
            "again, or use the version of omnifeat that wrote it."
        )
    return dict(manifest)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
