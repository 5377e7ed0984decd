"""A tiny world, and two encoders of its words: one that reads them, one that does not read much."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from omnifeat.simulator import simulate


class WordEncoder:
    """Sums of a random direction for each word; `noise` is added to every text, by a hash of it."""

    dim = 32
    config = SimpleNamespace(compatibility=("pinsage", "itemsage"))

    def __init__(self, letter: str, noise: float) -> None:
        self.fingerprint, self._noise = letter * 64, noise

    def _one(self, text: str) -> np.ndarray:
        parts = [
            np.random.default_rng(xxhash.xxh64_intdigest(word.encode())).normal(size=32)
            for word in text.lower().split()
        ]
        own = np.random.default_rng(xxhash.xxh64_intdigest((self.fingerprint + text).encode())).normal(size=32)
        vector = np.sum(parts, axis=0) + self._noise * own
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def encode_queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        return np.stack([self._one(text) for text in texts])

    def encode_entities(self, table: pa.Table, entity_type: str | None = None, batch_size: int = 1024) -> np.ndarray:
        captions = zip(table["title"].to_pylist(), table["caption"].to_pylist(), strict=True)
        return self.encode_queries([f"{title or ''} {caption or ''} x" for title, caption in captions])

    def encode_compatibility(
        self, table: pa.Table, column: str, entity_type: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        vectors = self.encode_entities(table)
        there = table[column].is_valid().to_numpy()
        return np.where(there[:, None], vectors, np.float32(0)), there


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ab") / "world"
    simulate(path, scale="tiny")
    return path


@pytest.fixture
def encoders() -> dict[str, WordEncoder]:
    return {"ours": WordEncoder("a", 0.2), "sage": WordEncoder("b", 2.0)}
