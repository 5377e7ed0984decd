"""The feature rrf: by hand, against the definition, alike in any order and whatever the table is cut into."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError, SettingError
from omnifeat.frozen import FrozenEncoder
from ranking import feature_table, rank_fusion
from ranking.rank_features import RankFeatures
from ranking.rank_fusion import reciprocal_ranks, request_numbers, whole_requests
from tests.commands import omnifeat, refused
from tests.ranking.test_feature_table import write
from tests.ranking.test_rank_features import SHOWN, make_encoder

NAN = float("nan")


def test_by_hand() -> None:
    #            request 0: a b c, and b again   request 1: a   null  unknown entity
    requests = np.array([0, 0, 0, 0, 1, -1, 1])
    entities = np.array([0, 1, 2, 1, 0, 0, -1])
    cosine = np.array([0.9, 0.5, NAN, 0.5, 0.1, 0.2, NAN], np.float32)
    words = np.array([0.0, 2.0, 0.0, 2.0, NAN, 1.0, NAN], np.float32)
    found = reciprocal_ranks(requests, entities, [cosine, words])
    # b is first by words; a and c share places 2 and 3; c has no cosine
    expected = [1 / 61 + 1 / 62.5, 1 / 62 + 1 / 61, 1 / 62.5, 1 / 62 + 1 / 61, 1 / 61, NAN, NAN]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert reciprocal_ranks(requests[:0], entities[:0], [cosine[:0]]).shape == (0,)


def plain(rows: list[tuple[int, int, float, float]]) -> list[float]:
    found = []
    for request, entity, *_ in rows:
        its = {one[1]: one[2:] for one in rows if one[0] == request}
        total = 0.0
        for system in (0, 1):
            own = its[entity][system]
            if not np.isnan(own):
                others = [scores[system] for scores in its.values()]
                above, equal = sum(one > own for one in others), sum(one == own for one in others)
                total += 1 / (60 + above + (equal + 1) / 2)
        found.append(total if total and request >= 0 else NAN)
    return found


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_equals_the_definition_in_any_order(data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 6)), min_size=1, max_size=25))
    score = st.sampled_from([NAN, 0.0, 0.25, 0.5, 1.0])
    of_pair = {pair: (data.draw(score), data.draw(score)) for pair in sorted(set(pairs))}
    rows = [(*pair, *of_pair[pair]) for pair in pairs]

    def computed(some: list[tuple[int, int, float, float]]) -> Any:
        requests, entities, *scores = (np.array(column) for column in zip(*some, strict=True))
        return reciprocal_ranks(requests, entities, [one.astype(np.float32) for one in scores])

    found = computed(rows)
    np.testing.assert_allclose(found, plain(rows), rtol=1e-6)
    order = data.draw(st.permutations(range(len(rows))))
    np.testing.assert_array_equal(computed([rows[row] for row in order]), found[list(order)])
    # a request is ranked by itself
    for request in {row[0] for row in rows}:
        its = [row for row in range(len(rows)) if rows[row][0] == request]
        np.testing.assert_array_equal(computed([rows[row] for row in its]), found[its])


def test_requests_are_told_apart_by_their_id_or_by_the_query() -> None:
    table = pa.table({"query": ["a", "b", "a"], "request_id": ["1", None, "2"]})
    assert request_numbers(table).tolist() == [0, -1, 1]
    assert request_numbers(table.select(["query"])).tolist() == [0, 1, 0]


@settings(deadline=None, max_examples=80)
@given(st.lists(st.sampled_from(["r1", "r2", "r3", "r4", None]), min_size=1, max_size=20), st.integers(1, 5))
def test_no_request_is_cut(requests: list[str | None], size: int) -> None:
    whole = pa.table({"request_id": pa.array(requests, pa.string()), "row": range(len(requests))})

    def batches() -> Iterator[pa.Table]:
        for start in range(0, whole.num_rows, size):
            yield whole.slice(start, size)

    found = [part for part in whole_requests(batches, "request_id", "the table") if part.num_rows]
    assert pa.concat_tables(found)["row"].to_pylist() == list(range(len(requests)))
    seen: set[str] = set()
    for part in found:
        own = set(part["request_id"].to_pylist()) - {None}
        assert not own & seen
        seen |= own


def test_rows_that_lie_too_far_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_fusion, "_MOST_HELD", 3)
    table = pa.table({"request_id": ["r1", "r2", "r2", "r2", "r1"]})
    with pytest.raises(
        DataError,
        match="log: the rows of request_id 'r1' lie far apart, up to row 5, with more than 3 others between; sort the "
        "table by request_id, or leave out --rrf",
    ):
        list(whole_requests(lambda: iter([table.slice(row, 1) for row in range(5)]), "request_id", "log"))


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    return make_encoder(0)


def test_served_beside_other_candidates(tmp_path: Path, encoder: FrozenEncoder) -> None:
    data = write(tmp_path / "data")
    given = {"encoders": {"one": encoder, "two": make_encoder(1)}, "threads": 1}
    plainly = RankFeatures.from_dataset(data, **given)
    both = RankFeatures.from_dataset(data, **given, fused=True)
    assert both.schema.names == [*plainly.schema.names, "one_rrf", "two_rrf"]
    pairs = pa.table(
        {
            "query": ["hat", "hat", "hat", "rain", None],
            "entity_id": ["a", "b", "nobody", "a", "a"],
            "entity_type": ["product", "pin", "pin", "pin", "pin"],
        }
    )
    found = both.compute(pairs)
    assert found.select(plainly.schema.names).equals(plainly.compute(pairs))
    words = sum(found[name].to_numpy() for name in found.column_names if name.startswith("bm25_"))
    for name in ("one", "two"):
        cosine = found[f"{name}_cosine"].to_numpy()
        expected = np.zeros(2)
        for scores in (cosine[:2], words[:2]):
            above, equal = scores[::-1] > scores, scores[::-1] == scores
            expected += 1 / (60 + 1 + above + equal / 2)
        assert found[f"{name}_rrf"].to_pylist() == pytest.approx([*expected, None, 2 / 61, None])
    alone = both.compute(pairs.slice(1, 1))["one_rrf"].to_pylist()
    assert alone == pytest.approx([2 / 61])
    assert both.compute(pairs.slice(0, 0)).schema.equals(both.schema)
    with pytest.raises(SettingError, match="--rrf fuses the cosine of an encoder with BM25; name one with --encoder"):
        RankFeatures.from_dataset(data, fused=True)


def test_the_command(tmp_path: Path, encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_table, "_BATCH_ROWS", 1)
    shown = SHOWN.set_column(0, "query", pa.array(["hat"] * 5))
    shown = shown.append_column("request_id", pa.array(["r1", "r1", "r2", "r1", "r2"]))
    data = write(tmp_path / "data", impressions=shown.append_column("position", pa.array(range(1, 6), pa.int64())))
    place = encoder.save_pretrained(tmp_path / "encoder")
    out = tmp_path / "shown.parquet"
    arguments = ["rank", "features", data, "--impressions", "--encoder", place, "--rrf"]
    done = omnifeat(*arguments, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    assert "rrf" in json.loads(done.stdout)["features"]
    table = pq.read_table(out)
    assert table["request_id"].to_pylist() == ["r1", "r1", "r2", "r1", "r2"]
    features = RankFeatures.from_dataset(data, encoder=encoder, fused=True, threads=1)
    expected = features.compute(table.select(["query", "entity_id", "entity_type", "request_id"]))["rrf"]
    assert table["rrf"].to_pylist() == pytest.approx(expected.to_pylist())
    columns = {column["name"]: column for column in json.loads(Path(f"{out}.features.json").read_text())["columns"]}
    assert columns["rrf"]["role"] == "feature"
    assert columns["rrf"]["version"] == encoder.fingerprint
    assert (
        columns["rrf"]["source"] == "reciprocal ranks of cosine and of the sum of bm25_* among the request's candidates"
    )
    assert "rrf" not in pq.read_schema(_without(arguments, tmp_path)).names
    refused(omnifeat("rank", "features", data, "--rrf", "-o", tmp_path / "x.parquet"), "--rrf goes with --impressions")
    refused(
        omnifeat("rank", "features", data, "--judgments", "--rrf", "-o", tmp_path / "x.parquet"),
        "--rrf fuses the cosine of an encoder with BM25; name one with --encoder",
    )
    assert not (tmp_path / "x.parquet").exists()


def test_rrf_without_a_text_is_refused(tmp_path: Path, encoder: FrozenEncoder) -> None:
    pins = pa.table({"id": ["a", "b"], "price": [1.0, 2.0]})
    data = write(tmp_path / "data", pins=pins, products=pins)
    with pytest.raises(SettingError, match="have no text column; leave --rrf out"):
        RankFeatures.from_dataset(data, encoder=encoder, fused=True)


def _without(arguments: list[Any], folder: Path) -> Path:
    out = folder / "plain.parquet"
    done = omnifeat(*arguments[:-1], "-o", out)
    assert done.exit_code == 0, done.output
    return out
