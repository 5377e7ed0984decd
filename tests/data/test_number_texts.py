"""Columns of numbers that one word made text."""

import pyarrow as pa
import pytest

from omnifeat.data.number_texts import meant_as_numbers, no_number_message


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        (["1.5", "n/a", "2"], True),
        (["12%", "3%"], True),
        (["1,200.50", "3"], True),
        (["TRUE", "FALSE", None], True),
        (["$5", "€ 7,20", "£1"], True),
        (["3 cm", "10 cm"], True),
        (["0.5", "high"], True),
        (["1e-3", "-inf", "nan", "3."], True),
        (["red mug", "7 cups of tea", "5"], False),
        (["n/a", "-", ""], False),
        ([None, None], False),
        (["2024-03-01T12:00:00Z"], False),
    ],
)
def test_texts_that_people_write_for_numbers(values: list[str | None], meant: bool) -> None:
    assert meant_as_numbers(pa.array(values, pa.string())) is meant
    assert meant_as_numbers(pa.chunked_array([pa.array(values, pa.string()).dictionary_encode()])) is meant


def test_the_value_in_the_way_is_named_with_its_row() -> None:
    column = pa.chunked_array([["1.5", None], ["2", " n/a", "n/a"]])
    assert no_number_message(column, "run.csv, column 'score'") == (
        "run.csv, column 'score', row 4: ' n/a' is not a number; write a number, or nothing where there is none"
    )
    assert no_number_message(pa.array(["1", "2"]), "run: 'score'") == (
        "run: 'score' holds numbers as text: write them as numbers"
    )
    assert "holds list<item: int64>, which is no number" in no_number_message(pa.array([[1]]), "x")
