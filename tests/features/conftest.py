from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.frozen import FrozenEncoder
from omnifeat.models.config import EncoderConfig, EntityConfig, QueryConfig, fitted_to
from omnifeat.models.entity_features import entity_texts
from omnifeat.models.omni import build_model
from omnifeat.models.query import make_query_tokenizer
from omnifeat.text import NgramTokenizer
from tests.tiny_transformer import write_transformer

QUERIES = ["red shoes", "hat", "帽子 bleu élégant", "Red  Shoes", "blue hat"]
PINS = pa.table(
    {
        "id": ["a", "b", "c", "d", "unused"],
        "title": ["Red shoes", "blue hat 帽子", "shoe", None, "hat"],
        "engaged_queries": pa.array(
            [["red shoes", "hat", None, "blue hat"], ["hat"], None, ["shoe"], ["hat"]], pa.list_(pa.string())
        ),
        # b has none, c has a zero one: both count as missing
        "pinsage": pa.array(
            [[1.0, 0.5, 0.0, 0.0], None, [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.0]],
            pa.list_(pa.float32(), 4),
        ),
    }
)
CONFIG = EncoderConfig(
    dim=16,
    # untrained, [CLS] is nearly the same for every text; the mean is not
    query=QueryConfig(hidden=16, layers=1, heads=2, vocab_size=200, max_length=12, pooling="mean"),
    entity=EntityConfig(hash_rows=100, text_dim=8, hidden=(16, 16)),
    matryoshka={4: 0.05, 8: 0.05, 16: 1.0},
)


def make_encoder(seed: int) -> FrozenEncoder:
    config = fitted_to(CONFIG, {"pins": PINS.schema})
    ngrams = NgramTokenizer.fit(entity_texts(PINS, config.entity))
    tokenizer = make_query_tokenizer(config.query, QUERIES)
    return FrozenEncoder.from_model(
        build_model(config, tokenizer, ngrams.size, seed=seed), tokenizer, ngrams, device="cpu"
    )


@pytest.fixture(scope="session")
def encoder() -> FrozenEncoder:
    return make_encoder(0)


@pytest.fixture(scope="session")
def other_encoder() -> FrozenEncoder:
    return make_encoder(1)


@pytest.fixture(scope="session")
def encoder_folder(encoder: FrozenEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder.save_pretrained(tmp_path_factory.mktemp("encoder") / "first")


@pytest.fixture(scope="session")
def pins() -> pa.Table:
    return PINS


@pytest.fixture
def pins_path(tmp_path: Path) -> Path:
    path = tmp_path / "pins.parquet"
    pq.write_table(PINS, path)
    return path


@pytest.fixture(scope="session")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a Transformers model of nine words."""
    return write_transformer(tmp_path_factory.mktemp("transformer"), ["query", ":", "red", "shoe", "cat"])
