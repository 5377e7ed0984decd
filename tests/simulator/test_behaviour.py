"""People who search: drawn as the world's own, acting by its law, with common random numbers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.data.schema import ACTIONS
from omnifeat.errors import DataError, SettingError
from omnifeat.simulator import rates, simulate
from omnifeat.simulator.acts import action_shares, look_shares
from omnifeat.simulator.behaviour import Behaviour, Sessions


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("behaviour") / "world"
    simulate(path, scale="tiny")
    return path


@pytest.fixture(scope="module")
def people(world: Path) -> Behaviour:
    return Behaviour(world, seed=5)


def page(people: Behaviour, sessions: Sessions, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kind = rng.integers(-1, 2, (len(sessions), 6)).astype(np.int8)
    return kind, rng.integers(0, 150, kind.shape)


def test_sessions_are_drawn_as_the_world_draws_them(people: Behaviour) -> None:
    sessions = people.draw(40_000)
    assert sessions.seconds.min() >= rates.TEST_FROM_DAY * 86_400
    assert sessions.seconds.max() < rates.DAYS * 86_400
    shares = np.bincount(sessions.query, minlength=len(people.queries)) / len(sessions)
    np.testing.assert_allclose(shares, people.popularity, atol=0.005)
    again = people.draw(40_000)
    np.testing.assert_array_equal(again.query, sessions.query)
    np.testing.assert_array_equal(again.seconds, sessions.seconds)


def test_frequencies_are_the_chances(people: Behaviour) -> None:
    one = people.draw(60)
    kind, row = page(people, one)
    times = 4_000
    many = one.take(np.tile(np.arange(len(one)), times))
    many = Sessions(np.arange(len(many)), many.query, many.country, many.user, many.seconds)
    done = people.react(many, np.tile(kind, (times, 1)), np.tile(row, (times, 1)))
    chances = people.chances(one, kind, row)
    for action in range(len(ACTIONS)):
        seen = (done == action).reshape(times, len(one), -1).mean(axis=0)
        error = np.sqrt(chances[..., action] * (1 - chances[..., action]) / times)
        assert (np.abs(seen - chances[..., action]) <= 5 * error + 1e-12).all()
    assert (done[:, :].reshape(times, *kind.shape)[:, kind < 0] == -1).all()


def test_the_logs_own_rates_are_the_chances(world: Path, people: Behaviour) -> None:
    """What the world's own sessions did with what they were shown is as frequent as the chances say."""
    shown = pd.read_parquet(world / "impressions.parquet")
    wide = shown.pivot(index="request_id", columns="position", values=["entity_id", "entity_type", "query"])
    acted = shown["action"].notna().sum()
    query = people.query_rows(wide["query"][1].tolist())
    sessions = Sessions(np.arange(len(wide)), query, query.astype(np.int8), query.astype(np.int32), query)
    expected = 0.0
    for name, kind in (("pin", 0), ("product", 1)):
        of_kind = (wide["entity_type"] == name).to_numpy()
        kinds = np.where(of_kind, kind, -1).astype(np.int8)
        rows = np.zeros(kinds.shape, np.int64)
        rows[of_kind] = people.rows(name, wide["entity_id"].to_numpy()[of_kind].tolist())
        expected += people.chances(sessions, kinds, rows).sum()
    assert abs(acted - expected) < 4 * np.sqrt(expected)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.permutations(range(6)))
def test_what_is_done_depends_on_session_and_entity_alone(people: Behaviour, seed: int, order: list[int]) -> None:
    """At places that a session surely looks at, another order of the page gives each entity the same action."""
    sessions = people.draw(300)
    kind, row = page(people, sessions, seed)
    first = np.zeros(6, np.int64)  # every column stands at the first place, which is always looked at
    done = people.react(sessions, kind, row, places=first)
    np.testing.assert_array_equal(people.react(sessions, kind[:, order], row[:, order], places=first), done[:, order])
    half = people.react(sessions.take(slice(100, 200)), kind[100:200], row[100:200], places=first)
    np.testing.assert_array_equal(half, done[100:200])


def test_another_place_is_looked_at_or_not_but_gets_no_other_action(people: Behaviour) -> None:
    sessions = people.draw(30_000)
    kind, row = page(people, sessions)
    first = people.react(sessions, kind, row, places=np.zeros(6, np.int64))
    third = people.react(sessions, kind, row, places=np.full(6, 2))
    assert ((third == -1) | (third == first)).all()
    kept = (third >= 0).sum() / (first >= 0).sum()
    assert abs(kept - look_shares(np.array([2]))[0]) < 0.04
    assert (people.react(sessions, kind, row, mood=1) != people.react(sessions, kind, row)).any()


def test_action_shares_by_hand() -> None:
    # a surely wanted pin: 20% clicks and no more, of the other 80% six in ten are saves
    shares = dict(zip(ACTIONS, action_shares(0, np.array(1.0)), strict=True))
    assert shares == pytest.approx(
        {"save": 0.48, "long_click": 0.32, "click": 0.2, "add_to_cart": 0.0, "checkout": 0.0}
    )
    # a product that is surely not wanted: 80% clicks; of the rest 25% saves, 20% cart, 10% checkout, 45% long clicks
    shares = dict(zip(ACTIONS, action_shares(1, np.array(0.0)), strict=True))
    assert shares == pytest.approx(
        {"save": 0.05, "long_click": 0.09, "click": 0.8, "add_to_cart": 0.04, "checkout": 0.02}
    )


def test_true_grades_and_first_moments(world: Path, people: Behaviour) -> None:
    graded = pd.read_parquet(world / "truth" / "grades.parquet")
    graded = graded[graded["entity_type"] == "product"]
    query = people.query_rows(graded["query"].tolist())
    row = people.rows("product", graded["entity_id"].tolist())[:, None]
    kind = np.ones(row.shape, np.int8)
    np.testing.assert_array_equal(people.grades(query, kind, row)[:, 0], graded["grade"])
    assert (people.grades(query, np.full(row.shape, -1, np.int8), row) == -1).all()
    born = pd.read_parquet(world / "truth" / "product_latent.parquet")["born_seconds"].to_numpy()
    late = int(born.argmax())
    moments = np.array([born[late] - 1, born[late]])
    two = Sessions(np.arange(2), query[:2], query[:2].astype(np.int8), query[:2].astype(np.int32), moments)
    there = people.there(two, np.ones((2, 1), np.int8), np.full((2, 1), late))
    assert there[:, 0].tolist() == [False, True]


def test_what_is_wrong_is_named(world: Path, people: Behaviour, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not know the pin 'pin-x'; give the world"):
        people.rows("pin", [pd.read_parquet(world / "pins.parquet")["id"][0], "pin-x"])
    with pytest.raises(DataError, match="does not know the query 'no such query'"):
        people.query_rows(["no such query"])
    with pytest.raises(SettingError, match="not 'query'"):
        people.rows("query", ["a"])
    with pytest.raises(SettingError, match="must be 1 or more, got 0"):
        people.draw(0)
    with pytest.raises(SettingError, match="from 0 to 89, got 90"):
        people.draw(5, first_day=90)
    with pytest.raises(SettingError, match="0 or more, got -1"):
        Behaviour(world, seed=-1)
    with pytest.raises(DataError, match=r"holds no truth/rates.json of a simulated world, so nobody there can search"):
        Behaviour(tmp_path)
    other = tmp_path / "other"
    shutil.copytree(world, other)
    notes = json.loads((other / "truth" / "rates.json").read_text())
    notes["rates"]["PIN_SAVE"] = 0.5
    (other / "truth" / "rates.json").write_text(json.dumps(notes))
    with pytest.raises(DataError, match="PIN_SAVE was 0.5 when this world was made, and now it is 0.6"):
        Behaviour(other)
