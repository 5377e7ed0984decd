"""Ids that a library made numbers of."""

from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from omnifeat.data.id_texts import id_texts
from omnifeat.errors import DataError


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array(["11", None, ""]), ["11", None, ""]),
        (pa.array(["11.0", "1e16"]), ["11.0", "1e16"]),  # a text is what it says
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([11, None, -3]), ["11", None, "-3"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([11, 12]).dictionary_encode(), ["11", "12"]),
        (pa.array([11.0, None, float("nan"), -0.0, 2.0**53 - 1]), ["11", None, None, "0", "9007199254740991"]),
        (pa.array([11.0, float("nan")], pa.float16()), ["11", None]),
        (pa.array([Decimal("11.00"), None, Decimal("-3.00")]), ["11", None, "-3"]),
        (pa.array([Decimal("12345678901234567890")]), ["12345678901234567890"]),
        (pa.array([None, None]), [None, None]),
        (pa.chunked_array([["a"], ["b"]]), ["a", "b"]),
        (pa.chunked_array([], pa.float64()), []),
        (pa.array(pd.Series([11, None], dtype="Int64")), ["11", None]),
        (pa.array(pd.Series([11, None])), ["11", None]),
    ],
)
def test_whole_numbers_of_any_type_are_their_text(column: Any, texts: list[str | None]) -> None:
    found = id_texts(column, "pairs")
    assert found.type == pa.large_string()
    assert found.to_pylist() == texts


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1.0, None, 1.5]), "p.csv: column 'id', row 12: 1.5 is not a whole number; write it as text"),
        (pa.array([1.0, float("inf")]), "row 11: inf is not a whole number"),
        (pa.array([1e16]), r"row 10: 1e\+16 stands for several whole numbers as a float"),
        (pa.array([Decimal("1.00"), Decimal("1.25")]), "row 11: 1.25 is not a whole number"),
        (pa.array([True]), "must be text, but its type is bool; write it as text"),
        (pa.array([b"a"]), "must be text, but its type is binary"),
        (pa.array([["a"]]), "must be text, but its type is list"),
        (pa.array([pd.Timestamp("2024-01-01")]), "must be text, but its type is timestamp"),
    ],
)
def test_what_could_be_several_ids_is_refused_by_its_row(column: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        id_texts(column, "p.csv: column 'id'", 10)
