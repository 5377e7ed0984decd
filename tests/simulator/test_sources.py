"""Where the engine finds candidates: each source by hand, the three as one, and a world whose log they wrote."""

import hashlib
import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.data.validate import validate
from omnifeat.errors import SettingError
from omnifeat.retrieval.hnsw import HnswSettings
from omnifeat.simulator import DEFAULT_SOURCES, SOURCES, rates, simulate
from omnifeat.simulator.behaviour import Behaviour
from omnifeat.simulator.concepts import ABSENT, Concepts, LatentSpace, draw_things, tree
from omnifeat.simulator.earlier import STREAMS, Earlier, EngagedPairs, behaviour_vectors, live_earlier
from omnifeat.simulator.entities import Entities, make_entities
from omnifeat.simulator.queries import Queries, make_queries
from omnifeat.simulator.search import Candidates, popularity_prior
from omnifeat.simulator.sources import blend, mixed_candidates, nearest_candidates, popular_candidates
from omnifeat.simulator.truth import read_truth_notes

PEOPLE = importlib.import_module("omnifeat.simulator.simulate")  # the package offers the function by that name
DEVIATIONS = 4.5


def floats(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32)


def pieces(pins: int = 40, queries: int = 30) -> SimpleNamespace:
    """A few pins and queries of a world."""
    rng = np.random.default_rng(0)
    space, things = LatentSpace(rng), draw_things(rng)
    return SimpleNamespace(
        pins=make_entities(rng, "pin", pins, space, things), queries=make_queries(rng, queries, space, things)
    )


# --- nearest by earlier behaviour


def test_a_query_stands_where_the_mean_of_what_was_engaged_with_stands() -> None:
    pins = (floats([[1, 0], [0, 1], [0, 0]]), np.array([True, True, False]))
    products = (floats([[-1, 0]]), np.array([True]))
    pairs = (
        EngagedPairs(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]), np.array([3, 4, 5, 9])),
        EngagedPairs(np.array([1]), np.array([0]), np.array([5])),
    )
    found = behaviour_vectors(4, pairs, (pins, products))
    # 3 of (1, 0) and 4 of (0, 1); a pin and a product alike; a pin that nobody saved says nothing; nobody searched
    half = 0.5**0.5
    np.testing.assert_allclose(found, [[0.6, 0.8], [-half, half], [0, 0], [0, 0]], atol=1e-6)


@pytest.mark.parametrize("exact_below", [0, 20_000])
def test_nearest_are_the_highest_cosines_of_what_has_a_vector(
    monkeypatch: pytest.MonkeyPatch, exact_below: int
) -> None:
    monkeypatch.setattr("omnifeat.simulator.sources._INDEX", HnswSettings(exact_below=exact_below))
    pins = pieces(pins=12).pins
    vectors = np.zeros((12, 2), np.float32)
    vectors[[1, 4, 7, 11]] = [[0.6, 0.8], [1, 0], [-1, 0], [0.8, -0.6]]
    queries = floats([[1, 0], [0, 0], [0, 1]])
    found = nearest_candidates(queries, (vectors, vectors.any(axis=1)), pins, 3, threads=1)
    assert found.rows.tolist() == [[4, 11, 1], [ABSENT] * 3, [1, 4, 7]]
    prior = popularity_prior(pins)
    cosines = floats([[1, 0.8, 0.6], [0.8, 0, 0]])
    wanted = (1 - rates.ENGINE_POPULARITY) * cosines + rates.ENGINE_POPULARITY * prior[found.rows[[0, 2]]]
    np.testing.assert_allclose(found.scores[[0, 2]], wanted, atol=1e-6)  # a cosine of -1 counts as none
    assert not found.scores[1].any()


def test_fewer_entities_with_vectors_than_places_leave_places_empty() -> None:
    pins = pieces(pins=5).pins
    vectors = floats([[0, 0], [1, 0], [0, 0], [0, 1], [0, 0]])
    found = nearest_candidates(floats([[0, 1]]), (vectors, vectors.any(axis=1)), pins, 4, threads=1)
    assert found.rows.tolist() == [[3, 1, ABSENT, ABSENT]]


# --- popular in the interest


def _of_things(things: list[int]) -> Concepts:
    """Concepts that name a thing and no more."""
    arrays = tree()
    thing = np.array(things, np.int32)
    topic = arrays.topic_of_thing[thing]
    nothing = np.full(len(thing), ABSENT, np.int32)
    attributes = np.full((len(thing), arrays.kinds_of_topic.shape[1]), ABSENT, np.int32)
    return Concepts(arrays.domain_of_topic[topic], topic, thing, nothing, attributes)


def test_popular_is_what_queries_of_the_same_thing_or_topic_engaged_with_before() -> None:
    first, second = np.flatnonzero(tree().topic_of_thing == 0)[:2].tolist()
    elsewhere = int(np.flatnonzero(tree().topic_of_thing == 1)[0])
    number = 4000
    one = pieces(pins=20, queries=number)
    queries = replace(one.queries, concepts=_of_things([first, second, elsewhere] + [first] * (number - 3)))
    # three engagements with pin 5 by a query of the second thing, one with pin 9 by one of the first
    pairs = EngagedPairs(np.array([0, 1, 2]), np.array([9, 5, 7]), np.array([1, 3, 8]))
    found = popular_candidates(np.random.default_rng(0), queries, pairs, one.pins, 1)
    assert found.rows[2, 0] == 7
    drawn = found.rows[3:, 0]
    assert set(drawn.tolist()) == {5, 9}  # of its topic, never of another
    # two of three draws from its thing, where pin 9 is alone; the third from the topic, where pin 5 has three of four
    share = 1 / 3 * 3 / 4
    assert abs(np.mean(drawn == 5) - share) < DEVIATIONS * (share * (1 - share) / len(drawn)) ** 0.5
    prior = rates.ENGINE_POPULARITY * popularity_prior(one.pins)[drawn]
    assert ((found.scores[3:, 0] >= prior) & (found.scores[3:, 0] <= prior + rates.BROWSED_SCORE)).all()


def test_popular_names_nothing_twice() -> None:
    one = pieces(pins=20, queries=50)
    queries = replace(one.queries, concepts=_of_things([0] * 50))
    pairs = EngagedPairs(np.zeros(3, np.int64), np.array([1, 2, 3]), np.array([1, 1, 1]))
    found = popular_candidates(np.random.default_rng(0), queries, pairs, one.pins, 8)
    for row in found.rows.tolist():
        named = [entity for entity in row if entity != ABSENT]
        assert len(set(named)) == len(named) <= 3


# --- together


def test_what_several_sources_find_is_one_candidate_with_the_best_score() -> None:
    words = Candidates(np.array([[7, 3], [1, ABSENT]], np.int32), floats([[0.9, 0.2], [0.5, 0.0]]))
    near = Candidates(np.array([[3, 8], [2, 1]], np.int32), floats([[0.7, 0.6], [0.4, 0.1]]))
    popular = Candidates(np.array([[8, 7], [2, ABSENT]], np.int32), floats([[0.8, 0.1], [0.3, 0.0]]))
    found = blend((words, near, popular))
    gone = ABSENT
    assert found.rows.tolist() == [[7, 3, gone, 8, gone, gone], [1, gone, 2, gone, gone, gone]]
    np.testing.assert_allclose(found.scores, [[0.9, 0.7, 0, 0.8, 0, 0], [0.5, 0, 0.4, 0, 0, 0]], atol=1e-6)


def test_the_sources_give_way_to_none_that_finds_nothing() -> None:
    nothing = Candidates(np.full((2, 3), ABSENT, np.int32), np.zeros((2, 3), np.float32))
    found = blend((nothing, nothing))
    assert (found.rows == ABSENT).all()
    assert not found.scores.any()


def test_the_two_kinds_of_engine_have_equally_many_places() -> None:
    assert sum(rates.MIXED_PINS) == rates.MATCHED_PINS + rates.BROWSED_PINS
    assert sum(rates.MIXED_PRODUCTS) == rates.MATCHED_PRODUCTS + rates.BROWSED_PRODUCTS


# --- worlds


def found_in(folder: Path, sources: str, patch: pytest.MonkeyPatch, seed: int = 0, threads: int = 1) -> SimpleNamespace:
    """Make a tiny world; what the engine found for its log, and what the period before the log left."""
    kept = SimpleNamespace(earlier=None)
    surfaces, live = PEOPLE.make_surfaces, PEOPLE.live_earlier

    def keep(queries: Queries, entities: tuple[Entities, Entities], candidates: tuple[Candidates, ...]) -> object:
        kept.queries, kept.entities, kept.candidates = queries, entities, candidates
        return surfaces(queries, entities, candidates)

    def keep_earlier(*arguments: object, **options: object) -> Earlier:
        kept.earlier = live(*arguments, **options)
        kept.words = arguments[5]
        return kept.earlier

    with patch.context() as inner:
        inner.setattr(PEOPLE, "make_surfaces", keep)
        inner.setattr(PEOPLE, "live_earlier", keep_earlier)
        simulate(folder, scale="tiny", seed=seed, candidates=sources, threads=threads)
    kept.folder = folder
    return kept


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    with pytest.MonkeyPatch.context() as patch:
        return found_in(tmp_path_factory.mktemp("mixed") / "world", "mixed", patch)


def test_each_source_has_its_places_and_no_candidate_stands_twice(mixed: SimpleNamespace) -> None:
    for kind, (numbers, one) in enumerate(zip((rates.MIXED_PINS, rates.MIXED_PRODUCTS), mixed.entities, strict=True)):
        words, near, popular = numbers
        rows = mixed.candidates[kind].rows
        assert rows.shape == (len(mixed.queries), sum(numbers))
        for row in rows.tolist():
            named = [entity for entity in row if entity != ABSENT]
            assert len(set(named)) == len(named)
        np.testing.assert_array_equal(rows[:, :words], mixed.words[kind].rows[:, :words])
        alone = nearest_candidates(mixed.earlier.queries, mixed.earlier.entities[kind], one, near, threads=1).rows
        by_behaviour = rows[:, words : words + near]
        found = by_behaviour != ABSENT
        assert found.any()
        np.testing.assert_array_equal(by_behaviour[found], alone[found])
        # what is missing there was found by words already
        twice = (alone[:, :, None] == rows[:, None, :words]).any(axis=2)
        np.testing.assert_array_equal(~found & (alone != ABSENT), twice & (alone != ABSENT))
        assert (rows[:, words + near :] != ABSENT).any()
        assert rows[:, words + near :].shape[1] == popular


def test_scores_are_the_better_of_words_and_behaviour(mixed: SimpleNamespace) -> None:
    words, near, _ = rates.MIXED_PINS
    alone = nearest_candidates(mixed.earlier.queries, mixed.earlier.entities[0], mixed.entities[0], near, threads=1)
    found = mixed.candidates[0]
    for query in range(0, len(mixed.queries), 10):
        given: dict[int, float] = {}
        by_words = (mixed.words[0].rows[query, :words], mixed.words[0].scores[query, :words])
        for rows, scores in (by_words, (alone.rows[query], alone.scores[query])):
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
                given[row] = max(given.get(row, 0.0), score)
        for row, score in zip(
            found.rows[query, : words + near].tolist(), found.scores[query, : words + near].tolist(), strict=True
        ):
            assert row == ABSENT or score >= given[row]  # popularity may find it, too


def test_related_queries_stay_as_they_are(mixed: SimpleNamespace) -> None:
    assert mixed.candidates[2] is mixed.words[2]


def test_what_appears_during_the_log_is_unknown_before_it(mixed: SimpleNamespace) -> None:
    """Only words find newcomers: neither the embedding nor popularity knows them."""
    for kind, one in enumerate(mixed.entities):
        newcomer = one.born > 0
        assert newcomer.any()
        assert not newcomer[mixed.earlier.pairs[kind].entity].any()
        vectors, present = mixed.earlier.entities[kind]
        assert not present[newcomer].any()
        assert not vectors[newcomer].any()
        words = (rates.MIXED_PINS, rates.MIXED_PRODUCTS)[kind][0]
        later = mixed.candidates[kind].rows[:, words:]
        assert not newcomer[later[later != ABSENT]].any()


def test_nothing_of_the_log_reaches_what_is_known_before_it(
    mixed: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same world with another log, other boards, saves and judgments: candidates stay bit for bit."""
    real = np.random.default_rng
    later = [PEOPLE._STREAMS.index(name) for name in ("sessions", "boards", "saves", "judgments")]

    def other(seed: object = None) -> np.random.Generator:
        changed = isinstance(seed, np.random.SeedSequence) and seed.spawn_key and seed.spawn_key[-1] in later
        return real(99 if changed else seed)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("numpy.random.default_rng", other)
        again = found_in(tmp_path / "world", "mixed", monkeypatch)
    for table in ("engagements", "saves", "impressions"):
        name = f"{table}.parquet"
        assert (again.folder / name).read_bytes() != (mixed.folder / name).read_bytes()
    for one, two in zip(mixed.candidates, again.candidates, strict=True):
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.scores, two.scores)


def test_when_newcomers_appear_changes_nothing_before_the_log(mixed: SimpleNamespace) -> None:
    def live(entities: tuple[Entities, Entities]) -> tuple[Candidates, ...]:
        streams = {name: np.random.default_rng(place) for place, name in enumerate(STREAMS)}
        earlier = live_earlier(
            streams, rates.SCALES["tiny"], mixed.queries, entities, draw_things(np.random.default_rng(0)), mixed.words,
            seed=0, threads=1,
        )  # fmt: skip
        return tuple(
            mixed_candidates(np.random.default_rng(7), mixed.queries, one, mixed.words[kind], earlier, kind, threads=1)
            for kind, one in enumerate(entities)
        )

    moved = tuple(replace(one, born=np.where(one.born > 0, 1 + one.born // 2, 0)) for one in mixed.entities)
    for one, two in zip(live(mixed.entities), live((moved[0], moved[1])), strict=True):
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.scores, two.scores)


def test_a_mixed_world_says_so_and_works(mixed: SimpleNamespace) -> None:
    dataset = Dataset.open(mixed.folder)
    assert dataset.info.name == "simulated-tiny-mixed"
    assert any("--candidates mixed" in note for note in dataset.info.notes)
    notes = read_truth_notes(mixed.folder, ["MIXED_PINS", "MIXED_PRODUCTS", "EARLIER_LENGTH"], "")
    assert notes["candidates"] == "mixed"
    assert validate(mixed.folder, check_leaks=True).problems == []
    assert len(Behaviour(mixed.folder).draw(10)) == 10
    impressions = dataset.read("impressions")
    assert set(impressions["entity_type"].to_pylist()) == {"pin", "product"}
    keys = list(zip(*(impressions[name].to_pylist() for name in ("request_id", "entity_id")), strict=True))
    assert len(set(keys)) == len(keys)


def test_a_mixed_log_shows_more_that_shares_no_word(
    mixed: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = found_in(tmp_path / "world", "words", monkeypatch)
    assert words.earlier is None
    missed = [
        float(np.mean(pq.read_table(one.folder / "impressions.parquet")["f_text_match"].to_numpy() == 0))
        for one in (words, mixed)
    ]
    assert missed[1] > missed[0]


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("exact_below", [0, 20_000])
def test_threads_and_blocks_change_nothing(
    mixed: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact_below: int
) -> None:
    monkeypatch.setattr("omnifeat.simulator.sources._INDEX", HnswSettings(exact_below=exact_below))
    simulate(tmp_path / "one", scale="tiny", candidates="mixed", threads=1)
    for module, size in (("sources", 19), ("search", 17), ("sessions", 101)):
        monkeypatch.setattr(f"omnifeat.simulator.{module}._BLOCK", size)
    simulate(tmp_path / "four", scale="tiny", candidates="mixed", threads=4)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "four")
    assert exact_below == 0 or hashes(tmp_path / "one") == hashes(mixed.folder)


# --- the world of words alone, as it was before there was another

WORDS_DIGEST = "aa7431492cc574803530ffe7cdb914e2a7ee74cd63db34bd174a487a77d89298"


def content_digest(folder: Path) -> str:
    """SHA-256 of all ids, texts, counts and moments of a world: what library versions and processors do not change."""
    digest = hashlib.sha256((folder / "dataset.json").read_bytes())
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        for name in table.column_names:
            kind = table.schema.field(name).type
            inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) else kind
            inner = inner.value_type if pa.types.is_fixed_size_list(inner) else inner
            if not pa.types.is_floating(inner):
                digest.update(json.dumps([path.name, name, table[name].to_pylist()], default=str).encode())
    return digest.hexdigest()


def test_words_is_the_world_that_was_there_before(tmp_path: Path) -> None:
    simulate(tmp_path / "world", scale="tiny", seed=0, candidates="words")
    assert content_digest(tmp_path / "world") == WORDS_DIGEST
    notes = json.loads((tmp_path / "world" / "truth" / "rates.json").read_text())
    assert list(notes) == ["scale", "sessions", "rates"]
    assert not {"MIXED_PINS", "MIXED_PRODUCTS", "EARLIER_LENGTH"} & set(notes["rates"])


# --- the option


def test_command(tmp_path: Path) -> None:
    call = ["simulate", "--scale", "tiny", "--json", "-o"]
    for sources in SOURCES:
        done = CliRunner().invoke(app, [*call, str(tmp_path / sources), "--candidates", sources])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["candidates"] == sources
    done = CliRunner().invoke(app, [*call, str(tmp_path / "default")])
    assert json.loads(done.stdout)["candidates"] == DEFAULT_SOURCES
    assert hashes(tmp_path / "default") == hashes(tmp_path / DEFAULT_SOURCES)
    wrong = CliRunner().invoke(app, [*call, str(tmp_path / "new"), "--candidates", "embeddings"])
    assert wrong.exit_code == 2
    assert "embeddings" in wrong.stderr
    with pytest.raises(SettingError, match="Unknown candidates 'both'; choose one of: words, mixed"):
        simulate(tmp_path / "new", scale="tiny", candidates="both")
    assert not (tmp_path / "new").exists()
