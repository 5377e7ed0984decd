"""Lexical scorers: tokens, golden BM25 values, agreement of the ways to score, and odd queries."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError, SettingError
from omnifeat.retrieval.lexical import (
    LEXICAL_SCORERS,
    BM25Scorer,
    RandomScorer,
    TfidfScorer,
    lexical_scorer,
    split_trigrams,
    split_words,
)
from omnifeat.text.normalise import normalise
from omnifeat.text.tokenizer import NgramSizes, NgramTokenizer

TEXTS = ["red running shoe", "blue shoe", "猫の絵文字", "", None, "smile, smile! face"]
TOKEN_BASED = sorted(set(LEXICAL_SCORERS) - {"random"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("red shoes", ["red", "shoes"]),
        ("don't stop_here!", ["don", "t", "stop", "here"]),
        ("猫face", ["猫", "face"]),
        ("かわいい猫", ["か", "わ", "い", "い", "猫"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),  # vowel signs stay inside the word
        ("웃는 얼굴", ["웃는", "얼굴"]),
        ("🙂♥ ", ["🙂", "♥"]),
        ("soft\u00adhyphen", ["softhyphen"]),  # ignored characters are as if not there
        ("ที่นี่", ["ที่", "นี่"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.sampled_from("ab1_-. 猫かที่हि\u0301🙂\u200d\ufe0f웃é"), max_size=8), min_size=1, max_size=6))
def test_words_are_those_of_the_tokenizer(texts: list[str]) -> None:
    # Fitted on all texts, the tokenizer knows every word: it must count as many tokens of each kind as we split.
    sizes = NgramSizes(trigrams=500, words=500, bigrams=500)
    bags = NgramTokenizer.fit([pa.array(texts)], sizes=sizes).encode(pa.array(texts))
    for text, length in zip(normalise(pa.array(texts)).to_pylist(), bags.lengths, strict=True):
        words = split_words(text)
        assert len(words) + len(split_trigrams(text)) + max(0, len(words) - 1) == length


def test_trigrams_have_word_ends() -> None:
    assert split_trigrams("cat 猫") == [" ca", "cat", "at ", " 猫 "]
    assert split_trigrams("") == []


def test_bm25_golden() -> None:
    # N = 2, lengths 2 and 1, mean 1.5, k1 = 1.5, b = 0.75. "a" is in both: idf = ln(1 + 0.5 / 2.5) = 0.182322.
    # Text 0 "a b": 1 / (1 + 1.5 * (0.25 + 0.75 * 2 / 1.5)) = 1 / 2.875;  text 1 "a": 1 / (1 + 1.5 * 0.75) = 1 / 2.125.
    # "b" is in text 0 only: idf = ln(1 + 1.5 / 1.5) = 0.693147.
    scorer = BM25Scorer(split_words).fit(["a b", "a"])
    expected = [[0.182322 / 2.875, 0.182322 / 2.125], [(0.182322 + 0.693147) / 2.875, 0.182322 / 2.125]]
    np.testing.assert_allclose(scorer.scores(["a", "a b"]), expected, rtol=1e-5)


def _plain_bm25(texts: list[str], query: str) -> list[float]:
    bags = [Counter(split_words(text)) for text in texts]
    mean = sum(sum(bag.values()) for bag in bags) / len(bags)
    scores = []
    for bag in bags:
        score = 0.0
        for token in split_words(query):
            holding = sum(token in other for other in bags)
            idf = math.log(1 + (len(bags) - holding + 0.5) / (holding + 0.5))
            if bag[token]:
                score += idf * bag[token] / (bag[token] + 1.5 * (0.25 + 0.75 * sum(bag.values()) / mean))
        scores.append(score)
    return scores


words = st.lists(st.sampled_from(["a", "b", "cc", "猫", "éa"]), max_size=6).map(" ".join)


@settings(deadline=None, max_examples=40)
@given(st.lists(words, min_size=1, max_size=6), words)
def test_bm25_equals_plain_python(texts: list[str], query: str) -> None:
    scores = BM25Scorer(split_words).fit(texts).scores([query])[0]
    np.testing.assert_allclose(scores, _plain_bm25(texts, query), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(LEXICAL_SCORERS))
def test_blocks_and_pairs_equal_scores(name: str) -> None:
    queries = ["red shoe", "smile", "猫", "red shoe", "zzz"]
    scorer = lexical_scorer(name, seed=3).fit(TEXTS)
    whole = scorer.scores(queries)
    assert whole.shape == (5, 6)
    assert whole.dtype == np.float32
    blocks = list(scorer.score_blocks(queries, block_bytes=2 * 4 * 6))
    assert [start for start, _ in blocks] == [0, 2, 4]
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), whole)
    query_rows, rows = np.divmod(np.arange(30), 6)
    pairs = scorer.pair_scores([queries[row] for row in query_rows], rows)
    np.testing.assert_allclose(pairs, whole[query_rows, rows], rtol=1e-6)
    np.testing.assert_array_equal(whole[0], whole[3])


@pytest.mark.parametrize("name", TOKEN_BASED)
def test_unknown_and_empty_queries_score_zero(name: str) -> None:
    scorer = lexical_scorer(name).fit(TEXTS)
    assert not scorer.scores(["qqqq", "", "   ", "!?"]).any()
    assert not scorer.pair_scores(["", "qqqq"], np.array([0, 1])).any()
    assert scorer.scores([]).shape == (0, 6)


@pytest.mark.parametrize("name", TOKEN_BASED)
def test_finds_the_matching_text(name: str) -> None:
    scores = lexical_scorer(name).fit(TEXTS).scores(["Running", "絵文字", "ＳＭＩＬＥ"])
    assert scores.argmax(axis=1).tolist() == [0, 2, 5]


@pytest.mark.parametrize("name", TOKEN_BASED)
def test_equal_texts_tie_exactly(name: str) -> None:
    scores = lexical_scorer(name).fit(["the red cat", "dog", "the red cat", "red"]).scores(["a red red cat", "cat d"])
    np.testing.assert_array_equal(scores[:, 0], scores[:, 2])
    assert (scores[:, 0] > 0).all()


@pytest.mark.parametrize("name", TOKEN_BASED)
def test_texts_without_any_token(name: str) -> None:
    scorer = lexical_scorer(name).fit(["", None])
    np.testing.assert_array_equal(scorer.scores(["cat"]), np.zeros((1, 2), np.float32))
    np.testing.assert_array_equal(scorer.pair_scores(["cat"], np.array([1])), np.zeros(1, np.float32))


def test_tfidf_is_a_cosine() -> None:
    texts = ["red shoe", "blue sky"]
    np.testing.assert_allclose(np.diag(TfidfScorer().fit(texts).scores(texts)), 1, rtol=1e-5)


def test_random_is_uniform_and_seeded() -> None:
    queries = [f"query {number}" for number in range(200)]
    scores = RandomScorer(1).fit(["x"] * 500).scores(queries)
    assert 0 <= scores.min() < 0.001
    assert 0.999 < scores.max() < 1
    assert abs(scores.mean() - 0.5) < 0.005  # standard error 0.0009
    assert abs(np.corrcoef(scores[:2])[0, 1]) < 0.2
    np.testing.assert_array_equal(scores, RandomScorer(1).fit(["y"] * 500).scores(queries))
    assert (scores != RandomScorer(2).fit(["x"] * 500).scores(queries)).mean() > 0.99


def test_bad_input() -> None:
    with pytest.raises(SettingError, match="no lexical scorer 'bm26'; choose one of random, bm25-words"):
        lexical_scorer("bm26")
    with pytest.raises(SettingError, match="b between 0 and 1"):
        BM25Scorer(b=2)
    with pytest.raises(SettingError, match="1 <= smallest <= largest"):
        TfidfScorer(3, 2)
    with pytest.raises(SettingError, match="not been fitted"):
        BM25Scorer().scores(["a"])
    for name in LEXICAL_SCORERS:
        with pytest.raises(DataError, match="no texts to fit"):
            lexical_scorer(name).fit([])
