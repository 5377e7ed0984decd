"""What is taken for a column of texts, and what is not."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from omnifeat.data.text_lists import text_list
from omnifeat.errors import DataError

TEXTS = ["red mug", "pan", "cup"]


@pytest.mark.parametrize(
    "column",
    [
        TEXTS,
        tuple(TEXTS),
        (text for text in TEXTS),
        dict.fromkeys(TEXTS).keys(),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pd.Series(TEXTS, index=[3, 1, 2]),
        pd.Series(TEXTS, dtype="category"),
        pd.Series(TEXTS, dtype="string"),
        pd.Index(TEXTS),
        pl.Series(TEXTS),
        pl.Series(TEXTS, dtype=pl.Categorical),
        pa.array(TEXTS),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
    ],
    ids=lambda column: type(column).__name__,
)
def test_columns_of_every_library_are_lists(column: Any) -> None:
    assert text_list(column) == TEXTS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"query": TEXTS}), r"\(DataFrame\) with 'query', so give the column, such as table\['query'\]"),
        (pd.DataFrame({"id": TEXTS, "text": TEXTS}), r"with 'id', 'text', so give the column, such as table\['id'\]"),
        (pd.DataFrame({0: TEXTS}), r"with 0, so give the column, such as table\[0\]"),
        (pl.DataFrame({"query": TEXTS}), "Queries must be one column; got a table"),
        (pl.DataFrame({"query": TEXTS}).lazy(), "Queries must be one column; got a table"),
        (pa.table({"query": TEXTS}), r"got a table \(Table\)"),
        (pa.RecordBatch.from_pydict({"query": TEXTS}), r"got a table \(RecordBatch\)"),
        ({"query": TEXTS}, r"got a table \(dict\) with 'query'"),
        ("red mug", r"Queries must come as a list; got the single text 'red mug', so write \['red mug'\]"),
        (b"red mug", "got bytes"),
        ({"red mug"}, "got a set, which has no order"),
        (7, "must come as a list of texts; got 7"),
        (None, "must come as a list of texts; got None"),
        (np.array("red mug"), "must come as a list of texts"),
        (np.array([TEXTS]), r"Row 1 of the queries is \['red mug', 'pan', 'cup'\], which is no text"),
        ([["red mug"]], "Row 1 of the queries is"),
        (["a", b"b"], "Row 2 of the queries is b'b', which is no text"),
        (["a", None], "Row 2 of the queries is null"),
        (["a", float("nan")], "Row 2 of the queries is null"),
        (pd.Series(["a", pd.NA], dtype="string"), "Row 2 of the queries is <NA>"),
        (["a", " "], "Row 2 of the queries is empty"),
        (["mug \ud83d"], "Row 1 of the queries is not valid Unicode"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Determining the column names")  # of a lazy frame
def test_what_is_no_column_of_texts_is_refused(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        text_list(given)


def test_empty_texts_may_be_allowed() -> None:
    assert text_list(["", " "], empty=True) == ["", " "]
    assert text_list([]) == []
    with pytest.raises(DataError, match="Row 1 of the titles is null"):
        text_list([None], "titles", empty=True)
