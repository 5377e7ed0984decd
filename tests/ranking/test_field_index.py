"""BM25 by the index against the library-backed scorer, and by hand where a query's own text is taken out."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnifeat.retrieval.lexical import BM25Scorer
from ranking.field_index import FieldIndex, Vocabulary, bit_counts

words = st.sampled_from(["red", "blue", "hat", "shoe", "帽", "tea"])
texts = st.lists(words, max_size=6).map(" ".join)


def indexed(documents: list[str]) -> tuple[Vocabulary, FieldIndex]:
    vocabulary, index = Vocabulary(), FieldIndex()
    for start in range(0, len(documents), 2):  # several batches
        index.add(*vocabulary.learn(documents[start : start + 2]))
    return vocabulary, index.finish(len(vocabulary))


@given(st.lists(texts, min_size=1, max_size=7), st.lists(texts, min_size=1, max_size=4), st.randoms())
def test_as_the_scorer_of_the_whole_catalogue(documents: list[str], queries: list[str], random: object) -> None:
    vocabulary, index = indexed(documents)
    found_words = vocabulary.queries(queries)
    pairs = [(query, row) for query in range(len(queries)) for row in range(len(documents))]
    query_rows = np.array([query for query, _ in pairs], dtype=np.int32)
    entity_rows = np.array([row for _, row in pairs], dtype=np.int32)
    scores, bits = index.score(found_words, query_rows, entity_rows)
    expected = BM25Scorer().fit(documents).pair_scores([queries[q] for q, _ in pairs], entity_rows.astype(np.int64))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    matched = [len(set(queries[q].split()) & set(documents[row].split())) for q, row in pairs]
    assert bit_counts(bits).tolist() == matched
    assert found_words.distinct.tolist() == [len(set(query.split())) for query in queries]


@given(st.lists(st.lists(texts, max_size=4), min_size=1, max_size=5), texts)
def test_without_the_own_query(engaged: list[list[str]], query: str) -> None:
    """Statistics are of the whole catalogue; count and length are those of the field less the query's own text."""
    vocabulary, index = indexed(["\n".join(items) for items in engaged])
    rows = np.arange(len(engaged), dtype=np.int32)
    own = np.array([items.count(query) for items in engaged], dtype=np.int32)
    scores, _ = index.score(vocabulary.queries([query]), np.zeros(len(rows), dtype=np.int32), rows, own)
    mean = np.mean([len(" ".join(items).split()) for items in engaged])
    for row, items in enumerate(engaged):
        left = Counter(word for item in items if item != query for word in item.split())
        expected = 0.0
        for word, times in Counter(query.split()).items():
            holding = sum(word in " ".join(other).split() for other in engaged)
            if left[word]:
                norm = 1.5 * (0.25 + 0.75 * left.total() / mean)
                idf = math.log(1 + (len(engaged) - holding + 0.5) / (holding + 0.5))
                expected += times * idf * left[word] / (left[word] + norm)
        assert scores[row] == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_scored_is_nan() -> None:
    vocabulary, index = indexed(["red hat"])
    rows = np.array([0, -1, 0], dtype=np.int32), np.array([0, 0, -1], dtype=np.int32)
    scores, bits = index.score(vocabulary.queries(["hat"]), *rows)
    assert np.isfinite(scores).tolist() == [True, False, False]
    assert bit_counts(bits).tolist() == [1, 0, 0]
