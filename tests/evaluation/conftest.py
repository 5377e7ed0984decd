"""A small dataset of animals and things in two languages, and an encoder that counts letters."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit

TITLES = {"p1": "cat", "p2": "dog", "p3": "red shoe", "p4": "blue sky", "p5": "cat and dog", "p6": None}
ENGAGED = {"p1": ["kitty", "chat"], "p2": ["hund"], "p3": None, "p4": ["ciel bleu", "azure"], "p5": ["pets"], "p6": []}
PAIRS = [
    ("cats", "p1", "save", "US"),
    ("cats", "p5", "save", "US"),
    ("cats", "p5", "click", "FR"),
    ("katze", "p1", "click", "DE"),
    ("dogs", "p2", "save", "US"),
    ("shoes", "p3", "save", "US"),
    ("sky", "p4", "click", "FR"),
    ("rouge", "p3", "click", "FR"),
]
LANGUAGES = {"cats": ["en", "de"], "dogs": ["en"], "shoes": ["en"], "sky": ["en"], "katze": ["de"], "rouge": None}
GRADES = [
    ("cats", "p1", 3, "US"),
    ("cats", "p5", 1, "US"),
    ("cats", "p2", 0, "US"),
    ("sky", "p4", 2, "FR"),
    ("x", "p1", 0, "FR"),
]


class LetterEncoder:
    """Unit vectors of the counts of letters: stands in for a trained encoder."""

    fingerprint = "f" * 64
    record = None  # nobody knows what it was trained on
    dim = 27

    def encode_queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] + [1] for text in texts])
        counts = counts.reshape(-1, 27).astype(np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    encode = encode_queries

    def encode_entities(self, table: pa.Table, entity_type: str | None = None, batch_size: int = 1024) -> np.ndarray:
        return self.encode_queries([title or "" for title in table["title"].to_pylist()])


def _info(split: HashSplit | None) -> DatasetInfo:
    return DatasetInfo(name="animals", source="made by hand", licence="none", split=split)


def write_dataset(path: Path, split: HashSplit | None = HashSplit(development=0.1, test=0.8)) -> Dataset:
    queries, ids, actions, countries = (list(column) for column in zip(*PAIRS, strict=True))
    time = pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * len(PAIRS), pa.timestamp("us", tz="UTC"))
    judged = [list(column) for column in zip(*GRADES, strict=True)]
    with DatasetWriter(path, _info(split)) as writer:
        engaged = pa.array(list(ENGAGED.values()), pa.list_(pa.string()))
        writer.write("pins", pa.table({"id": list(TITLES), "title": list(TITLES.values()), "engaged_queries": engaged}))
        writer.write(
            "engagements",
            pa.table(
                {
                    "query": queries,
                    "entity_id": ids,
                    "entity_type": ["pin"] * len(ids),
                    "action": actions,
                    "timestamp": time,
                    "country": countries,
                }
            ),
        )
        languages = pa.array(LANGUAGES.values(), pa.list_(pa.string()))
        first = [None if names is None else names[0] for names in LANGUAGES.values()]
        writer.write("queries", pa.table({"query": list(LANGUAGES), "language": first, "languages": languages}))
        writer.write(
            "judgments",
            pa.table(
                {
                    "query": judged[0],
                    "entity_id": judged[1],
                    "entity_type": ["pin"] * len(GRADES),
                    "grade": judged[2],
                    "country": judged[3],
                }
            ),
        )
    return Dataset.open(path)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(tmp_path_factory.mktemp("data") / "animals")


@pytest.fixture
def encoder() -> LetterEncoder:
    return LetterEncoder()
