from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from omnifeat.embed import embed_entities, embed_queries
from omnifeat.errors import DataError, FingerprintError
from omnifeat.frozen import FrozenEncoder
from omnifeat.known_queries import KnownQueries
from omnifeat.query_encoders import StackedEncoder
from omnifeat.retrieval.lexical import BM25Scorer


@pytest.fixture
def table(encoder: FrozenEncoder, tmp_path: Path) -> str:
    (tmp_path / "queries.csv").write_text("query\nred shoes\nhat\n", encoding="utf-8")
    embed_queries(tmp_path / "queries.csv", tmp_path / "queries.parquet", encoder=encoder)
    return str(tmp_path / "queries.parquet")


def test_what_the_table_holds_is_not_encoded_again(
    encoder: FrozenEncoder, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["blue hat", "hat", "red shoes", "hat", "blue hat"]
    expected = encoder.encode_queries(texts)
    encoded: list[str] = []
    encode = encoder.encode_queries
    monkeypatch.setattr(encoder, "encode_queries", lambda texts: encoded.extend(texts) or encode(texts))
    np.testing.assert_allclose(KnownQueries(encoder, [table]).encode_queries(texts), expected, atol=1e-6)
    assert encoded == ["blue hat"]


def test_tables_of_another_encoder_or_of_entities_are_refused(
    encoder: FrozenEncoder, table: str, pins_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed_entities(pins_path, tmp_path / "pins-vectors.parquet", encoder=encoder)
    with pytest.raises(DataError, match=r"pins-vectors\.parquet holds embeddings of entities; give a table of queries"):
        KnownQueries(encoder, [str(tmp_path / "pins-vectors.parquet")])
    monkeypatch.setattr(encoder, "fingerprint", "0" * 64)
    with pytest.raises(FingerprintError, match="was made by the encoder"):
        KnownQueries(encoder, [table])


@pytest.mark.parametrize(
    "table", [pd.DataFrame({"query": ["hat"]}), {"query": ["hat"]}, pa.table({"query": ["hat"]}), "hat", {"hat"}],
    ids=lambda table: type(table).__name__,
)  # fmt: skip
def test_a_table_is_never_taken_for_its_column_names(encoder: FrozenEncoder, table: Any) -> None:
    scorer = BM25Scorer().fit(["a hat", "shoes"])
    for encode in (
        encoder.encode_queries,
        KnownQueries(encoder, []).encode_queries,
        StackedEncoder([encoder, encoder]).encode_queries,
        scorer.scores,
        BM25Scorer().fit,
    ):
        with pytest.raises(DataError, match=r"must (be one column; got a table|come as a list|be a list; got a set)"):
            encode(table)
