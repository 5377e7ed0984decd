"""Every route to the features of pairs gives the same columns, or the same kind of refusal."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import omnifeat.featurize
import omnifeat.pair_vectors
from omnifeat.data.files import iter_batches, read_table
from omnifeat.embed import embed_entities
from omnifeat.errors import DataError
from omnifeat.featurize import featurize, featurize_file
from omnifeat.frozen import FrozenEncoder
from tests.commands import omnifeat as command

ENTITIES = pa.table({"id": ["11", "12"], "title": ["red shoes", "blue hat"]})
BOTH_TYPES = pa.table(
    {"id": ["1", "1", "2"], "entity_type": ["pin", "product", "pin"], "title": ["red shoes", "blue hat", "hat"]}
)
UNKNOWN = "entity_id is not among the entities"

Route = Callable[[FrozenEncoder, Any, Any, Path], pa.Table]


def memory(encoder: FrozenEncoder, pairs: Any, entities: Any, _: Path) -> pa.Table:
    return encoder.featurize(pairs, entities)


def stream(encoder: FrozenEncoder, pairs: Any, entities: Any, _: Path) -> pa.Table:
    return featurize(pairs, encoder=encoder, entities=entities, threads=1)


def file(encoder: FrozenEncoder, pairs: Any, entities: Any, folder: Path) -> pa.Table:
    out = folder / "out.parquet"
    pq.write_table(pairs, folder / "pairs.parquet")
    if isinstance(entities, pa.Table):
        pq.write_table(entities, folder / "entities.parquet")
        entities = folder / "entities.parquet"
    try:
        featurize_file(folder / "pairs.parquet", out, encoder=encoder, entities=entities, batch_size=2, threads=1)
    except DataError:
        assert not out.exists()
        raise
    return read_table(out, by_name="keys")


ROUTES = [memory, stream, file]


def ids(column: pa.Array) -> pa.Table:
    return pa.table({"query": pa.array(["hat"] * len(column)), "entity_id": column})


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("pairs", "entities", "unscored"),
    [
        (ids(pa.array([11, 12, None])), ENTITIES, [None, None, "entity_id is null"]),
        (ids(pa.array([11.0, float("nan"), 13.0])), ENTITIES, [None, "entity_id is null", UNKNOWN]),
        (ids(pa.array([Decimal("11.00"), Decimal("12.00")])), ENTITIES, [None, None]),
        (ids(pa.array(["11", "12"]).dictionary_encode()), ENTITIES, [None, None]),
        (ids(pa.array(["11", ""])), ENTITIES, [None, UNKNOWN]),
        (ids(pa.nulls(2)), ENTITIES, ["entity_id is null"] * 2),
        (ids(pa.array(["11"])), ENTITIES.set_column(0, "id", pa.array([11, 12])), [None]),
        (ids(pa.array(["11"])), ENTITIES.set_column(0, "id", pa.array([11.0, 12.0])), [None]),
        (ids(pa.array([11])), ENTITIES.set_column(0, "id", pa.array([Decimal(11), Decimal(12)])), [None]),
        (pa.table({"query": [7.0, float("nan")], "entity_id": ["11", "11"]}), ENTITIES, [None, "query is null"]),
        (pa.table({"query": [7, 8], "entity_id": ["11", "11"]}), ENTITIES, [None, None]),
        (pa.table({"query": pa.nulls(1), "entity_id": ["11"]}), ENTITIES, ["query is null"]),
        # a type that is not said, in the pairs or among the entities, fits any
        (ids(pa.array(["2", "3"])), BOTH_TYPES, [None, UNKNOWN]),
        (ids(pa.array(["1", "1", "2"])).append_column("entity_type", pa.array(["pin", "product", None])), BOTH_TYPES,
         [None, None, None]),
        (ids(pa.array(["11", "11"])).append_column("entity_type", pa.array(["pin", None])), ENTITIES, [None, None]),
        (ids(pa.array(["11"])).append_column("entity_type", pa.nulls(1)), ENTITIES, [None]),
        (ids(pa.array(["2"])).append_column("entity_type", pa.array(["product"])), BOTH_TYPES, [UNKNOWN]),
        (ids(pa.array(["hat", "11"])).append_column("entity_type", pa.array(["query", "pin"])), ENTITIES, [None, None]),
    ],
)  # fmt: skip
def test_odd_ids_and_types_give_the_same_columns_by_every_route(
    route: Route,
    pairs: pa.Table,
    entities: pa.Table,
    unscored: list[str | None],
    encoder: FrozenEncoder,
    tmp_path: Path,
) -> None:
    found = route(encoder, pairs, entities, tmp_path)
    assert found["unscored"].to_pylist() == unscored
    expected = memory(encoder, pairs, entities, tmp_path)
    assert found.column_names == expected.column_names
    for one, other in zip(found["cosine"].to_pylist(), expected["cosine"].to_pylist(), strict=True):
        assert one == (None if other is None else pytest.approx(other, abs=1e-6))
    assert [value is None for value in found["cosine"].to_pylist()] == [reason is not None for reason in unscored]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("pairs", "entities", "message"),
    [
        (ids(pa.array([11.0, 11.5])), ENTITIES, "'entity_id', row 2: 11.5 is not a whole number"),
        (ids(pa.array([1e16])), ENTITIES, "'entity_id', row 1: 1e[+]16 stands for several whole numbers"),
        (ids(pa.array([Decimal("11.50")])), ENTITIES, "'entity_id', row 1: 11.50 is not a whole number"),
        (ids(pa.array([True])), ENTITIES, "'entity_id' must be text, but its type is bool"),
        (ids(pa.array([b"11"])), ENTITIES, "'entity_id' must be text, but its type is binary"),
        (ids(pa.array([["11"]])), ENTITIES, "'entity_id' must be text, but its type is list"),
        (pa.table({"query": [0.5], "entity_id": ["11"]}), ENTITIES, "'query', row 1: 0.5 is not a whole number"),
        (ids(pa.array(["11"])), ENTITIES.set_column(0, "id", pa.array([11.0, 0.5])), "'id', row 2: 0.5 is not"),
        (ids(pa.array(["11"])), ENTITIES.set_column(0, "id", pa.array([True, False])), "'id' must be text, but its"),
        (ids(pa.array(["11"])), ENTITIES.set_column(0, "id", pa.array(["11", None])), "'id' is null in row 2"),
        (ids(pa.array(["11"])), ENTITIES.set_column(0, "id", pa.array(["11", "11"])), "row 1 and again in row 2"),
        (ids(pa.array(["11"])), ENTITIES.set_column(0, "id", pa.array([11.0, 11.0])), "row 1 and again in row 2"),
        (ids(pa.array(["1"])), BOTH_TYPES, "holds the id '1' as entities of several types"),
        (ids(pa.array(["1"])).append_column("entity_type", pa.nulls(1, pa.string())), BOTH_TYPES, "several types"),
        (ids(pa.array(["1", "1"])).append_column("entity_type", pa.array(["pin", None])), BOTH_TYPES, "several types"),
        (ids(pa.array(["1"])), BOTH_TYPES.set_column(1, "entity_type", pa.array(["pin", None, None])), "several types"),
        (ids(pa.array(["1", "2"])).append_column("entity_type", pa.array(["pin", "Pin"])), BOTH_TYPES,
         "'entity_type', row 2: the entity_type is 'Pin', but must be one of .*; did you mean 'pin'"),
        (ids(pa.array(["1", "2"])).append_column("entity_type", pa.array(["item", None])), BOTH_TYPES,
         "'entity_type', row 1: the entity_type is 'item', but must be one of"),
        (ids(pa.array(["1"])), BOTH_TYPES.set_column(1, "entity_type", pa.array(["pin", "pin", "prod"])),
         "'entity_type', row (2|3): the entity_type is 'prod', but must be one of"),
        (ids(pa.array([], pa.string())), ENTITIES, "no rows|no pairs"),
        (ids(pa.array(["11"])), ENTITIES.slice(0, 0), "no rows|has no row|is empty"),
        (pa.table({"query": ["hat"]}), ENTITIES, "no column 'entity_id'"),
        (ids(pa.array(["11"])), ENTITIES.select(["title"]), "no column 'id'"),
    ],
)  # fmt: skip
def test_what_cannot_be_matched_is_refused_by_every_route(
    route: Route, pairs: pa.Table, entities: pa.Table, message: str, encoder: FrozenEncoder, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        route(encoder, pairs, entities, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("route", ROUTES)
def test_entities_come_as_a_folder_a_path_or_a_list_by_every_route(
    route: Route, encoder: FrozenEncoder, tmp_path: Path
) -> None:
    world = tmp_path / "world"
    world.mkdir()
    (world / "dataset.json").write_text('{"name": "w", "source": "by hand", "licence": "none", "format_version": 1}')
    pins, products = ENTITIES.slice(0, 1), ENTITIES.slice(1, 1)
    pq.write_table(pins, world / "pins.parquet")
    pq.write_table(products, world / "products.parquet")
    pairs = ids(pa.array(["11", "12"])).append_column("entity_type", pa.array(["pin", "product"]))
    expected = memory(encoder, pairs.select(["query", "entity_id"]), ENTITIES, tmp_path)["cosine"].to_pylist()
    for entities in (world, str(world), [world / "pins.parquet", world / "products.parquet"], [pins, products]):
        if route is file and entities == [pins, products]:
            continue
        (tmp_path / "out.parquet").unlink(missing_ok=True)
        found = route(encoder, pairs, entities, tmp_path)
        assert found["unscored"].null_count == 2
        np.testing.assert_allclose(found["cosine"].to_pylist(), expected, atol=1e-6)


def test_frames_with_numbers_as_ids_keep_their_columns(encoder: FrozenEncoder) -> None:
    pairs = pd.DataFrame({"query": ["hat", "hat"], "entity_id": [11.0, np.nan]}, index=[5, 7])
    for found in (encoder.featurize(pairs, ENTITIES), featurize(pairs, encoder=encoder, entities=ENTITIES)):
        assert found["entity_id"].dtype == float
        assert found["unscored"].isna().tolist() == [True, False]
        assert found.index.tolist() == [5, 7]
    frame = pl.DataFrame({"query": ["hat"], "entity_id": [11]})
    assert encoder.featurize(frame, pd.DataFrame({"id": [11], "title": ["hat"]}))["unscored"].to_list() == [None]


# ---- one id, several entities


def test_one_embedding_table_of_pins_and_products_needs_the_pairs_types(encoder: FrozenEncoder, tmp_path: Path) -> None:
    pq.write_table(BOTH_TYPES, tmp_path / "both.parquet")
    embed_entities(tmp_path / "both.parquet", tmp_path / "table.parquet", encoder=encoder)
    pairs = ids(pa.array(["2", "1"]))
    with pytest.raises(DataError, match=r"table.parquet holds the id '1' as entities of several types"):
        featurize(pairs, encoder=encoder, embeddings=tmp_path / "table.parquet")
    typed = pairs.append_column("entity_type", pa.array(["pin", "product"]))
    assert featurize(typed, encoder=encoder, embeddings=tmp_path / "table.parquet")["unscored"].null_count == 2


def test_tables_of_two_types_need_the_pairs_types(encoder: FrozenEncoder, tmp_path: Path) -> None:
    made = {}
    for kind, title in (("pin", "red shoes"), ("product", "blue hat")):
        pq.write_table(pa.table({"id": ["1"], "title": [title]}), tmp_path / f"{kind}s.parquet")
        made[kind] = tmp_path / f"{kind}-vectors.parquet"
        embed_entities(tmp_path / f"{kind}s.parquet", made[kind], encoder=encoder)
    pairs = ids(pa.array(["1"]))
    with pytest.raises(DataError, match="The id '1' is a product in .*product-vectors.parquet and a pin in .*pin-v"):
        featurize(pairs, encoder=encoder, embeddings=[made["pin"], made["product"]])
    # the entity is a pin, the vector a product's
    with pytest.raises(DataError, match="The id '1' is a product in .* and a pin in .*pins.parquet"):
        featurize(pairs, encoder=encoder, entities=tmp_path / "pins.parquet", embeddings=made["product"])
    typed = pairs.append_column("entity_type", pa.array(["product"]))
    found = featurize(typed, encoder=encoder, embeddings=[made["pin"], made["product"]])
    expected = encoder.featurize(pairs, pa.table({"id": ["1"], "title": ["blue hat"]}))
    assert found["cosine"].to_pylist() == pytest.approx(expected["cosine"].to_pylist(), abs=1e-6)


UNTYPED = pa.table({"id": ["1"], "title": ["blue hat"]})


@pytest.mark.parametrize("route", ["stream", "file", "command"])
@pytest.mark.parametrize("kinds", [("pin", None), (None, "product")])
def test_a_typed_and_an_untyped_table_need_the_pairs_types(
    route: str, kinds: tuple[str | None, str | None], encoder: FrozenEncoder, encoder_folder: Path, tmp_path: Path
) -> None:
    pq.write_table(UNTYPED, tmp_path / "things.parquet")
    pq.write_table(UNTYPED.set_column(1, "title", pa.array(["red shoes"])), tmp_path / "others.parquet")
    vectors = tmp_path / "vectors.parquet"
    embed_entities(tmp_path / "things.parquet", vectors, encoder=encoder, entity_type=kinds[0])
    pairs = ids(pa.array(["1"]))
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    out = tmp_path / "out.parquet"

    def run(pairs: pa.Table, entity_type: str | None) -> pa.Table:
        pq.write_table(pairs, tmp_path / "pairs.parquet")
        options: dict[str, Any] = {
            "entities": tmp_path / "others.parquet", "embeddings": vectors, "entity_type": entity_type
        }  # fmt: skip
        if route == "stream":
            return featurize(pairs, encoder=encoder, threads=1, **options)
        if route == "file":
            featurize_file(tmp_path / "pairs.parquet", out, encoder=encoder, threads=1, **options)
            return read_table(out)
        typed = [] if entity_type is None else ["--entity-type", entity_type]
        result = command("featurize", tmp_path / "pairs.parquet", "--encoder", encoder_folder, "--embeddings", vectors,
                         "--entities", tmp_path / "others.parquet", *typed, "-o", out)  # fmt: skip
        if result.exit_code:
            raise DataError(result.stderr)
        return read_table(out)

    with pytest.raises(
        DataError, match=r"The id '1' is a (pin|product) in .*, while .* does not say its type"
    ) as caught:
        run(pairs, kinds[1])
    assert "--entity-type" in str(caught.value)
    assert not out.exists()
    if kinds[1] is None:  # once the types are the same, or the pairs name one, nothing is in doubt
        assert run(pairs, "pin")["unscored"].to_pylist() == [None]
        out.unlink(missing_ok=True)
    assert run(pairs.append_column("entity_type", pa.array(["pin"])), "pin")["unscored"].to_pylist() == [None]


def test_untyped_vectors_of_an_untyped_table_are_of_the_same_entities(encoder: FrozenEncoder, tmp_path: Path) -> None:
    pq.write_table(UNTYPED, tmp_path / "things.parquet")
    embed_entities(tmp_path / "things.parquet", tmp_path / "vectors.parquet", encoder=encoder)
    found = featurize(ids(pa.array(["1"])), encoder=encoder, entities=UNTYPED, embeddings=tmp_path / "vectors.parquet")
    assert found["unscored"].to_pylist() == [None]


def test_two_embedding_tables_of_which_one_says_types_are_refused(encoder: FrozenEncoder, tmp_path: Path) -> None:
    pq.write_table(UNTYPED, tmp_path / "things.parquet")
    for kind in (None, "pin"):
        embed_entities(tmp_path / "things.parquet", tmp_path / f"{kind}.parquet", encoder=encoder, entity_type=kind)
    for order in (["None", "pin"], ["pin", "None"]):
        tables = [tmp_path / f"{kind}.parquet" for kind in order]
        with pytest.raises(
            DataError, match="'1' is a pin in .*pin.parquet, while .*None.parquet does not say its type"
        ):
            featurize(ids(pa.array(["1"])), encoder=encoder, embeddings=tables)


# ---- files that change


def changing(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """`change` is called after the first reading of a file by `featurize_file`."""
    readings = 0

    def read(path: Any, columns: Sequence[str] | None = None, **options: Any) -> Iterator[pa.RecordBatch]:
        nonlocal readings
        yield from iter_batches(path, columns=columns, **options)
        readings += 1
        if readings == 1:
            change()

    monkeypatch.setattr(omnifeat.featurize, "iter_batches", read)


@pytest.mark.parametrize(
    "second",
    [
        ids(pa.array(["12", "11", "11"])),  # the same rows in another order
        pa.table({"query": ["hat", "hat", "shoes"], "entity_id": ["11", "11", "12"]}),
        ids(pa.array(["11", "11", None])),
        ids(pa.array(["11", "11"])),
        ids(pa.array(["11", "11", "12", "12"])),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_pairs_that_change_between_the_two_readings_are_refused(
    second: pa.Table, suffix: str, encoder: FrozenEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, entities = tmp_path / f"pairs.{suffix}", tmp_path / "entities.parquet"
    pq.write_table(ENTITIES, entities)

    def write(table: pa.Table) -> None:
        with omnifeat.featurize.TableWriter(tmp_path / f"new.{suffix}", table.schema) as writer:
            writer.write(table)
        (tmp_path / f"new.{suffix}").replace(pairs)

    write(ids(pa.array(["11", "11", "12"])))
    changing(monkeypatch, lambda: write(second))
    with pytest.raises(DataError, match=rf"pairs.{suffix} changed while it was read; run again"):
        featurize_file(pairs, tmp_path / "out.parquet", encoder=encoder, entities=entities, threads=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entities.parquet", pairs.name]


def test_entities_that_vanish_between_the_readings_are_refused(
    encoder: FrozenEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(ENTITIES, tmp_path / "pins.parquet")
    blank = omnifeat.pair_vectors.PairVectors.blank_queries

    def change(vectors: Any) -> Any:
        pq.write_table(ENTITIES.slice(1), tmp_path / "pins.parquet")
        return blank(vectors)

    monkeypatch.setattr(omnifeat.pair_vectors.PairVectors, "blank_queries", change)
    with pytest.raises(DataError, match="pins.parquet changed while it was read"):
        featurize(ids(pa.array(["11"])), encoder=encoder, entities=tmp_path / "pins.parquet", threads=1)


# ---- ids that never meet


@pytest.mark.parametrize(
    ("pair_ids", "entity_ids", "said"),
    [
        (["11.0", "12.0"], ["11", "12"], "writes '11.0', the latter writes '11'; they differ in how whole numbers"),
        (["11"], ["011"], "writes '11', the latter writes '011'; they differ in how whole numbers"),
        (["SKU-1"], ["sku-1"], "they differ in letter case"),
        (["a"], ["b"], "check that both are of the same catalogue"),
    ],
)
def test_pairs_of_which_none_meets_an_entity_say_how_both_write_ids(
    pair_ids: list[str], entity_ids: list[str], said: str, encoder_folder: Path, tmp_path: Path
) -> None:
    pairs = ids(pa.array(pair_ids)).to_pandas()
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    pd.DataFrame({"id": entity_ids, "title": "hat"}).to_csv(tmp_path / "p.csv", index=False)
    arguments = ("featurize", tmp_path / "pairs.csv", "--encoder", encoder_folder, "--entities", tmp_path / "p.csv")
    result = command(*arguments, "-o", tmp_path / "out.csv")
    assert result.exit_code == 0  # rows that cannot be scored are kept
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert "pairs are unscored: no entity_id of the pairs stands in the entities: the former writes" in line
    assert said in line
    assert command(*arguments, "-o", tmp_path / "strict.csv", "--strict").exit_code == 2
    assert not (tmp_path / "strict.csv").exists()


def test_pairs_of_another_type_say_so(encoder: FrozenEncoder, caplog: pytest.LogCaptureFixture) -> None:
    pairs = ids(pa.array(["2", "2"])).append_column("entity_type", pa.array(["product", "product"]))
    assert encoder.featurize(pairs, BOTH_TYPES)["unscored"].to_pylist() == [UNKNOWN] * 2
    assert "'2' is an id of another type: check the column 'entity_type'" in caplog.text
    caplog.clear()
    encoder.featurize(ids(pa.array(["11", "nowhere"])), ENTITIES)
    assert "no entity_id" not in caplog.text


@pytest.mark.parametrize(
    ("pair_ids", "entity_ids", "said"),
    [
        (["11", "12.0"], ["11", "12"], "the pairs write '12.0', the entities '12'; they differ in how whole numbers"),
        (["11", "a", "sku-1"], ["11", "SKU-1"], "the pairs write 'sku-1', the entities 'SKU-1'; they differ in letter"),
        (
            ["11", "product:12"],
            ["11", "12"],
            "the pairs write 'product:12', the entities '12'; they differ in what stand",
        ),
        (["hat-11", "shoe-12"], ["hat-11", "hat-12"], None),
        (["11", "13"], ["11", "12"], None),
    ],
)
def test_some_pairs_that_miss_an_entity_for_its_writing_say_so(
    pair_ids: list[str],
    entity_ids: list[str],
    said: str | None,
    encoder: FrozenEncoder,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = pa.table({"id": entity_ids, "title": ["hat"] * len(entity_ids)})
    encoder.featurize(ids(pa.array(pair_ids)), table)
    assert (f"in another writing: {said}" in caplog.text) if said else (caplog.text == "")
    pq.write_table(ids(pa.array(pair_ids)), tmp_path / "pairs.parquet")
    report = featurize_file(tmp_path / "pairs.parquet", tmp_path / "out.parquet", encoder=encoder, entities=table)
    assert (report.hint is not None) is (said is not None)


@pytest.mark.parametrize("route", ROUTES)
def test_columns_of_the_pairs_that_nobody_asked_for_are_kept_as_they_are(
    route: Route, encoder: FrozenEncoder, tmp_path: Path
) -> None:
    strange = {"timestamp": [1, 2], "price": ["49.90 USD", "x"], "pinsage": [1.5, 2.5], "title": [3, 4]}
    pairs = pa.table({"query": ["hat", "hat"], "entity_id": ["11", "12"], **strange})
    found = route(encoder, pairs, ENTITIES, tmp_path)
    assert found["unscored"].null_count == 2
    assert found.select(list(strange)).to_pydict() == strange
