from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.data.files import TableWriter, read_table
from omnifeat.embed import embed_entities, embed_queries
from omnifeat.errors import DataError, SettingError
from omnifeat.featurize import featurize, featurize_file
from omnifeat.frozen import FrozenEncoder

PAIRS = pa.table(
    {
        "row": range(9),
        "query": ["red shoes", "hat", "hat", None, " ", "Red  Shoes", "blue hat", "red shoes", "帽子 bleu élégant"],
        "entity_id": ["a", "a", "b", "a", "a", "a", None, "nowhere", "c"],
    }
)
COLUMNS = [
    "cosine",
    "cosine_4",
    "cosine_8",
    "cosine_pinsage",
    "max_cosine_engaged_queries",
    "mean_cosine_engaged_queries",
    "unscored",
]


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_features_are_those_of_vectors_encoded_one_by_one(encoder: FrozenEncoder, pins: pa.Table) -> None:
    result = featurize(PAIRS, encoder=encoder, entities=pins).to_pylist()
    entities = dict(zip(pins["id"].to_pylist(), encoder.encode_entities(pins), strict=True))
    pinsage, present = encoder.encode_compatibility(pins, "pinsage")
    existing = dict(zip(pins["id"].to_pylist(), zip(pinsage, present, strict=True), strict=True))
    engaged = dict(zip(pins["id"].to_pylist(), pins["engaged_queries"].to_pylist(), strict=True))
    scored = [row for row in result if row["unscored"] is None]
    assert np.ptp([row["cosine"] for row in scored]) > 0.05  # or the comparisons below would say little
    assert [row["row"] for row in scored] == [0, 1, 2, 5, 8]
    for row in scored:
        query = encoder.encode_queries([row["query"]])[0]
        entity = entities[row["entity_id"]]
        assert row["cosine"] == pytest.approx(cosine(query, entity), abs=1e-5)
        for width in (4, 8):
            assert row[f"cosine_{width}"] == pytest.approx(cosine(query[:width], entity[:width]), abs=1e-5)
        vector, has_one = existing[row["entity_id"]]
        if has_one:
            assert row["cosine_pinsage"] == pytest.approx(cosine(query, vector), abs=1e-5)
        else:
            assert row["cosine_pinsage"] is None
        own = " ".join(row["query"].lower().split())
        others = [text for text in engaged[row["entity_id"]] or [] if text is not None and text != own]
        if others:
            cosines = [cosine(query, vector) for vector in encoder.encode_queries(others)]
            assert row["max_cosine_engaged_queries"] == pytest.approx(max(cosines), abs=1e-5)
            assert row["mean_cosine_engaged_queries"] == pytest.approx(np.mean(cosines), abs=1e-5)
        else:
            assert row["max_cosine_engaged_queries"] is None
            assert row["mean_cosine_engaged_queries"] is None


def test_what_cannot_be_scored_says_why(encoder: FrozenEncoder, pins: pa.Table) -> None:
    result = featurize(PAIRS, encoder=encoder, entities=pins)
    assert result.column_names == [*PAIRS.column_names, *COLUMNS]
    assert result.select(PAIRS.column_names).equals(PAIRS)
    reasons = result["unscored"].to_pylist()
    assert reasons[3:5] == ["query is null", "query is blank"]
    assert reasons[6:8] == ["entity_id is null", "entity_id is not among the entities"]
    for row in (3, 4, 6, 7):
        assert all(result[name][row].as_py() is None for name in COLUMNS[:-1])
    assert all(result.schema.field(name).type == pa.float32() for name in COLUMNS[:-1])


def test_a_zero_vector_is_not_scored(encoder: FrozenEncoder, tmp_path: Path) -> None:
    # nothing that the encoder knows: no token, no vector
    nothing = pa.table({"id": ["a", "z"], "title": ["red shoes", "ξξξξ"]})
    assert not encoder.encode_entities(nothing)[1].any()
    pairs = pa.table({"query": ["hat", "hat"], "entity_id": ["z", "a"]})
    result = featurize(pairs, encoder=encoder, entities=nothing)
    assert result["unscored"].to_pylist() == ["entity vector is zero", None]
    assert result["cosine"][0].as_py() is None
    with pytest.raises(DataError, match=r"row 1: entity vector is zero \(entity_id 'z'\)"):
        featurize(pairs, encoder=encoder, entities=nothing, strict=True)


def test_the_own_query_counts_only_when_asked_for(encoder: FrozenEncoder, pins: pa.Table) -> None:
    # pin a was engaged with "red shoes"; "Red  Shoes" is the same text once normalised
    pairs = pa.table({"query": ["red shoes", "Red  Shoes", "hat"], "entity_id": ["a", "a", "b"]})
    kept = featurize(pairs, encoder=encoder, entities=pins, leave_out_own_query=False)
    left_out = featurize(pairs, encoder=encoder, entities=pins)
    assert kept["max_cosine_engaged_queries"].to_pylist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert max(left_out["max_cosine_engaged_queries"].to_pylist()[:2]) < 0.999
    assert left_out["max_cosine_engaged_queries"].to_pylist()[2] is None  # b was engaged with "hat" alone
    assert kept["cosine"].equals(left_out["cosine"])


def test_pandas_keeps_its_index_and_each_library_gets_its_own(encoder: FrozenEncoder, pins: pa.Table) -> None:
    frame = PAIRS.to_pandas()
    frame.index = pd.Index(range(100, 109), name="kept")
    arrow = featurize(PAIRS, encoder=encoder, entities=pins)
    from_pandas = featurize(frame, encoder=encoder, entities=pins.to_pandas())
    assert isinstance(from_pandas, pd.DataFrame)
    pd.testing.assert_index_equal(from_pandas.index, frame.index)
    from_polars = featurize(pl.from_arrow(PAIRS), encoder=encoder, entities=pl.from_arrow(pins))
    assert isinstance(from_polars, pl.DataFrame)
    expected = np.array(arrow["cosine"].to_pylist(), dtype=float)
    np.testing.assert_allclose(from_pandas["cosine"].to_numpy(dtype=float, na_value=np.nan), expected, atol=1e-6)
    np.testing.assert_allclose(np.array(from_polars["cosine"].to_list(), dtype=float), expected, atol=1e-6)
    assert from_polars["unscored"].to_list() == arrow["unscored"].to_pylist()


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".arrow"])
@pytest.mark.parametrize("batch_size", [2, 1_000])
def test_files_of_any_format_keep_rows_and_columns(
    encoder: FrozenEncoder, pins: pa.Table, pins_path: Path, tmp_path: Path, suffix: str, batch_size: int
) -> None:
    source, target = tmp_path / f"pairs{suffix}", tmp_path / f"out{suffix}"
    with TableWriter(source, PAIRS.schema) as writer:
        writer.write(PAIRS)
    report = featurize_file(source, target, encoder=encoder, entities=pins_path, batch_size=batch_size, threads=2)
    written = read_table(target)
    expected = featurize(PAIRS, encoder=encoder, entities=pins)
    assert written.column_names == expected.column_names
    for name in PAIRS.column_names:
        assert written[name].to_pylist() == PAIRS[name].to_pylist()
    assert written["unscored"].to_pylist() == expected["unscored"].to_pylist()
    for name in COLUMNS[:-1]:
        for one, other in zip(written[name].to_pylist(), expected[name].to_pylist(), strict=True):
            assert one == (None if other is None else pytest.approx(other, abs=1e-5))
    assert report.rows == 9
    assert report.unscored_rows == 4
    assert report.unscored == {
        "query is null": 1,
        "query is blank": 1,
        "entity_id is null": 1,
        "entity_id is not among the entities": 1,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, target.name, "pins.parquet"])


def test_each_query_and_entity_is_encoded_once(
    encoder: FrozenEncoder, pins: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, ids = [], []
    queries, entities = encoder.encode_queries, encoder.encode_entities
    monkeypatch.setattr(encoder, "encode_queries", lambda t, **options: texts.extend(t) or queries(t, **options))
    monkeypatch.setattr(
        encoder, "encode_entities", lambda t, **options: ids.extend(t["id"].to_pylist()) or entities(t, **options)
    )
    repeated = pa.concat_tables([PAIRS] * 5)
    featurize(repeated, encoder=encoder, entities=pins, batch_size=7)
    assert sorted(ids) == ["a", "b", "c"]  # d and unused stand in no pair
    # those of the pairs, and those that a and b were engaged with
    assert sorted(texts) == sorted(["red shoes", "hat", "Red  Shoes", "blue hat", "帽子 bleu élégant"])


def test_vectors_of_embedding_tables_are_used(
    encoder: FrozenEncoder, pins: pa.Table, pins_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(PAIRS, tmp_path / "pairs.parquet")
    tables = [tmp_path / "queries.parquet", tmp_path / "entities.parquet"]
    embed_queries(tmp_path / "pairs.parquet", tables[0], encoder=encoder)
    embed_entities(pins_path, tables[1], encoder=encoder)
    expected = featurize(PAIRS, encoder=encoder, entities=pins)

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("everything is in a table")

    monkeypatch.setattr(encoder, "encode_entities", refuse)
    with_entities = featurize(PAIRS, encoder=encoder, entities=pins, embeddings=tables, entity_type="pin")
    for name in COLUMNS[:-1]:
        for one, other in zip(with_entities[name].to_pylist(), expected[name].to_pylist(), strict=True):
            assert one == (None if other is None else pytest.approx(other, abs=1e-5))
    monkeypatch.setattr(encoder, "encode_queries", refuse)
    alone = featurize(PAIRS, encoder=encoder, embeddings=tables)
    assert alone.column_names == [*PAIRS.column_names, "cosine", "cosine_4", "cosine_8", "unscored"]
    assert alone["unscored"].to_pylist() == expected["unscored"].to_pylist()


def test_a_vector_that_a_table_lacks_is_encoded(encoder: FrozenEncoder, pins: pa.Table, tmp_path: Path) -> None:
    pq.write_table(pins.slice(0, 1), tmp_path / "one.parquet")
    embed_entities(tmp_path / "one.parquet", tmp_path / "table.parquet", encoder=encoder)
    result = featurize(PAIRS, encoder=encoder, entities=pins, embeddings=tmp_path / "table.parquet")
    expected = featurize(PAIRS, encoder=encoder, entities=pins)
    assert result["unscored"].to_pylist() == expected["unscored"].to_pylist()


def test_a_pin_and_a_product_may_share_an_id(encoder: FrozenEncoder, tmp_path: Path) -> None:
    for name, title in (("pins", "red shoes"), ("products", "blue hat")):
        pq.write_table(pa.table({"id": ["1"], "title": [title]}), tmp_path / f"{name}.parquet")
    sources = [tmp_path / "pins.parquet", tmp_path / "products.parquet"]
    pairs = pa.table({"query": ["hat"] * 3, "entity_id": ["1"] * 3, "entity_type": ["pin", "product", "query"]})
    result = featurize(pairs, encoder=encoder, entities=sources)
    query = encoder.encode_queries(["hat", "1"])
    vectors = encoder.encode_entities(pa.table({"id": ["1", "2"], "title": ["red shoes", "blue hat"]}))
    expected = [cosine(query[0], vectors[0]), cosine(query[0], vectors[1]), cosine(query[0], query[1])]
    assert result["cosine"].to_pylist() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(DataError, match="The id '1' stands in .*products.parquet and in another table"):
        featurize(pairs.drop(["entity_type"]), encoder=encoder, entities=sources)
    unknown = pairs.slice(0, 1).set_column(2, "entity_type", pa.array(["board"]))
    with pytest.raises(DataError, match="row 1: the entity_type is 'board', but must be one of"):
        featurize(unknown, encoder=encoder, entities=sources)


def test_ids_match_whether_or_not_types_are_said(encoder: FrozenEncoder, pins: pa.Table, pins_path: Path) -> None:
    # one pair says the type, one doesn't; the file named pins says it, the table in memory doesn't
    pairs = pa.table({"query": ["hat", "hat"], "entity_id": ["a", "a"], "entity_type": ["pin", None]})
    for entities in (pins, pins_path):
        result = featurize(pairs, encoder=encoder, entities=entities)
        assert result["unscored"].null_count == 2
        assert result["cosine"][0].as_py() == result["cosine"][1].as_py()


def test_a_small_memory_limit_changes_nothing(encoder: FrozenEncoder, pins: pa.Table) -> None:
    plenty = featurize(PAIRS, encoder=encoder, entities=pins)
    assert featurize(PAIRS, encoder=encoder, entities=pins, memory_limit=0).equals(plenty)
    with pytest.raises(SettingError, match="size such as 4GB or 512MiB; got 'lots'"):
        featurize(PAIRS, encoder=encoder, entities=pins, memory_limit="lots")


def test_a_column_that_is_there_already_is_not_replaced(encoder: FrozenEncoder, pins: pa.Table) -> None:
    pairs = PAIRS.append_column("cosine", pa.array(range(9)))
    with pytest.raises(DataError, match="has a column 'cosine' already; .* --column-prefix"):
        featurize(pairs, encoder=encoder, entities=pins)
    result = featurize(pairs, encoder=encoder, entities=pins, column_prefix="new_")
    assert result.column_names[-len(COLUMNS) :] == [f"new_{name}" for name in COLUMNS]
    assert result["cosine"].to_pylist() == list(range(9))


def test_strict_names_the_first_row_and_encodes_nothing(
    encoder: FrozenEncoder, pins: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "encode_queries", None)
    with pytest.raises(DataError, match="row 4: query is null; mend it"):
        featurize(PAIRS, encoder=encoder, entities=pins, strict=True, batch_size=2)
    pairs = pa.table({"query": ["hat", "hat"], "entity_id": ["a", "nowhere"]})
    with pytest.raises(DataError, match=r"row 2: entity_id is not among the entities \(entity_id 'nowhere'\)"):
        featurize(pairs, encoder=encoder, entities=pins, strict=True)
