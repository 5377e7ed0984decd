import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.errors import DataError
from omnifeat.models.config import EncoderConfig, EntityConfig, fitted_to
from omnifeat.models.entity import EntityInputs
from omnifeat.models.entity_features import EntityTable, entity_texts
from omnifeat.text import NgramTokenizer, normalise

CONFIG = EntityConfig(continuous={"pinsage": 4, "image_embedding": 2})


@pytest.fixture(scope="module")
def tokenizer() -> NgramTokenizer:
    return NgramTokenizer.fit([pa.array(["red shoes", "blue hat 帽子", "my shoes", "red shoe", "hat"])])


def bags(inputs: EntityInputs) -> list[list[int]]:
    """Sorted ids of each entity."""
    return [
        sorted(inputs.ids[start:stop].tolist())
        for start, stop in zip(inputs.offsets[:-1].tolist(), inputs.offsets[1:].tolist(), strict=True)
    ]


def bag_of(tokenizer: NgramTokenizer, *texts: str) -> list[int]:
    return sorted(tokenizer.encode(pa.array(texts, pa.string())).ids.tolist())


def with_column(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def test_all_text_of_an_entity_is_in_its_bag(pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    table = EntityTable.prepare(pins, tokenizer, CONFIG)
    assert table.ids.to_pylist() == ["a", "b", "c", "d"]
    assert bags(table.inputs(np.array([3, 0, 1, 0]))) == [
        [],
        bag_of(tokenizer, "red shoes", "my shoes", "shoes", "red shoe", "shoes", "shoes"),
        bag_of(tokenizer, "blue hat 帽子", "hat"),
        bag_of(tokenizer, "red shoes", "my shoes", "shoes", "red shoe", "shoes", "shoes"),
    ]


def test_vectors_are_side_by_side_and_zero_where_missing(pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    inputs = EntityTable.prepare(pins, tokenizer, CONFIG).inputs(np.array([2, 1, 0]))
    # the table has no image embeddings at all
    assert inputs.continuous.tolist() == [[0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]


def test_a_pairs_own_query_is_left_out(pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    table = EntityTable.prepare(pins, tokenizer, CONFIG)
    assert table.engaged_query_texts.to_pylist() == ["red shoe", "shoes", "hat"]
    own = table.engaged_query_index(pa.array(["  ShOEs", "unheard of", "hat", "hat"]))
    assert own.tolist() == [1, -1, 2, 2]
    assert bags(table.inputs(np.array([0, 0, 1, 0]), exclude_query=own)) == [
        bag_of(tokenizer, "red shoes", "my shoes", "shoes", "red shoe"),  # both spellings of "shoes" are gone
        bag_of(tokenizer, "red shoes", "my shoes", "shoes", "red shoe", "shoes", "shoes"),
        bag_of(tokenizer, "blue hat 帽子"),
        # a query of another entity takes nothing away
        bag_of(tokenizer, "red shoes", "my shoes", "shoes", "red shoe", "shoes", "shoes"),
    ]


@settings(deadline=None, max_examples=40)
@given(
    lists=st.lists(st.none() | st.lists(st.sampled_from(["red", "Red ", "hat", "", "b a"]) | st.none()), min_size=1),
    data=st.data(),
)
def test_engaged_queries_equal_a_loop(
    lists: list[list[str | None] | None], data: st.DataObject, tokenizer: NgramTokenizer
) -> None:
    column = pa.array(lists, pa.list_(pa.string()))
    pins = pa.table({"id": [str(row) for row in range(len(lists))], "engaged_queries": column})
    table = EntityTable.prepare(pins, tokenizer, EntityConfig(max_engaged_queries=3))
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1)))
    queries = data.draw(st.lists(st.sampled_from(["red", "hat", "x"]), min_size=len(rows), max_size=len(rows)))
    expected = []
    for row, query in zip(rows, queries, strict=True):
        # the first three are counted before the pair's own is left out, empty ones with them, nulls not
        kept = [text for text in lists[row] or [] if text is not None][:3]
        texts = normalise(pa.array(kept, pa.string())).to_pylist()
        expected.append(bag_of(tokenizer, *(text for text in texts if text != query)))
    exclude = table.engaged_query_index(pa.array(queries, pa.string()))
    assert bags(table.inputs(np.array(rows, dtype=np.int64), exclude)) == expected


def test_lists_are_cut_at_their_limit(tokenizer: NgramTokenizer) -> None:
    lists = pa.array([["red", None, "blue", "hat"], ["hat"]], pa.list_(pa.string()))
    pins = pa.table({"id": ["a", "b"], "board_titles": lists, "engaged_queries": lists})
    one = EntityTable.prepare(pins, tokenizer, EntityConfig(max_board_titles=1, max_engaged_queries=0))
    assert bags(one.inputs(np.arange(2))) == [bag_of(tokenizer, "red"), bag_of(tokenizer, "hat")]
    everything = EntityTable.prepare(pins, tokenizer, EntityConfig(max_board_titles=None, max_engaged_queries=2))
    assert bags(everything.inputs(np.array([0]))) == [bag_of(tokenizer, "red", "blue", "hat", "red", "blue")]


def test_bigrams_do_not_span_two_fields() -> None:
    tokenizer = NgramTokenizer.fit([pa.array(["red hat"])])
    apart = pa.table({"id": ["a"], "title": ["red"], "description": ["hat"]})
    together = pa.table({"id": ["a"], "title": ["red hat"]})
    lengths = [
        len(EntityTable.prepare(table, tokenizer, EntityConfig()).inputs(np.array([0])).ids)
        for table in (apart, together)
    ]
    assert lengths[0] < lengths[1]


def test_fields_left_out_of_the_settings_are_not_read(pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    table = EntityTable.prepare(pins, tokenizer, EntityConfig(text_fields=("title",)))
    assert bags(table.inputs(np.array([0]))) == [bag_of(tokenizer, "red shoes")]
    assert table.engaged_query_index(pa.array(["red shoe"])).tolist() == [-1]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_every_kind_of_text_column(kind: pa.DataType, pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    plain = EntityTable.prepare(pins, tokenizer, CONFIG)
    cast = with_column(with_column(pins, "title", pins["title"].cast(kind)), "id", pins["id"].cast(kind))
    other = EntityTable.prepare(cast, tokenizer, CONFIG)
    assert bags(other.inputs(np.arange(4))) == bags(plain.inputs(np.arange(4)))


def test_chunks_and_slices_read_as_one_column(pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    plain = EntityTable.prepare(pins, tokenizer, CONFIG).inputs(np.arange(4))
    chunked = pa.concat_tables([pins.slice(0, 1), pins.slice(1, 2), pins.slice(3)])
    chunks = EntityTable.prepare(chunked, tokenizer, CONFIG).inputs(np.arange(4))
    assert bags(chunks) == bags(plain)
    assert chunks.continuous.tolist() == plain.continuous.tolist()
    last = EntityTable.prepare(pins.slice(2), tokenizer, CONFIG).inputs(np.arange(2))
    assert bags(last) == bags(plain)[2:]
    assert last.continuous.tolist() == plain.continuous.tolist()[2:]


def test_columns_of_nulls_are_empty(tokenizer: NgramTokenizer) -> None:
    nulls = {name: pa.nulls(1) for name in ("title", "board_titles", "engaged_queries", "pinsage", "image_embeddings")}
    inputs = EntityTable.prepare(pa.table({"id": ["a"], **nulls}), tokenizer, CONFIG).inputs(np.array([0]))
    assert len(inputs.ids) == 0
    assert not inputs.continuous.any()


def test_several_images_are_averaged_and_one_stands_in_for_none(tokenizer: NgramTokenizer) -> None:
    vector = pa.list_(pa.float32(), 2)
    products = pa.table(
        {
            "id": ["a", "b", "c"],
            "image_embedding": pa.array([[9.0, 9.0], [5.0, 6.0], None], vector),
            "image_embeddings": pa.array([[[1.0, 2.0], None, [3.0, 4.0]], [], None], pa.list_(vector)),
        }
    )
    config = fitted_to(EncoderConfig(), {"products": products.schema})
    inputs = EntityTable.prepare(products, tokenizer, config).inputs(np.arange(3))
    assert inputs.continuous.tolist() == [[2, 3], [5, 6], [0, 0]]


def test_ids_are_checked(pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    def prepare(ids: Any) -> None:
        EntityTable.prepare(with_column(pins, "id", ids), tokenizer, CONFIG, name="pins")

    with pytest.raises(DataError, match=r"Table 'pins' has the id 'b' twice, in rows 2 and 4; keep one"):
        prepare(pa.array(["a", "b", "c", "b"]))
    with pytest.raises(DataError, match=r"Row 3 of table 'pins' has no id"):
        prepare(pa.array(["a", "b", None, "d"]))
    with pytest.raises(DataError, match=r"Row 1 of table 'pins' has no id"):
        prepare(pa.array(["", "b", "c", "d"]))
    with pytest.raises(DataError, match=r"Column 'id' of table 'pins' must be text, but its type is bool"):
        prepare(pa.array([True, False, True, False]))
    with pytest.raises(DataError, match=r"Table 'pins' has no column 'id'; it has title"):
        EntityTable.prepare(pins.select(["title"]), tokenizer, CONFIG, name="pins")
    with pytest.raises(DataError, match=r"Table 'pins' has no rows"):
        EntityTable.prepare(pins.slice(0, 0), tokenizer, CONFIG, name="pins")


def test_an_id_may_stand_once_for_each_type(pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    twice = with_column(pins, "id", pa.array(["a", "a", "c", "d"]))
    types = twice.append_column("entity_type", pa.array(["pin", "product", "pin", "pin"]))
    assert len(EntityTable.prepare(types, tokenizer, CONFIG)) == 4
    same = twice.append_column("entity_type", pa.array(["pin"] * 4))
    with pytest.raises(DataError, match="has the id 'a' twice"):
        EntityTable.prepare(same, tokenizer, CONFIG)


def test_columns_are_checked(pins: pa.Table, tokenizer: NgramTokenizer) -> None:
    with pytest.raises(DataError, match=r"Table 'pins' has none of the columns that the encoder reads \(title, "):
        EntityTable.prepare(pins.select(["id"]), tokenizer, CONFIG, name="pins")
    numbers = with_column(pins, "title", pa.array([1, 2, 3, 4]))
    with pytest.raises(DataError, match=r"Column 'title' of table 'pins' holds int64 where text"):
        EntityTable.prepare(numbers, tokenizer, CONFIG, name="pins")
    wide = dataclasses.replace(CONFIG, continuous={"pinsage": 5})
    with pytest.raises(DataError, match=r"'pinsage' of table 'pins' holds vectors 4 wide where the encoder needs 5"):
        EntityTable.prepare(pins, tokenizer, wide, name="pins")


def test_texts_for_the_vocabulary_are_those_that_are_encoded(pins: pa.Table) -> None:
    config = EntityConfig(text_fields=("title", "board_titles", "brand"), max_board_titles=1)
    texts = [text for array in entity_texts(pins, config) for text in array.to_pylist()]
    assert texts == ["Red shoes", "blue hat 帽子", None, None, "My shoes"]
