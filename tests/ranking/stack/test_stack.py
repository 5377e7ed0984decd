"""The stack: what is retrieved, kept, ordered and blended, and the trace that tells it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError, SettingError
from omnifeat.retrieval.hnsw import HnswIndex
from omnifeat.retrieval.lexical import BM25Scorer
from ranking.stack import (
    BestFirst,
    Candidates,
    Catalogue,
    ColumnsOf,
    Cosine,
    EmbeddingRetriever,
    EngagementTimesRelevance,
    EntityColumns,
    EveryNth,
    FirstStage,
    IndexRetriever,
    Joined,
    Lexical,
    Remembered,
    SearchStack,
    SecondStage,
    TokenRetriever,
    WeightedSum,
    measure_latency,
)

TEXTS = ["red shoe", "blue shoe", "red hat", "green tea", "red red wine", "blue sky"]
CATALOGUE = Catalogue(pa.array(["a", "b", "c", "a", "e", "f"]), np.array([0, 0, 0, 1, 1, 1], np.int8))
VECTORS = np.array([[1, 0], [0.6, 0.8], [0.8, 0.6], [0, 1], [1, 0], [0, 0]], np.float32)
QUERY_VECTORS = {"red": [1.0, 0.0], "blue": [0.0, 1.0], "shoe": [0.6, 0.8], "nothing": [-1.0, 0.0]}


def encode(queries: Sequence[str]) -> np.ndarray:
    return np.array([QUERY_VECTORS[query] for query in queries], np.float32)


class Column:
    """A model that returns one of its features."""

    def __init__(self, name: str, times: float = 1.0) -> None:
        self.name, self.times, self.saw = name, times, []

    def predict(self, table: pa.Table) -> np.ndarray:
        self.saw.append(table.column_names)
        return self.times * np.nan_to_num(table[self.name].to_numpy().astype(np.float64))


STACK: list[SearchStack] = []


def make(**changes: object) -> SearchStack:
    if not STACK:
        STACK.append(_make())
    return replace(STACK[0], **changes)


def _make() -> SearchStack:
    pins, products = CATALOGUE.rows("pin"), CATALOGUE.rows("product")
    token = [BM25Scorer().fit([TEXTS[row] for row in rows]) for rows in (pins, products)]
    features = Joined(
        [
            Cosine(CATALOGUE, encode, VECTORS, fingerprint="f" * 64),
            EntityColumns(CATALOGUE, {"worth": np.array([1.0, 3.0, 2.0, 6.0, 5.0, 4.0])}),
        ]
    )
    return SearchStack(
        catalogue=CATALOGUE,
        retrievers=(
            TokenRetriever("token pins", token[0], pins, 3),
            TokenRetriever("token products", token[1], products, 3),
            EmbeddingRetriever("near pins", encode, VECTORS[pins], pins, 2),
            EmbeddingRetriever("near products", encode, VECTORS[products], products, 2),
        ),
        l1=FirstStage(features=features, scorer=Column("cosine"), keep=2),
        l2=SecondStage(features=features, scorer=Column("worth")),
        blender=EveryNth(2),
        depth=4,
    )


def test_a_search_by_hand() -> None:
    # "red": tokens find pins a and c and product e; the nearest pins are a and c, the nearest products e and a
    results = make().search("red")
    # L1 by cosine keeps pins a (1.0), c (0.8), products e (1.0), a (0.0); L2 by worth: pins c, a; products a, e
    assert [(one.entity_type, one.entity_id) for one in results] == [
        ("pin", "c"), ("product", "a"), ("pin", "a"), ("product", "e"),
    ]  # fmt: skip
    first, second = results[0], results[1]
    assert (first.l1_rank, first.l2_rank) == (2, 1)
    assert first.l2_score == first.utility == 2.0
    assert first.l1_score == pytest.approx(0.8)
    assert list(first.retrieved) == ["token pins", "near pins"]
    assert first.retrieved["near pins"] == (2, pytest.approx(0.8))
    assert second.retrieved == {"near products": (2, pytest.approx(0.0))}
    assert np.isnan(first.relevance)
    assert first.explain() == (
        f"1. pin c: token pins rank 2 ({first.retrieved['token pins'][1]:.3f}), near pins rank 2 (0.800); "
        "L1 rank 2 (0.800); L2 rank 1 of the pins (2.000, utility 2.000)"
    )


def test_what_has_no_vector_is_not_near_and_what_shares_no_token_is_not_found() -> None:
    results = make(depth=10, l1=replace(make().l1, keep=10)).search_many(["blue", "nothing"])
    shown = results.table().to_pandas()
    blue = shown[shown["query"] == "blue"].set_index(["entity_type", "entity_id"])
    assert blue.loc[("product", "f"), "token products_rank"] == 1
    assert np.isnan(blue.loc[("product", "f"), "near products_rank"])
    assert shown[shown["query"] == "nothing"]["token pins_rank"].isna().all()
    # 'nothing' finds by embedding alone: two pins, two products; 'blue': pins b, c and products f, a, e
    assert results.candidates.tolist() == [5, 4]


def test_relevance_is_a_feature_of_l2_and_part_of_the_utility() -> None:
    l2 = make().l2
    scorer = Column("relevance")
    stack = make(l2=replace(l2, scorer=scorer, relevance=Column("worth"), utility=WeightedSum(0.5)))
    results = stack.search("red")
    assert scorer.saw == [["cosine", "worth", "relevance"]]
    assert [one.utility for one in results] == [1.5 * one.relevance for one in results]
    plain = Column("worth")
    make(l2=replace(l2, scorer=plain, relevance=Column("worth"), relevance_as_feature=False)).search("red")
    assert plain.saw == [["cosine", "worth"]]


def test_ads_below_the_least_grade_are_not_shown() -> None:
    utility = EngagementTimesRelevance(power=2.0, least_grade=2.0)
    np.testing.assert_array_equal(
        utility.combine(np.array([0.5, 0.5, 0.1]), np.array([1.9, 2.0, 3.0])), [-np.inf, 2.0, 0.1 * 9]
    )
    l2 = replace(make().l2, scorer=Column("cosine"), relevance=Column("worth"), utility=utility)
    results = make(l2=l2, blender=BestFirst()).search("red")
    assert ("pin", "a") not in {(one.entity_type, one.entity_id) for one in results}  # its worth is 1
    assert [one.utility for one in results] == sorted((one.utility for one in results), reverse=True)


def test_every_nth_by_hand() -> None:
    kinds = np.array([0, 0, 0, 0, 1, 1], np.int8)
    assert EveryNth(3).blend(kinds, np.zeros(6)).tolist() == [0, 1, 4, 2, 3, 5]
    assert EveryNth(2).blend(kinds, np.zeros(6)).tolist() == [0, 4, 1, 5, 2, 3]
    assert EveryNth(3).blend(kinds[4:], np.zeros(2)).tolist() == [0, 1]
    assert BestFirst().blend(kinds, np.array([1.0, 0, 0, 0, 2, 1])).tolist() == [4, 0, 5, 1, 2, 3]


@settings(max_examples=50)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(2, 5))
def test_blending_keeps_all_and_the_order_of_each_kind(pins: int, products: int, nth: int) -> None:
    kinds = np.array([0] * pins + [1] * products, np.int8)
    order = EveryNth(nth).blend(kinds, np.zeros(len(kinds)))
    assert sorted(order.tolist()) == list(range(pins + products))
    for kind in (0, 1):
        of_kind = order[kinds[order] == kind]
        assert (np.diff(of_kind) > 0).all()
    whole = min(pins // (nth - 1), products)
    assert all(kinds[order[place]] == ((place + 1) % nth == 0) for place in range(whole * nth))


@settings(max_examples=40)
@given(st.lists(st.sampled_from(sorted(QUERY_VECTORS)), max_size=6), st.integers(1, 4))
def test_a_query_is_searched_alike_alone_and_among_others(queries: list[str], batch: int) -> None:
    stack = make()
    results = stack.search_many(queries, batch_size=batch)
    for place, query in enumerate(queries):
        alone, among = stack.search(query), results.of(place)
        assert [one.explain() for one in alone] == [one.explain() for one in among]
    assert (results.pages(2) >= -1).all()
    assert results.pages(2).shape == (len(queries), 2)
    assert results.table().num_rows == len(results.rows)


class Fixed:
    """A retriever whose candidates are given."""

    def __init__(self, name: str, rows: np.ndarray) -> None:
        self.name, self.rows, self.asked = name, rows, []

    def retrieve(self, queries: Sequence[str]) -> Candidates:
        self.asked += queries
        rows = np.stack([self.rows[int(query)] for query in queries])
        return Candidates(rows, np.where(rows >= 0, 1.0, np.nan).astype(np.float32))


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_the_stack_is_the_plain_one(seed: int) -> None:
    """Against a plain reading of Figure 4, entity by entity."""
    rng = np.random.default_rng(seed)
    found = [
        np.stack([np.r_[rng.permutation(6)[: rng.integers(0, 5)], [-1] * 6][:5] for _ in range(3)]) for _ in range(2)
    ]
    values = {name: rng.integers(0, 4, 6).astype(float) for name in ("cheap", "dear")}
    features = EntityColumns(CATALOGUE, values)
    keep, depth = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    stack = SearchStack(
        catalogue=CATALOGUE,
        retrievers=(Fixed("one", found[0]), Fixed("two", found[1])),
        l1=FirstStage(features=ColumnsOf(features, ["cheap"]), scorer=Column("cheap"), keep=keep),
        l2=SecondStage(features=features, scorer=Column("dear")),
        blender=EveryNth(3),
        depth=depth,
    )
    results = stack.search_many(["0", "1", "2"], batch_size=2)
    for query in range(3):
        lists = []
        for kind in (0, 1):
            pool = {row for one in found for row in one[query].tolist() if row >= 0 and CATALOGUE.kinds[row] == kind}
            kept = sorted(pool, key=lambda row: (-values["cheap"][row], row))[:keep]
            lists.append(sorted(kept, key=lambda row: (-values["dear"][row], row)))
        page: list[int] = []
        while lists[0] or lists[1]:
            turn = 1 if len(page) % 3 == 2 else 0
            page.append((lists[turn] or lists[1 - turn]).pop(0))
        first, last = results.offsets[query : query + 2]
        assert results.rows[first:last].tolist() == page[:depth]


def test_kept_results_are_asked_for_once() -> None:
    inner = Fixed("one", np.array([[0, 1], [2, -1]]))
    kept = Remembered(inner)
    assert kept.name == "one"
    np.testing.assert_array_equal(kept.retrieve(["1", "0", "1"]).rows, [[2, -1], [0, 1], [2, -1]])
    np.testing.assert_array_equal(kept.retrieve(["0"]).rows, [[0, 1]])
    assert inner.asked == ["1", "0"]
    assert kept.retrieve([]).rows.shape[0] == 0


def test_equal_scores_go_by_row() -> None:
    retriever = EmbeddingRetriever("near", encode, np.ones((6, 2), np.float32), np.arange(6)[::-1].copy(), 3)
    assert retriever.retrieve(["red"]).rows.tolist() == [[0, 1, 2]]


def test_an_index_finds_what_exact_search_finds() -> None:
    types = CATALOGUE.types(np.arange(6))
    index = HnswIndex.build(CATALOGUE.ids, VECTORS, types=types)
    exact = EmbeddingRetriever("near", encode, VECTORS, np.arange(6), 4).retrieve(["red", "shoe"])
    found = IndexRetriever("near", encode, index, CATALOGUE, 4).retrieve(["red", "shoe"])
    for query in range(2):  # equal cosines stand in the order of ids there, of rows here
        np.testing.assert_allclose(found.scores[query], exact.scores[query], atol=1e-6)
        assert set(found.rows[query].tolist()) == set(exact.rows[query].tolist())
    with pytest.raises(DataError, match="does not say which entities are pins"):
        IndexRetriever("near", encode, HnswIndex.build(pa.array(["a"]), VECTORS[:1]), CATALOGUE, 4)


def test_without_an_l1_every_candidate_is_scored() -> None:
    results = make(l1=None, depth=10).search("red")
    assert [one.l1_rank for one in results] == [0] * len(results)
    assert {(one.entity_type, one.entity_id) for one in results} == {
        ("pin", "a"), ("pin", "c"), ("product", "a"), ("product", "e"),
    }  # fmt: skip
    assert "L1" not in results[0].explain()
    assert make(l1=None).search_many(["red"]).table()["l1_score"].null_count == 4


def test_features_of_the_catalogue() -> None:
    pairs = pa.table({"query": ["red", "blue"], "entity_id": ["a", "f"], "entity_type": ["product", "product"]})
    cosine = Cosine(CATALOGUE, encode, VECTORS, fingerprint="f" * 64, column="ours").compute(pairs)
    assert cosine["ours"].to_pylist() == [0.0, None]
    assert cosine.schema.metadata == {b"omnifeat.fingerprint": b"f" * 64}
    scorer = BM25Scorer().fit(TEXTS)
    lexical = Lexical(CATALOGUE, {"bm25": scorer}).compute(pairs)["bm25"].to_pylist()
    assert lexical == scorer.pair_scores(["red", "blue"], np.array([3, 5])).tolist()
    with pytest.raises(DataError, match="has no pin 'f' of row 2"):
        Lexical(CATALOGUE, {"bm25": scorer}).compute(pairs.set_column(2, "entity_type", pa.array(["pin", "pin"])))
    source = EntityColumns(CATALOGUE, {"x": np.zeros(6)})
    with pytest.raises(DataError, match="two sources of features give a column 'x'"):
        Joined([source, source]).compute(pairs)
    unknown = EntityColumns(CATALOGUE, {"x": np.array([np.nan] * 6)}).compute(pairs)
    assert unknown["x"].to_pylist() == [None, None]


def test_stages_are_timed() -> None:
    latency = measure_latency(make(), ["red", "blue", "shoe"])
    assert list(latency) == ["retrieval", "l1", "l2", "blending", "all"]
    assert all(0 < one["p50"] <= one["p90"] for one in latency.values())
    assert latency["all"]["p50"] >= max(latency[stage]["p50"] for stage in ("retrieval", "l1", "l2"))


def test_what_is_wrong_is_named() -> None:
    stack = make()
    with pytest.raises(SettingError, match="no retriever 'far'; it has token pins"):
        stack.with_retriever(Fixed("far", np.zeros((1, 1), np.int64)))
    with pytest.raises(SettingError, match="a name of its own"):
        make(retrievers=(stack.retrievers[0], stack.retrievers[0]))
    with pytest.raises(SettingError, match="at least one retriever"):
        make(retrievers=())
    with pytest.raises(SettingError, match="keep 1 candidate or more"):
        make(depth=0)
    broken = make(l1=replace(stack.l1, scorer=Column("worth", np.nan)))
    with pytest.raises(DataError, match="candidate 0 is not a number"):
        broken.search("red")
    with pytest.raises(SettingError, match="1 candidate or more, got 0"):
        EmbeddingRetriever("near", encode, VECTORS, np.arange(6), 0)
    with pytest.raises(SettingError, match="has 6 entities for 5 rows"):
        EmbeddingRetriever("near", encode, VECTORS, np.arange(5), 1)
    replaced = stack.with_retriever(Fixed("near pins", np.zeros((1, 1), np.int64)))
    assert [type(one).__name__ for one in replaced.retrievers].count("Fixed") == 1
    assert replaced.l1 is stack.l1


def test_the_pages_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "stack.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(block, "docs/stack.md", "exec"), {})
    assert capsys.readouterr().out.startswith("1. pin pin-b: tokens rank 2")


def test_all_candidates_with_the_utility_that_l1_is_to_keep_up_with() -> None:
    l2 = replace(
        make().l2, relevance=Column("worth"), utility=EngagementTimesRelevance(least_grade=2.0), scorer=Column("worth")
    )
    pairs, utilities = make(l2=l2).score_all(["red", "blue"])
    table = pairs.append_column("utility", pa.array(utilities)).to_pandas()
    red = table[table["query"] == "red"].set_index(["entity_type", "entity_id"])["utility"]
    # worths squared: pin c 4, product a 36, product e 25; pin a, of grade 1, must not be shown and stands below all
    assert red.to_dict() == {("pin", "a"): -1.0, ("pin", "c"): 4.0, ("product", "a"): 36.0, ("product", "e"): 25.0}
    with pytest.raises(DataError, match="find no candidate for any of 1 queries"):
        make(retrievers=(Fixed("one", np.array([[-1, -1]])),)).score_all(["0"])


def test_relevance_may_have_features_of_its_own() -> None:
    own = EntityColumns(CATALOGUE, {"other": np.full(6, 2.0)})
    judge = Column("other")
    l2 = replace(make().l2, relevance=judge, relevance_features=own, relevance_as_feature=False)
    results = make(l2=l2).search("red")
    assert judge.saw == [["other"]]
    assert {one.relevance for one in results} == {2.0}
