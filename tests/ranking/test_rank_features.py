"""Features of impressions and of a query's candidates: by hand, alike in any batch, and blind to the future."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.embed import embed_entities
from omnifeat.errors import DataError, FingerprintError, SettingError
from omnifeat.featurize import featurize
from omnifeat.frozen import FrozenEncoder
from omnifeat.models.config import EncoderConfig, EntityConfig, QueryConfig, fitted_to
from omnifeat.models.entity_features import entity_texts
from omnifeat.models.omni import build_model
from omnifeat.models.query import make_query_tokenizer
from omnifeat.text import NgramTokenizer
from ranking.rank_features import RankFeatures, named_encoders

# The rows of these tests are few, so that each number can be worked out by hand.
QUERIES = ["red shoes", "hat", "blue hat", "rain"]
PINS = pa.table(
    {
        "id": ["a", "b", "c"],
        "title": ["Red shoes", "blue hat", None],
        "description": ["for the rain", None, "a shoe"],
        "language": ["en", "fr", None],
        "engaged_queries": pa.array([["red shoes", "rain"], ["hat"], None], pa.list_(pa.string())),
        "pinsage": pa.array([[1.0, 0.5], None, [0.0, 1.0]], pa.list_(pa.float32(), 2)),
    }
)
PRODUCTS = pa.table({"id": ["a", "z"], "title": ["Hat box", "Tea"], "brand": ["Acme", None], "price": [9.5, None]})
CONFIG = EncoderConfig(
    dim=16,
    query=QueryConfig(hidden=16, layers=1, heads=2, vocab_size=200, max_length=12, pooling="mean"),
    entity=EntityConfig(hash_rows=100, text_dim=8, hidden=(16, 16)),
    matryoshka={8: 0.05, 16: 1.0},
)


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2024, 3, 1, hour, tzinfo=UTC) + timedelta(days=day - 1)


def rows(*items: tuple[Any, ...]) -> pa.Table:
    """Rows of a log: query, entity, type, action, day."""
    query, entity, kind, action, day = zip(*items, strict=True)
    return pa.table(
        {
            "query": query,
            "entity_id": entity,
            "entity_type": kind,
            "action": pa.array(action, pa.string()),
            "timestamp": pa.array([at(one) for one in day], pa.timestamp("us", tz="UTC")),
        }
    )


LOG = rows(
    ("red shoes", "a", "pin", "save", 1),
    ("Red  Shoes", "a", "pin", "click", 2),
    ("hat", "a", "product", "checkout", 2),
    ("hat", "hats", "query", "click", 2),
    ("hat", "b", "pin", "click", 5),
    ("hat", "b", "pin", "click", 12),  # of the test part
)
SHOWN = rows(
    ("red shoes", "a", "pin", "save", 1),
    ("red shoes", "b", "pin", None, 1),
    ("red shoes", "a", "pin", None, 3),
    ("hat", "a", "product", "click", 3),
    ("hat", "b", "pin", None, 12),
)
TIME_SPLIT = TimeSplit(development_from=at(8, 0), test_from=at(11, 0), gap_days=1)


def write(folder: Path, log: pa.Table = LOG, shown: pa.Table = SHOWN, split: Any = TIME_SPLIT) -> Path:
    with DatasetWriter(folder, DatasetInfo(name="shop", split=split), overwrite=True) as writer:
        writer.write("pins", PINS)
        writer.write("products", PRODUCTS)
        writer.write("queries", pa.table({"query": QUERIES, "language": ["en", "fr", None, "en"]}))
        writer.write("engagements", log)
        requests = pa.array([f"r{day}" for day in range(shown.num_rows)])
        positions = pa.array(range(1, shown.num_rows + 1), pa.int64())
        writer.write("impressions", shown.append_column("request_id", requests).append_column("position", positions))
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("shop") / "data")


def make_encoder(seed: int) -> FrozenEncoder:
    config = fitted_to(CONFIG, {"pins": PINS.schema})
    ngrams = NgramTokenizer.fit(entity_texts(PINS, config.entity))
    tokenizer = make_query_tokenizer(config.query, QUERIES)
    model = build_model(config, tokenizer, ngrams.size, seed=seed)
    return FrozenEncoder.from_model(model, tokenizer, ngrams, device="cpu")


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    return make_encoder(0)


@pytest.fixture(scope="module")
def features(dataset: Path, encoder: FrozenEncoder) -> RankFeatures:
    return RankFeatures.from_dataset(dataset, encoder=encoder, threads=1)


def computed(found: RankFeatures, *pairs: tuple[Any, ...]) -> dict[str, list[Any]]:
    query, entity, kind, day = zip(*pairs, strict=True)
    table = {
        "query": pa.array(query, pa.string()),
        "entity_id": pa.array(entity, pa.string()),
        "entity_type": pa.array(kind, pa.string()),
        "timestamp": pa.array([None if one is None else at(one) for one in day], pa.timestamp("us", tz="UTC")),
    }
    return dict(found.compute(pa.table(table)).to_pydict())


def test_counts_by_hand(features: RankFeatures) -> None:
    found = computed(
        features,
        ("red shoes", "a", "pin", 1),
        ("red shoes", "a", "pin", 2),
        ("RED shoes", "a", "pin", 3),
        ("red shoes", "a", "pin", 40),
        ("hat", "b", "pin", 12),
        ("hat", "a", "product", None),
    )
    assert found["entity_engaged"] == [0, 1, 2, 2, 1, 1]
    assert found["entity_strong"] == [0, 1, 1, 1, 0, 1]
    assert found["query_engaged"] == [0, 1, 2, 2, 3, 3]  # with the suggestion that was clicked
    assert found["pair_engaged"] == [0, 1, 2, 2, 1, 1]
    assert found["entity_shown"] == [0, 1, 1, 2, 1, 1]
    assert found["pair_shown"] == [0, 1, 1, 2, 0, 1]
    # nothing was shown before day 1: the prior alone, 1 of 10
    assert found["entity_rate"][0] == pytest.approx(0.1)
    # on day 2 pins had 1 action in 2 impressions, so the prior is 2 / 12; pin a had 1 in 1
    rate = (1 + 20 * 2 / 12) / 21
    assert found["entity_rate"][1] == pytest.approx(rate)
    assert found["pair_rate"][1] == pytest.approx((1 + 20 * rate) / 21)
    assert found["query_rate"][1] == pytest.approx((1 + 20 * 2 / 12) / 22)
    # first stood in the log on day 1; noon of day 3 is 2.5 days from its beginning, and day 2 was the last
    assert found["entity_age_days"][:3] == [None, 1.5, 2.5]
    assert found["entity_idle_days"][:3] == [None, 1.5, 1.5]


def test_only_the_days_of_the_window_count(dataset: Path) -> None:
    found = RankFeatures.from_dataset(dataset, window_days=1)
    assert computed(found, ("red shoes", "a", "pin", 2), ("red shoes", "a", "pin", 3), ("red shoes", "a", "pin", 4))[
        "entity_engaged"
    ] == [1, 1, 0]


def test_text_columns_by_hand(features: RankFeatures) -> None:
    found = computed(features, ("red shoes rain", "a", "pin", 1), ("Hat", "a", "product", 1), ("rain", "a", "pin", 1))
    assert found["matched_words"] == [3, 1, 1]
    assert found["matched_share"] == [1, 1, 1]
    assert found["matched_title_share"] == pytest.approx([2 / 3, 1, 0])
    assert found["query_words"] == [3, 1, 1]
    assert found["query_characters"] == [14, 3, 4]
    assert found["title_words"] == [2, 2, 2]
    assert found["text_words"] == [5, 3, 5]
    assert found["is_product"] == [0, 1, 0]
    assert found["price"] == [None, 9.5, None]
    assert found["same_language"] == [None, None, 1]
    # "rain" is the pair's own query: of the engaged queries only "red shoes" is left
    assert found["bm25_engaged_queries"][2] == 0
    assert found["bm25_engaged_queries"][0] > 0


def test_what_is_unknown_is_null(features: RankFeatures) -> None:
    found = computed(
        features, (None, "a", "pin", 1), ("  ", "a", "pin", 1), ("hat", "no", "pin", 1), ("hat", None, "pin", 1),
        ("hat", "hats", "query", 1),
    )  # fmt: skip
    assert found["bm25_title"] == found["cosine"] == found["pair_engaged"] == [None] * 5
    assert found["query_words"] == [None, None, 1, 1, 1]
    assert found["title_words"] == [2, 2, None, None, None]
    assert found["query_engaged"] == [None, None, 0, 0, 0]


def test_cosines_are_those_of_featurize(features: RankFeatures, dataset: Path, encoder: FrozenEncoder) -> None:
    pairs = pa.table({"query": QUERIES * 2, "entity_id": ["a"] * 4 + ["b"] * 4, "entity_type": ["pin"] * 8})
    expected = featurize(pairs, encoder=encoder, entities=str(dataset))
    found = features.compute(pairs)
    names = [name for name in expected.column_names if "cosine" in name]
    assert [name for name in found.column_names if "cosine" in name] == names
    for name in names:
        np.testing.assert_allclose(
            found[name].to_numpy(), expected[name].to_numpy(), atol=1e-5, equal_nan=True, err_msg=name
        )


pair = st.tuples(
    st.sampled_from([*QUERIES, "Red  Shoes", "never seen", " ", None]),
    st.sampled_from(["a", "b", "c", "z", "nobody", None]),
    st.sampled_from(["pin", "product", "query"]),
    st.one_of(st.none(), st.integers(1, 14)),
)


@settings(max_examples=40)
@given(st.lists(pair, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_alike_in_any_batch(features: RankFeatures, pairs: list[Any], random: Any) -> None:
    """A log at once, in another order, and each query's candidates alone give the same numbers."""
    whole = computed(features, *pairs)
    order = list(range(len(pairs)))
    random.shuffle(order)
    shuffled = computed(features, *(pairs[row] for row in order))
    for name, values in whole.items():
        close(shuffled[name], [values[row] for row in order], name)
    for query in {one[0] for one in pairs}:
        its = [row for row, one in enumerate(pairs) if one[0] == query]
        served = computed(features, *(pairs[row] for row in its))
        for name, values in whole.items():
            close(served[name], [values[row] for row in its], name)


def close(found: list[Any], expected: list[Any], name: str) -> None:
    if "cosine" in name:  # queries encoded together differ in the last bits
        assert found == pytest.approx(expected, abs=1e-5), name
    else:
        assert found == expected, name


def test_a_full_store_of_query_vectors_is_emptied(dataset: Path, encoder: FrozenEncoder) -> None:
    found = RankFeatures.from_dataset(dataset, encoder=encoder)
    columns = found._encoders[""]
    columns._room = 2
    before = computed(found, *((f"query {number}", "a", "pin", 1) for number in (0, 1)))["cosine"]
    computed(found, *((f"query {number}", "a", "pin", 1) for number in (2, 3)))
    after = computed(found, *((f"query {number}", "a", "pin", 1) for number in (0, 1)))["cosine"]
    assert after == pytest.approx(before, abs=1e-5)


entry = st.tuples(
    st.sampled_from(QUERIES),
    st.sampled_from(["a", "b", "c"]),
    st.just("pin"),
    st.sampled_from(["save", "click"]),
    st.integers(3, 14),
)


@settings(max_examples=15)
@given(st.lists(entry, min_size=1, max_size=8), st.lists(entry, min_size=1, max_size=8))
def test_later_rows_change_nothing(tmp_path_factory: pytest.TempPathFactory, log: list[Any], shown: list[Any]) -> None:
    """All rows of day 3 and later are replaced: what rows until day 3 are told stays."""
    asked = [(query, entity, "pin", day) for query in QUERIES for entity in "abc" for day in (1, 2, 3)]
    early_log, early_shown = LOG.slice(0, 4), SHOWN.slice(0, 2)
    folder = tmp_path_factory.mktemp("later")
    early = write(folder / "early", early_log, early_shown)
    later = write(
        folder / "later", pa.concat_tables([early_log, rows(*log)]), pa.concat_tables([rows(*shown), early_shown])
    )
    # the end of what is counted moves, but not for rows whose day lies before it
    assert computed(RankFeatures.from_dataset(later), *asked) == computed(RankFeatures.from_dataset(early), *asked)


def planted(folder: Path, day: int, count: int = 50) -> dict[str, list[Any]]:
    """What pin c of "rain" is told on day 5 and in the test part, with engagements planted on a day."""
    more = rows(*[("rain", "c", "pin", "save", day)] * count)
    found = RankFeatures.from_dataset(write(folder, pa.concat_tables([LOG, more]), pa.concat_tables([SHOWN, more])))
    return computed(found, ("rain", "c", "pin", 5), ("rain", "c", "pin", 12))


def test_planted_engagements(tmp_path: Path, dataset: Path) -> None:
    """Those of the row's own day, of later days, of the gap and of the test part are not seen; those before are."""
    clean = computed(RankFeatures.from_dataset(dataset), ("rain", "c", "pin", 5), ("rain", "c", "pin", 12))
    for day in (7, 9, 11, 12, 13):  # the gap, development, the test part
        assert planted(tmp_path / "p", day) == clean
    own_day = planted(tmp_path / "p", 5)
    assert [values[0] for values in own_day.values()] == [values[0] for values in clean.values()]
    assert own_day["entity_engaged"] == [0, 50]  # the test part may know the training part
    before = planted(tmp_path / "p", 4)
    assert before["pair_engaged"] == before["entity_shown"] == [50, 50]
    assert before["entity_rate"][0] > 2 * clean["entity_rate"][0]


def test_a_split_by_query_counts_training_queries_alone(tmp_path: Path) -> None:
    split = HashSplit(development=0.2, test=0.3)
    parts = {query: split.part_of(query) for query in QUERIES}
    found = RankFeatures.from_dataset(write(tmp_path / "hash", split=split))
    told = computed(found, *((query, "a", "pin", None) for query in QUERIES))["query_engaged"]
    everything = [2, 4, 0, 0]
    assert set(parts.values()) > {"train"}
    assert told == [count if parts[query] == "train" else 0 for query, count in zip(QUERIES, everything, strict=True)]


def test_the_manifest_and_several_encoders(dataset: Path, encoder: FrozenEncoder) -> None:
    other = make_encoder(1)
    found = RankFeatures.from_dataset(dataset, encoders={"ours": encoder, "theirs": other}, counts=False)
    versions = {column.name: column.version for column in found.columns}
    assert versions["ours_cosine"] == encoder.fingerprint != versions["theirs_cosine"] == other.fingerprint
    assert "entity_engaged" not in versions
    assert found.fingerprint == f"ours:{encoder.fingerprint},theirs:{other.fingerprint}"
    assert found.schema.names == [column.name for column in found.columns] == list(versions)


def test_only_named_entities_are_encoded(dataset: Path, encoder: FrozenEncoder) -> None:
    wanted = pa.table({"entity_id": ["b"], "entity_type": ["pin"]})
    found = RankFeatures.from_dataset(dataset, encoder=encoder, entities=wanted)
    told = computed(found, ("hat", "b", "pin", 1), ("hat", "a", "pin", 1))
    everything = computed(RankFeatures.from_dataset(dataset, encoder=encoder), ("hat", "b", "pin", 1))
    assert told["cosine"][0] == pytest.approx(everything["cosine"][0], abs=1e-5)
    assert told["cosine"][1] is None
    assert told["title_words"] == [2, 2]


def test_what_is_refused(dataset: Path, encoder: FrozenEncoder, tmp_path: Path, features: RankFeatures) -> None:
    with pytest.raises(DataError, match="records no split"):
        RankFeatures.from_dataset(write(tmp_path / "n", split=None))
    with pytest.raises(DataError, match="both a pin's and a product's"):
        features.compute({"query": ["hat"], "entity_id": ["a"]})
    with pytest.raises(DataError, match="no column 'entity_id'"):
        features.compute({"query": ["hat"]})
    with pytest.raises(DataError, match="column 'timestamp', row 1: 'noon' is not a time"):
        features.compute({"query": ["hat"], "entity_id": ["b"], "timestamp": ["noon"]})
    with pytest.raises(SettingError, match="at least one day"):
        RankFeatures.from_dataset(dataset, window_days=0)
    with pytest.raises(SettingError, match="letters, digits"):
        RankFeatures.from_dataset(dataset, encoders={"a b": encoder})
    with pytest.raises(SettingError, match="all but one need a name"):
        named_encoders(["one", "two"])
    with pytest.raises(SettingError, match="given twice"):
        named_encoders(["a=one", "a=two"])
    assert named_encoders(["one", "a=two"]) == ("one", {"a": "two"})
    table = tmp_path / "vectors.parquet"
    embed_entities(str(dataset), table, encoder=make_encoder(1))
    with pytest.raises(FingerprintError, match="was made by the encoder"):
        RankFeatures.from_dataset(dataset, encoder=encoder, embeddings=[table])
    with pytest.raises(SettingError, match="of no use without"):
        RankFeatures.from_dataset(dataset, embeddings=[table])


def test_a_dataset_may_be_open_already(dataset: Path) -> None:
    with RankFeatures.from_dataset(Dataset.open(dataset), counts=False) as found:
        assert computed(found, ("hat", "b", "pin", 1))["title_words"] == [2]
