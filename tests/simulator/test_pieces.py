"""Pieces of the simulator against plain reference implementations and values by hand."""

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.simulator.concepts import ABSENT, draw_concepts, draw_things, tree, zipf
from omnifeat.simulator.evidence import earlier_counts, most_frequent
from omnifeat.simulator.graph import graph_vectors
from omnifeat.simulator.lexicon import LEAVES_PER_THING, lexicon
from omnifeat.simulator.phrasebook import phrasebook, render, split
from omnifeat.simulator.places import Places, up
from omnifeat.simulator.queries import misspell
from omnifeat.simulator.rates import CAPTION_WRONG_THING, DAYS, HAS_ATTRIBUTE, LEAF_SHARES, WEEKEND
from omnifeat.simulator.sessions import draw_times
from omnifeat.simulator.tables import text_match
from omnifeat.simulator.wording import caption, phrase

events = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=60)


@given(events, st.integers(1, 4))
def test_most_frequent_is_what_a_counter_says(pairs: list[tuple[int, int]], kept: int) -> None:
    counters: dict[int, Counter[int]] = defaultdict(Counter)
    for entity, member in pairs:
        counters[entity][member] += 1
    columns = np.array(pairs, np.int64).reshape(-1, 2)
    lists = most_frequent(columns[:, 0], columns[:, 1], 6, 10, kept)
    texts = pa.array([f"text {number}" for number in range(10)])
    expected = [
        [f"text {member}" for member, _ in sorted(counters[row].items(), key=lambda item: (-item[1], item[0]))[:kept]]
        for row in range(6)
    ]
    assert lists.texts(slice(0, 6), texts).to_pylist() == expected
    assert lists.texts(slice(2, 5), texts).to_pylist() == expected[2:5]


@given(events, events)
def test_earlier_counts(logged: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    log, questions = (np.array(rows, np.int64).reshape(-1, 2) for rows in (logged, asked))
    found = earlier_counts(log[:, 0], log[:, 1], questions[:, 0], questions[:, 1], 10)
    assert found.tolist() == [sum(e == entity and t < time for e, t in logged) for entity, time in asked]


def test_graph_vectors_are_those_of_a_plain_factorisation() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 3, (12, 9)) * (rng.random((12, 9)) < 0.6)
    counts[counts.sum(axis=1) == 0, 0] = 1
    rows, columns = (np.repeat(places, counts[counts > 0]) for places in np.nonzero(counts))
    shares = counts.sum(axis=0) ** 0.75 / (counts.sum(axis=0) ** 0.75).sum()
    with np.errstate(divide="ignore"):
        information = np.maximum(0, np.log(counts / counts.sum(axis=1, keepdims=True) / shares))
    left, values, _ = np.linalg.svd(information, full_matrices=False)
    expected = left[:, :8] * np.sqrt(values[:8])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    vectors, present = graph_vectors(rows, columns, counts.shape, seed=0)
    assert present.all()
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


def test_graph_vectors_hold_together_what_is_saved_together() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(4, size=200)  # rows of a group share columns
    rows = np.repeat(np.arange(200), 6)
    columns = group[rows] * 20 + rng.integers(20, size=len(rows))
    vectors, present = graph_vectors(rows + 5, columns, (210, 80), seed=0)
    assert present.sum() == 200
    assert not present[:5].any()
    assert not vectors[~present].any()
    cosines = vectors[5:205] @ vectors[5:205].T
    same = group[:, None] == group[None, :]
    assert cosines[same].mean() > 0.2
    assert abs(cosines[~same].mean()) < 0.02
    np.testing.assert_allclose(np.linalg.norm(vectors[present], axis=1), 1, atol=1e-5)


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(-1, 400), min_size=3, max_size=3), min_size=1, max_size=20))
def test_render_joins_the_phrases_that_are_there(rows: list[list[int]]) -> None:
    strings = phrasebook().strings.to_pylist()
    expected = [" ".join(strings[phrase] for phrase in row if phrase >= 0) for row in rows]
    assert render(np.array(rows, np.int32)).to_pylist() == expected


def test_word_pairs_are_the_words_of_the_rendered_texts() -> None:
    rng = np.random.default_rng(1)
    texts = phrase(draw_concepts(rng, 300, draw_things(rng)), rng.integers(4, size=300).astype(np.int32), rng)
    book = phrasebook()
    numbers = book.word_numbers()
    expected = {
        row * book.number_of_words + numbers[word]
        for row, text in enumerate(render(texts).to_pylist())
        for word in split(text)
    }
    assert book.word_pairs([texts]).tolist() == sorted(expected)
    halves = book.word_pairs([texts[:, :5], texts[:, 5:]])
    assert halves.tolist() == sorted(expected)


def test_text_match_by_hand() -> None:
    words = phrasebook().number_of_words
    typed = np.array([3, 7, 2 * words + 3])  # query 0 types words 3 and 7, query 2 word 3, query 1 none that is known
    pairs = np.array([7, words + 3, words + 7])
    query, entity = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 0, 0, 1])
    assert text_match(typed, pairs, query, entity).tolist() == [0.5, 1.0, 0.0, 0.0, 1.0]


def test_concepts_hang_where_the_lexicon_has_them() -> None:
    rng = np.random.default_rng(2)
    concepts = draw_concepts(rng, 20_000, draw_things(rng))
    words = lexicon()
    for row in range(0, 20_000, 97):
        thing = words.things[concepts.things[row]]
        assert concepts.topics[row] == thing.topic
        assert concepts.domains[row] == words.topics[thing.topic].domain
        assert concepts.attributes[row, 0] == thing.leaves[concepts.leaves[row]]
        for value, kind in zip(concepts.attributes[row], words.topics[thing.topic].kinds, strict=True):
            assert value == ABSENT or words.attributes[value].kind == kind
    shares = np.bincount(concepts.leaves, minlength=LEAVES_PER_THING) / 20_000
    np.testing.assert_allclose(shares, LEAF_SHARES, atol=0.02)
    np.testing.assert_allclose((concepts.attributes[:, 1:] >= 0).mean(axis=0), HAS_ATTRIBUTE, atol=0.02)


@pytest.mark.parametrize(("level", "column"), [(1, "domains"), (2, "topics"), (3, "things"), (4, "leaves")])
def test_draws_come_from_below_the_node(level: int, column: str) -> None:
    rng = np.random.default_rng(level)
    things = draw_things(rng)
    concepts = draw_concepts(rng, 30_000, things)
    places = Places(concepts, rng.permutation(zipf(30_000, 0.8)))
    nodes = up(concepts.take(rng.integers(30_000, size=2_000)), level)
    found = concepts.take(places.draw(rng, nodes))
    assert (getattr(found, column) == getattr(nodes, column)).all()
    if level == 4:
        assert (found.things == nodes.things).all()


def test_draws_follow_popularity() -> None:
    rng = np.random.default_rng(7)
    concepts = draw_concepts(rng, 50, draw_things(rng))
    concepts = concepts.take(np.zeros(50, np.int64))  # all of one leaf
    popularity = zipf(50, 1.0)
    found = Places(concepts, popularity).draw(rng, concepts.take(np.zeros(100_000, np.int64)))
    np.testing.assert_allclose(np.bincount(found, minlength=50) / 100_000, popularity, atol=0.006)


def test_nothing_below_a_node_gives_anything() -> None:
    rng = np.random.default_rng(8)
    concepts = draw_concepts(rng, 400, draw_things(rng))
    elsewhere = concepts.take(np.flatnonzero(concepts.domains != concepts.domains[0]))
    found = Places(elsewhere, np.full(len(elsewhere), 1 / len(elsewhere))).draw(rng, concepts.take(np.zeros(50, int)))
    assert ((found >= 0) & (found < len(elsewhere))).all()


@given(st.text("abcdefgh ", max_size=20), st.integers(0, 2**32 - 1))
def test_a_slip_changes_one_word_by_little(text: str, seed: int) -> None:
    slipped = misspell(text, np.random.default_rng(seed))
    words, others = text.split(" "), slipped.split(" ")
    assert len(words) == len(others)
    changed = [(one, other) for one, other in zip(words, others, strict=True) if one != other]
    assert len(changed) <= 1
    for one, other in changed:
        assert len(one) >= 4
        assert one[0] == other[0]
        assert abs(len(one) - len(other)) <= 1
        assert (
            sum(abs(count) for count in (Counter(one) - Counter(other) + (Counter(other) - Counter(one))).values()) <= 2
        )


def test_phrases_say_what_they_are_told_without_repeating_a_word() -> None:
    rng = np.random.default_rng(3)
    concepts = draw_concepts(rng, 3_000, draw_things(rng))
    words = lexicon()
    locales = rng.integers(4, size=3_000).astype(np.int32)
    for row, text in enumerate(render(phrase(concepts, locales, rng)).to_pylist()):
        names = words.things[concepts.things[row]].words[locales[row]]
        assert any(name in text for name in names)
    english = render(phrase(concepts, np.zeros(3_000, np.int32), rng, usual=1.0)).to_pylist()
    for row, text in enumerate(english):
        thing = words.things[concepts.things[row]]
        said = [text.find(words.attributes[value].words[0][0]) for value in concepts.attributes[row] if value >= 0]
        assert sum(place >= 0 for place in said) >= 0.5 * len(said) - 1
        parts = split(text.replace(thing.words[0][0], ""))
        assert len(parts) == len(set(parts)), text


def test_captions_are_american_and_say_only_what_one_can_see() -> None:
    rng = np.random.default_rng(4)
    concepts = draw_concepts(rng, 5_000, draw_things(rng))
    words = lexicon()
    texts = render(caption(concepts, rng)).to_pylist()
    right = [words.things[thing].words[0][0] in text for thing, text in zip(concepts.things, texts, strict=True)]
    assert np.mean(right) == pytest.approx(1 - CAPTION_WRONG_THING, abs=0.02)
    hidden = {
        attribute.words[0][0] for attribute in words.attributes if attribute.kind in ("season", "diet", "audience")
    }
    names = {name for thing in words.things for name in split(thing.words[0][0])}
    for text in texts:
        assert not any(f" {word} " in f" {text} " for word in hidden if not set(split(word)) & names)


def test_times_are_within_the_world_and_fuller_on_weekends() -> None:
    seconds = draw_times(np.random.default_rng(5), 200_000)
    assert seconds.min() >= 0
    assert seconds.max() < DAYS * 86_400
    day = seconds // 86_400
    weekends = (np.arange(DAYS) % 7 >= 5).sum()
    ratio = (np.sum(day % 7 >= 5) / weekends) / (np.sum(day % 7 < 5) / (DAYS - weekends))
    assert ratio == pytest.approx(WEEKEND, abs=0.03)


def test_tree_has_a_topic_for_each_thing() -> None:
    assert tree().topic_of_thing.tolist() == [thing.topic for thing in lexicon().things]
