import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from omnifeat.errors import DataError, SettingError
from ranking.lexical_features import lexical_features

ENTITIES = pa.table(
    {
        "id": ["e1", "e2", "e3"],
        "title": ["Red shoes", "Blue hat", None],
        "description": ["Warm red leather", "A hat", "shoes for rain"],
        "price": [10.5, None, 3.0],
    }
)
PAIRS = pa.table(
    {
        "query": ["red RED shoes", "blue hat", None, "rain shoes", "!!"],
        "entity_id": ["e1", "e2", "e1", "absent", "e3"],
    }
)


def test_counts_lengths_and_price() -> None:
    found = lexical_features(PAIRS, ENTITIES).to_pydict()
    # "red RED shoes" is red red shoes: two distinct words, three in all; e1's text is "red shoes warm red leather".
    assert found["matched_tokens"] == [2, 2, None, None, 0]
    assert found["matched_share"] == [1, 1, None, None, 0]
    assert found["query_length"] == [3, 2, None, 2, 0]
    assert found["title_length"] == [2, 2, None, None, 0]
    assert found["text_length"] == [5, 4, None, None, 3]
    assert found["price"] == [10.5, None, None, None, 3]


def test_bm25_is_that_of_the_formula() -> None:
    # Titles: "red shoes", "blue hat", "": N = 3, lengths 2, 2, 0, mean 4/3. Each word stands in one title:
    # idf = ln(1 + 2.5 / 1.5). tf = 1; k1 = 1.5, b = 0.75: part = 1 / (1 + 1.5 * (0.25 + 0.75 * 2 / (4/3))).
    part = math.log(1 + 2.5 / 1.5) / (1 + 1.5 * (0.25 + 0.75 * 1.5))
    found = lexical_features(PAIRS, ENTITIES)["bm25_title"].to_pylist()
    assert found[0] == pytest.approx(3 * part, rel=1e-5)  # the repeated "red" counts twice
    assert found[1] == pytest.approx(2 * part, rel=1e-5)
    assert found[2:4] == [None, None]
    assert found[4] == 0


def test_types_and_order() -> None:
    found = lexical_features(PAIRS, ENTITIES)
    assert set(found.schema.types) == {pa.float32()}
    assert found.column_names[:4] == ["bm25_title", "tfidf_cosine_title", "bm25_text", "tfidf_cosine_text"]
    backwards = lexical_features(PAIRS.take([4, 3, 2, 1, 0]), ENTITIES)
    assert backwards.equals(found.take([4, 3, 2, 1, 0]))


def test_tfidf_cosine_is_highest_for_the_same_text() -> None:
    same = lexical_features({"query": ["blue hat"] * 2, "entity_id": ["e2", "e1"]}, ENTITIES)["tfidf_cosine_title"]
    assert same[0].as_py() == pytest.approx(1, abs=1e-5)
    assert 0 <= same[1].as_py() < 0.5


def test_any_library_and_fields_of_choice() -> None:
    frame = pd.DataFrame({"query": ["warm"], "entity_id": ["e1"]})
    found = lexical_features(frame, ENTITIES.select(["id", "description"]), ["description"])
    assert found.column_names == [
        "bm25_text",
        "tfidf_cosine_text",
        "matched_tokens",
        "matched_share",
        "query_length",
        "text_length",
    ]
    assert found["matched_tokens"].to_pylist() == [1]
    lists = pa.table({"id": ["e1"], "board_titles": [["Warm coats", None]]})
    assert lexical_features(frame, lists, ["board_titles"])["text_length"].to_pylist() == [2]


def test_an_id_is_looked_up_within_its_type() -> None:
    entities = pa.table({"id": ["x", "x"], "entity_type": ["pin", "product"], "title": ["tree", "tall green tree"]})
    pairs = {"query": ["tree"] * 2, "entity_id": ["x", "x"], "entity_type": ["product", "pin"]}
    assert lexical_features(pairs, entities)["title_length"].to_pylist() == [3, 1]
    with pytest.raises(DataError, match="Id 'x' stands more than once among the entities, again in row 2"):
        lexical_features({"query": ["tree"], "entity_id": ["x"]}, entities)


@pytest.mark.parametrize(
    ("pairs", "entities", "fields", "error", "sentence"),
    [
        (PAIRS.select(["query"]), ENTITIES, None, DataError, "pairs has no column 'entity_id'"),
        (PAIRS, ENTITIES.drop_columns(["id"]), None, DataError, "entities has no column 'id'"),
        (PAIRS, ENTITIES.select(["id", "price"]), None, DataError, "none of the text fields"),
        (PAIRS, ENTITIES, ["name"], DataError, "Text field 'name' is not a column"),
        (PAIRS, ENTITIES, [], SettingError, "at least one column"),
        (PAIRS, ENTITIES, ["price"], DataError, "Column 'price' must hold text"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    pairs: pa.Table, entities: pa.Table, fields: list[str] | None, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        lexical_features(pairs, entities, fields)


def test_all_pairs_unknown() -> None:
    found = lexical_features({"query": ["red"], "entity_id": ["absent"]}, ENTITIES)
    assert np.isnan(found["bm25_text"].to_pandas()).all()


def matched(pairs: dict[str, Any], entities: dict[str, Any]) -> list[float | None]:
    found: list[float | None] = lexical_features(pa.table(pairs), pa.table(entities))["matched_tokens"].to_pylist()
    return found


def test_ids_that_are_numbers_and_types_that_are_not_said_find_their_entity() -> None:
    catalogue = {"id": ["1", "2"], "title": ["red hat", "blue shoes"]}
    assert matched({"query": ["hat", "hat", "hat"], "entity_id": [1.0, 2.0, None]}, catalogue) == [1, 0, None]
    assert matched({"query": ["hat"], "entity_id": ["1"]}, {**catalogue, "id": [1, 2]}) == [1]
    both = {"id": ["1", "1", "2"], "title": ["hat", "shoes", "hat hat"], "entity_type": ["pin", "product", None]}
    pairs = {"query": ["hat"] * 4, "entity_id": ["1", "1", "2", "2"]}
    assert matched({**pairs, "entity_type": ["pin", "product", "pin", None]}, both) == [1, 0, 1, 1]
    with pytest.raises(DataError, match="The id '1' is of entities of several types, and the pairs don't say which"):
        matched({**pairs, "entity_type": ["pin", None, "pin", None]}, both)
