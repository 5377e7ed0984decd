"""`omnifeat index build` and `search`, and the retriever behind them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.embed import embed_entities, embed_queries
from omnifeat.errors import DataError, FingerprintError
from omnifeat.frozen import FrozenEncoder
from omnifeat.retrieval.hnsw import HnswIndex
from omnifeat.retrieval.vector_retriever import VectorRetriever
from tests.commands import omnifeat, refused

PRODUCTS = pa.table({"id": ["b", "c"], "title": ["hat", "red shoes blue"]})


@pytest.fixture
def table(pins_path: Path, encoder: FrozenEncoder, tmp_path: Path) -> Path:
    """The pins, and products of which one has a pin's id, embedded."""
    products = tmp_path / "products.parquet"
    pq.write_table(PRODUCTS, products)
    embed_entities([pins_path, products], tmp_path / "entities.parquet", encoder=encoder)
    return tmp_path / "entities.parquet"


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "asked.csv"
    path.write_text("query,x\nred shoes,1\nhat,2\nred shoes,3\n", encoding="utf-8")
    return path


def test_a_run_holds_what_the_cosines_say(
    table: Path, queries: Path, encoder: FrozenEncoder, encoder_folder: Path, tmp_path: Path
) -> None:
    index, run = tmp_path / "index", tmp_path / "run.parquet"
    built = omnifeat("index", "build", table, "-o", index, "--json")
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)["entities"] == 7
    done = omnifeat("index", "search", index, "--queries", queries, "--encoder", encoder_folder, "-k", 3, "-o", run,
                    "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"queries": 2, "without_hit": 0, "rows": 6, "output": str(run)}
    found = pq.read_table(run)
    assert found.column_names == ["query", "entity_id", "entity_type", "rank", "score"]
    assert found["query"].to_pylist() == ["red shoes"] * 3 + ["hat"] * 3
    assert found["rank"].to_pylist() == [1, 2, 3] * 2
    entities = pq.read_table(table)
    vectors = np.array(entities["vector"].to_pylist(), np.float64)
    pairs = list(zip(entities["id"].to_pylist(), entities["entity_type"].to_pylist(), strict=True))
    for start, query in ((0, "red shoes"), (3, "hat")):
        scores = vectors @ encoder.encode_queries([query])[0].astype(np.float64)
        best = sorted(zip(-np.round(scores, 6), pairs, strict=True))[:3]
        rows = found.slice(start, 3)
        assert list(zip(rows["entity_id"].to_pylist(), rows["entity_type"].to_pylist(), strict=True)) == [
            pair for _, pair in best
        ]
        np.testing.assert_allclose(rows["score"].to_numpy(), [-score for score, _ in best], atol=2e-6)


def test_product_ads_come_from_an_index_of_products(
    table: Path, queries: Path, encoder: FrozenEncoder, encoder_folder: Path, tmp_path: Path
) -> None:
    advertised = tmp_path / "advertised.csv"
    advertised.write_text("id\nc\n", encoding="utf-8")
    built = omnifeat("index", "build", table, "-o", tmp_path / "ads", "--entity-type", "product", "--only", advertised)
    assert built.exit_code == 0, built.output
    embed_queries(queries, tmp_path / "queries.parquet", encoder=encoder)
    done = omnifeat("index", "search", tmp_path / "ads", "--queries", tmp_path / "queries.parquet", "-o",
                    tmp_path / "run.csv")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "2 queries, 2 rows (0 queries without a hit)" in done.stdout
    retriever = VectorRetriever(HnswIndex.load(tmp_path / "ads"), encoder)
    found = retriever.retrieve(["hat", "red shoes"], 10)
    assert found.select(["query", "entity_id", "entity_type", "rank"]).to_pylist() == [
        {"query": "hat", "entity_id": "c", "entity_type": "product", "rank": 1},
        {"query": "red shoes", "entity_id": "c", "entity_type": "product", "rank": 1},
    ]
    lowest = float(found["score"].to_numpy().min())
    strict = VectorRetriever(retriever.index, encoder, min_score=lowest + 1e-6).retrieve(["hat", "red shoes"], 10)
    assert strict.num_rows == 1
    everything = omnifeat("index", "search", tmp_path / "ads", "--queries", queries, "--encoder", encoder_folder, "-o",
                          tmp_path / "none.csv", "--min-score", 1.5)  # fmt: skip
    assert "2 queries, 0 rows (2 queries without a hit)" in everything.stdout


def test_another_encoder_is_refused(
    table: Path, queries: Path, encoder: FrozenEncoder, other_encoder: FrozenEncoder, tmp_path: Path
) -> None:
    index = HnswIndex.from_tables([table])
    with pytest.raises(FingerprintError, match=f"{encoder.fingerprint}.*{other_encoder.fingerprint}"):
        VectorRetriever(index, other_encoder)
    index.save(tmp_path / "index")
    embed_queries(queries, tmp_path / "queries.parquet", encoder=other_encoder)
    run = tmp_path / "run.parquet"
    refused(
        omnifeat("index", "search", tmp_path / "index", "--queries", tmp_path / "queries.parquet", "-o", run),
        "queries.parquet", other_encoder.fingerprint,
    )  # fmt: skip
    folder = other_encoder.save_pretrained(tmp_path / "other")
    refused(
        omnifeat("index", "search", tmp_path / "index", "--queries", queries, "--encoder", folder, "-o", run),
        other_encoder.fingerprint,
    )
    assert not run.exists()


def test_bad_input_is_one_sentence(table: Path, queries: Path, encoder_folder: Path, tmp_path: Path) -> None:
    new, run = tmp_path / "new", tmp_path / "run.parquet"
    refused(omnifeat("index", "build", tmp_path / "absent.parquet", "-o", new), "absent.parquet")
    refused(omnifeat("index", "build", queries, "-o", new), "asked.csv is not an embedding table")
    refused(omnifeat("index", "build", table, table, "-o", new), "stands in row")
    refused(omnifeat("index", "build", table, "-o", new, "--entity-type", "board"), "pin or product", "'board'")
    refused(omnifeat("index", "build", table, "-o", new, "--only", queries), "asked.csv", "'id'")
    refused(omnifeat("index", "search", new, "--queries", queries, "-o", run), "no index folder")
    assert not new.exists()
    assert omnifeat("index", "build", table, "-o", new).exit_code == 0
    refused(omnifeat("index", "build", table, "-o", new), "exists already", "--overwrite")
    refused(omnifeat("index", "search", new, "--queries", table, "-o", run), "holds embeddings of entities")
    refused(omnifeat("index", "search", new, "--queries", queries, "-o", run), "asked.csv", "encoder")
    blank = tmp_path / "blank.csv"
    blank.write_text('query,x\nhat,1\n" ",2\n', encoding="utf-8")
    search = ["index", "search", new, "--encoder", encoder_folder, "-o", run, "--queries"]
    refused(omnifeat(*search, blank), "blank.csv", "row 2")
    refused(omnifeat(*search, tmp_path / "pins.parquet"), "pins.parquet", "'query'")
    assert not list(tmp_path.glob("*run*"))
    assert not list(tmp_path.glob(".*partial*"))
    with pytest.raises(DataError, match="is empty"):
        VectorRetriever(HnswIndex.load(new), FrozenEncoder.from_pretrained(encoder_folder)).retrieve([" "], 1)
    assert pa.table({"id": HnswIndex.load(new).ids}).num_rows == 7
