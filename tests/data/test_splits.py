from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from omnifeat.data.splits import SPLITS, HashSplit, TimeSplit, split_key, split_rows
from omnifeat.errors import DataError, SettingError
from omnifeat.text.normalise import normalise

DAY = timedelta(days=1)
START = datetime(2024, 1, 11, tzinfo=UTC)
TIMES = TimeSplit(development_from=START, test_from=START + 10 * DAY, gap_days=2)


def test_the_hash_never_changes() -> None:
    # reference values of xxh64 (seed 0) are d24ec4f1a98c6e5b for "a" and 44bc2cf5ad770999 for "abc": of 2**64 that is
    # 0xd2/256 = 0.82 and 0x44/256 = 0.27. With a test part of 0.2 and a development part of 0.1, "abc" (0.27) is for
    # development; with a test part of 0.3 it is for testing; "a" is for training in both.
    table = pa.table({"query": ["a", " ABC "]})
    assert HashSplit(test=0.2, development=0.1).assign(table).to_pylist() == ["train", "development"]
    assert HashSplit(test=0.3, development=0.1).assign(table).to_pylist() == ["train", "test"]


def test_shares_are_what_was_asked_for() -> None:
    table = pa.table({"query": [f"query {n}" for n in range(20_000)]})
    parts = HashSplit(development=0.1, test=0.3).assign(table).to_pylist()
    # three standard deviations of a binomial of 20,000 are at most 200
    assert abs(parts.count("test") - 6_000) < 200
    assert abs(parts.count("development") - 2_000) < 200
    assert parts.count("train") == 20_000 - parts.count("test") - parts.count("development")
    salted = HashSplit(development=0.1, test=0.3, salt="other").assign(table).to_pylist()
    same = sum(one == other for one, other in zip(parts, salted, strict=True))
    # two independent splits agree on 0.3**2 + 0.1**2 + 0.6**2 = 0.46 of the rows
    assert abs(same / 20_000 - 0.46) < 0.02


@pytest.mark.parametrize(
    "variants",
    [
        [
            "Copper Sink",
            "copper sink",
            "  copper   sink ",
            "COPPER\u3000SINK",
            "ｃｏｐｐｅｒ sink",
            "copper\u00a0sink\n",
        ],
        ["café", "cafe\u0301", "CAFÉ"],
        ["ΟΔΟΣ", "οδος", "οδοσ"],
        ["İstanbul", "istanbul"],
    ],
)
def test_texts_that_read_the_same_fall_in_one_part(variants: list[str]) -> None:
    assert len({split_key(text) for text in variants}) == 1
    for salt in "abcdefgh":
        split = HashSplit(salt=salt, development=0.3, test=0.3)
        assert len(set(split.assign(pa.table({"query": variants})).to_pylist())) == 1


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_what_training_takes_for_one_text_has_one_key(text: str) -> None:
    assert split_key(normalise(pa.array([text]))[0].as_py()) == split_key(text)
    assert split_key(split_key(text)) == split_key(text)


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(st.sampled_from(["a", "b", "c", "d", "e", "A"]), min_size=1, max_size=20))
def test_a_part_depends_on_the_text_alone(texts: list[str]) -> None:
    split = HashSplit(development=0.3, test=0.3)
    chunked = pa.table({"query": pa.chunked_array([[text] for text in texts]), "other": range(len(texts))})
    assert split.assign(chunked).to_pylist() == [split.part_of(text) for text in texts]
    rows = [split_rows(chunked, split, part) for part in SPLITS]
    assert sorted(row for table in rows for row in table["other"].to_pylist()) == list(range(len(texts)))
    queries = [set(table["query"].to_pylist()) for table in rows]
    assert all(not queries[one] & queries[other] for one in range(3) for other in range(one))


def test_times() -> None:
    # development from the 11th until the gap before the 21st: training until the 9th, development until the 19th
    moments = [
        (8, "train"),
        (9, "gap"),
        (10, "gap"),
        (11, "development"),
        (18, "development"),
        (19, "gap"),
        (21, "test"),
    ]
    table = pa.table({"timestamp": [START + (day - 11) * DAY for day, _ in moments]})
    assert TIMES.assign(table).to_pylist() == [part for _, part in moments]
    just_before = pa.table({"timestamp": [START - timedelta(microseconds=1)]})
    assert TIMES.assign(just_before).to_pylist() == ["gap"]
    no_gap = TIMES.model_copy(update={"gap_days": 0.0})
    assert no_gap.assign(just_before).to_pylist() == ["train"]
    # other units and zones are the same moments
    seconds = table["timestamp"].cast(pa.timestamp("s", "Asia/Tokyo"))
    assert TIMES.assign(pa.table({"timestamp": seconds})).to_pylist() == [part for _, part in moments]
    assert split_rows(table, TIMES, "test").num_rows == 1


def test_a_time_without_a_zone_is_utc() -> None:
    assert TimeSplit(development_from="2024-01-01", test_from="2024-02-01T00:00:00+01:00") == TimeSplit(  # type: ignore[arg-type]
        development_from=datetime(2024, 1, 1, tzinfo=UTC), test_from=datetime(2024, 1, 31, 23, tzinfo=UTC)
    )


def test_an_empty_table_has_no_parts() -> None:
    assert len(HashSplit().assign(pa.table({"query": pa.array([], pa.string())}))) == 0
    assert len(TIMES.assign(pa.table({"timestamp": pa.array([], pa.timestamp("us", "UTC"))}))) == 0


def test_wrong_settings_and_tables() -> None:
    for wrong in ({"test": 0.6, "development": 0.4}, {"test": -0.1}, {"test": 1.0}, {"shares": 3}):
        with pytest.raises(ValidationError):
            HashSplit(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="test_from must not lie before"):
        TimeSplit(development_from=START, test_from=START - DAY)
    with pytest.raises(DataError, match="has no column 'query': it has querry; did you mean 'querry'"):
        HashSplit().assign(pa.table({"querry": ["a"]}))
    with pytest.raises(DataError, match="column 'query', which the split hashes, is int64: it must be text"):
        HashSplit().assign(pa.table({"query": [1]}))
    with pytest.raises(DataError, match="row 2 has no query, by which the rows are split"):
        HashSplit().assign(pa.table({"query": ["a", None]}))
    with pytest.raises(DataError, match="must hold times"):
        TIMES.assign(pa.table({"timestamp": ["2024-01-01"]}))
    with pytest.raises(SettingError, match="must be one of train, development, test, not 'validation'"):
        split_rows(pa.table({"query": ["a"]}), HashSplit(), "validation")
