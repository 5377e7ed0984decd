"""The index of embeddings: against plain search, saved and loaded, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.embedding_table import embedding_schema, open_writer, vector_array
from omnifeat.errors import DataError, FingerprintError, SettingError
from omnifeat.retrieval.hnsw import HnswIndex, HnswSettings
from omnifeat.retrieval.nearest import Hits, lengths_of, nearest, unit_rows

FEW = settings(deadline=None, max_examples=25)
GRAPH = HnswSettings(exact_below=0, neighbours=8, breadth=40)


def clustered(count: int, dim: int = 16, seed: int = 0, clusters: int = 30) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(clusters, dim))
    return (centres[rng.integers(clusters, size=count)] + 0.5 * rng.normal(size=(count, dim))).astype(np.float32)


def names(count: int) -> list[str]:
    return [f"e{row:05d}" for row in range(count)]


def plain(queries: np.ndarray, vectors: np.ndarray, ids: list[str], k: int) -> list[list[str]]:
    """The k best ids by (-cosine, id) in float64, one query after the other."""
    units = [vector.astype(np.float64) / np.linalg.norm(vector.astype(np.float64)) for vector in vectors]
    found = []
    for query in queries.astype(np.float64):
        scores = [-round(float(query @ unit) / float(np.linalg.norm(query)), 6) for unit in units]
        found.append([name for _, name in sorted(zip(scores, ids, strict=True))[:k]])
    return found


def listed(index: HnswIndex, hits: Hits, queries: int) -> list[list[str]]:
    ids = index.ids.to_pylist()
    return [[ids[row] for row in hits.rows[hits.query_rows == query]] for query in range(queries)]


def write_table(path: Path, ids: list[str], types: list[str | None], vectors: np.ndarray, mark: str = "enc") -> str:
    schema = embedding_schema("entities", mark, vectors.shape[1])
    with open_writer(str(path), schema) as writer:
        writer.write_table(
            pa.table([pa.array(ids), pa.array(types, pa.string()), vector_array(vectors)], schema=schema)
        )
    return str(path)


@FEW
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 10**9]))
def test_exact_search_is_the_plain_one(seed: int, count: int, k: int, block_bytes: int) -> None:
    rng = np.random.default_rng(seed)
    # few distinct whole numbers, so that equal cosines are frequent
    vectors = rng.integers(1, 4, size=(count, 3)).astype(np.float32)
    queries = rng.integers(1, 4, size=(4, 3)).astype(np.float32)
    vectors[rng.integers(count, size=count // 2)] = vectors[0]
    index = HnswIndex.build(names(count), vectors)
    assert index.exact
    hits = nearest(unit_rows(queries, lengths_of(queries)), index.vectors, k, block_bytes)
    scores = np.array([float(a) for a in hits.scores])
    for query, expected in enumerate(plain(queries, vectors, names(count), k)):
        mine = hits.query_rows == query
        assert hits.ranks[mine].tolist() == list(range(1, min(k, count) + 1))
        assert (np.diff(scores[mine]) <= 0).all()
        rows = hits.rows[mine]
        # of equal scores the smaller row, which is the smaller id, stands first
        same = np.diff(scores[mine]) == 0
        assert (np.diff(rows)[same] > 0).all()
        # the same scores as the plain ranking, place for place
        cosines = {name: vectors[row] @ queries[query] / np.linalg.norm(vectors[row]) for row, name in
                   enumerate(names(count))}  # fmt: skip
        got = [cosines[names(count)[row]] for row in rows]
        np.testing.assert_allclose(got, [cosines[name] for name in expected], rtol=1e-5)


def test_golden_scores() -> None:
    vectors = np.array([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0], [-1.0, 0.0]], np.float32)
    index = HnswIndex.build(["c", "b", "a", "d"], vectors)
    hits = index.search(np.array([[10.0, 0.0], [0.0, 0.5]], np.float32), 3)
    assert listed(index, hits, 2) == [["a", "c", "b"], ["b", "c", "a"]]
    np.testing.assert_allclose(hits.scores, [1, 0.6, 0, 1, 0.8, 0], atol=1e-7)
    assert hits.ranks.tolist() == [1, 2, 3, 1, 2, 3]


@pytest.fixture(scope="module")
def graph() -> HnswIndex:
    index = HnswIndex.build(names(3000), clustered(3000), settings=GRAPH, fingerprint="enc")
    assert not index.exact
    return index


def test_the_graph_finds_nearly_all_that_exact_search_finds(graph: HnswIndex) -> None:
    queries = clustered(200, seed=1)
    exact = HnswIndex.build(names(3000), clustered(3000))
    truth = listed(exact, exact.search(queries, 10), 200)
    found = listed(graph, graph.search(queries, 10), 200)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)])
    assert recall > 0.99
    narrow = listed(graph, graph.search(queries, 10, breadth=10), 200)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(narrow, truth, strict=True)]) < recall


def test_no_empty_place_is_returned(graph: HnswIndex) -> None:
    queries = clustered(5, seed=2)
    for k in (1, 2999, 3000, 5000):
        hits = graph.search(queries, k)
        assert len(hits.rows) == 5 * min(k, 3000)
        assert hits.rows.min() >= 0
        assert all(len(set(of_query)) == min(k, 3000) for of_query in listed(graph, hits, 5))


def test_what_the_graph_does_not_find_is_searched_exactly() -> None:
    # two links each and many equal vectors: the graph falls apart, and most entities cannot be reached
    vectors = np.repeat(clustered(6), 100, axis=0)
    index = HnswIndex.build(names(600), vectors, settings=HnswSettings(exact_below=0, neighbours=2, breadth=4))
    _, rows = index.graph.search(index.vectors[:50], 500, params=_breadth(500))
    assert (rows < 0).any()
    hits = index.search(vectors[:50], 500)
    assert np.bincount(hits.query_rows).tolist() == [500] * 50
    expected = nearest(index.vectors[:50], index.vectors, 500)
    np.testing.assert_array_equal(hits.scores, expected.scores)


def _breadth(count: int) -> object:
    import faiss

    return faiss.SearchParametersHNSW(efSearch=count)


@pytest.mark.parametrize("chosen", [GRAPH, HnswSettings()])
def test_order_of_entities_changes_nothing(chosen: HnswSettings, tmp_path: Path) -> None:
    vectors, ids = clustered(500), names(500)
    order = np.random.default_rng(0).permutation(500)
    HnswIndex.build(ids, vectors, settings=chosen).save(tmp_path / "one")
    HnswIndex.build([ids[row] for row in order], vectors[order], settings=chosen).save(tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 3
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_saved_and_loaded_it_finds_the_same(graph: HnswIndex, tmp_path: Path) -> None:
    queries = clustered(50, seed=3)
    exact = HnswIndex.build(names(30), clustered(30), types=["pin"] * 30, fingerprint="enc")
    for index, folder in ((graph, tmp_path / "graph"), (exact, tmp_path / "exact")):
        index.save(folder)
        loaded = HnswIndex.load(folder)
        assert (loaded.fingerprint, len(loaded), loaded.dim, loaded.settings) == ("enc", len(index), 16, index.settings)
        assert loaded.types == index.types
        before, after = index.search(queries, 7), loaded.search(queries, 7, threads=2)
        np.testing.assert_array_equal(before.rows, after.rows)
        np.testing.assert_array_equal(before.scores, after.scores)


def test_zero_vectors_are_counted_and_never_found() -> None:
    vectors = clustered(20)
    vectors[3] = 0
    index = HnswIndex.build(names(20), vectors)
    assert (len(index), index.zero_vectors) == (19, 1)
    assert "e00003" not in index.ids.to_pylist()
    queries = clustered(3, seed=1)
    queries[1] = 0
    assert np.bincount(index.search(queries, 5).query_rows, minlength=3).tolist() == [5, 0, 5]


def test_blocks_of_queries_change_nothing(graph: HnswIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = clustered(60, seed=7)
    expected = graph.search(queries, 5)
    monkeypatch.setattr("omnifeat.retrieval.hnsw._BLOCK_CANDIDATES", 1000)  # seven queries at a time
    found = graph.search(queries, 5)
    for name in ("query_rows", "rows", "ranks", "scores"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert len(graph.search(np.empty((0, 16), np.float32), 5).rows) == 0


def test_duplicated_vectors_have_equal_scores(graph: HnswIndex) -> None:
    vectors = np.repeat(clustered(100), 2, axis=0)
    index = HnswIndex.build(names(200), vectors, settings=GRAPH)
    hits = index.search(clustered(20, seed=5), 200)
    scores = np.empty((20, 200), np.float32)
    scores[hits.query_rows, hits.rows] = hits.scores
    np.testing.assert_array_equal(scores[:, ::2], scores[:, 1::2])


def test_from_tables_takes_a_type_and_a_list(tmp_path: Path) -> None:
    vectors = clustered(6)
    one = write_table(tmp_path / "a.parquet", ["x", "y", "z"], ["pin", "product", None], vectors[:3])
    two = write_table(tmp_path / "b.parquet", ["x", "w"], ["product", "product"], vectors[3:5])
    whole = HnswIndex.from_tables([one, two])
    assert whole.fingerprint == "enc"
    assert list(zip(whole.ids.to_pylist(), whole.types.to_pylist(), strict=True)) == [
        ("w", "product"), ("x", "pin"), ("x", "product"), ("y", "product"), ("z", None),
    ]  # fmt: skip
    products = HnswIndex.from_tables([one, two], entity_type="product")
    assert products.ids.to_pylist() == ["w", "x", "y", "z"]
    assert products.types.to_pylist() == ["product"] * 4
    assert HnswIndex.from_tables([one, two], entity_type="product", only=["w", "y"]).ids.to_pylist() == ["w", "y"]
    with pytest.raises(DataError, match=r"1 of the 2 entities to index have no vector in .*a.parquet.* such as 'q'"):
        HnswIndex.from_tables([one, two], only=["w", "q"])
    with pytest.raises(DataError, match="no entity of type 'board'"):
        HnswIndex.from_tables([two], entity_type="board")
    with pytest.raises(DataError, match="the id 'x' stands in row"):
        HnswIndex.from_tables([two, two])
    with pytest.raises(FingerprintError, match="other"):
        HnswIndex.from_tables([one, write_table(tmp_path / "c.parquet", ["v"], ["pin"], vectors[:1], "other")])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: HnswIndex.build([], np.empty((0, 3))), "no entities to index"),
        (lambda: HnswIndex.build(["a", "a"], np.ones((2, 3))), "the id 'a' stands in row 1 and again in row 2"),
        (lambda: HnswIndex.build(["a", None], np.ones((2, 3))), "id in row 2 is null"),
        (lambda: HnswIndex.build(["a"], np.ones((2, 3))), "one vector and one type for each of the 1 ids"),
        (lambda: HnswIndex.build(["a", "b"], np.array([[1.0], [np.nan]])), r"vector of 'b' \(row 2\) holds NaN"),
        (lambda: HnswIndex.build(["a", "b"], np.zeros((2, 3))), "All 2 vectors are zero"),
    ],
)
def test_entities_that_cannot_be_indexed_are_named(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        make()


def test_searches_that_cannot_be_made(graph: HnswIndex) -> None:
    queries = clustered(2)
    with pytest.raises(FingerprintError, match=r"index is of encoder enc, but the query table is of encoder other"):
        graph.search(queries, 3, fingerprint="other")
    with pytest.raises(DataError, match="width 16, but the query table gives 4"):
        graph.search(queries[:, :4], 3)
    queries[1, 2] = np.inf
    with pytest.raises(DataError, match="query vector in row 2 holds NaN or infinity"):
        graph.search(queries, 3)
    for wrong in ({"k": 0}, {"k": 3, "breadth": 0}):
        with pytest.raises(SettingError, match="1 or more"):
            graph.search(clustered(2), **wrong)
    with pytest.raises(SettingError, match="'neighbours' setting of an index must be a whole number from 2; got 1"):
        HnswSettings(neighbours=1)


def test_a_damaged_folder_is_refused(graph: HnswIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with pytest.raises(DataError, match="no index folder"):
        HnswIndex.load(folder)
    graph.save(folder)
    whole = (folder / "graph.faiss").read_bytes()
    (folder / "graph.faiss").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"graph.faiss was changed after it was saved"):
        HnswIndex.load(folder)
    (folder / "graph.faiss").unlink()
    with pytest.raises(DataError, match=r"has no file 'graph\.faiss'"):
        HnswIndex.load(folder)
    (folder / "graph.faiss").write_bytes(whole)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format_version": 2}))
    with pytest.raises(DataError, match="format version 2"):
        HnswIndex.load(folder)
    del manifest["settings"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="lacks 'settings'"):
        HnswIndex.load(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        HnswIndex.load(folder)
