from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from omnifeat.data.files import TableWriter, as_table, like_input
from omnifeat.errors import DataError, SettingError

COLUMNS = {"id": ["a", "b"], "pinsage": [[1.0, 2.0], None], "n": [1, 2]}
TABLE = pa.table({"id": ["a", "b"], "pinsage": pa.array([[1, 2], None], pa.list_(pa.float32(), 2)), "n": [1, 2]})


def test_every_kind_becomes_the_same_table(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.jsonl", TABLE.schema) as writer:
        writer.write(TABLE)
    frame = pd.DataFrame(COLUMNS, index=[7, 3])
    kinds = [COLUMNS, TABLE, TABLE.to_batches()[0], frame, pl.DataFrame(COLUMNS), tmp_path / "t.jsonl"]
    for kind in [*kinds, str(tmp_path / "t.jsonl")]:
        assert as_table(kind).equals(TABLE), type(kind)


def test_categories_and_arrays() -> None:
    frame = pd.DataFrame({"id": pd.Categorical(["x", "y", "x"]), "pinsage": [np.ones(2), np.zeros(2), None]})
    table = as_table(frame)
    assert table.schema.types == [pa.string(), pa.list_(pa.float32(), 2)]
    assert table["id"].to_pylist() == ["x", "y", "x"]
    assert as_table(pl.DataFrame({"id": ["x"]}, schema={"id": pl.Categorical})).schema.types == [pa.string()]


def test_what_is_no_table() -> None:
    with pytest.raises(SettingError, match="not list"):
        as_table([1, 2])
    with pytest.raises(DataError, match="cannot be brought to Arrow"):
        as_table({"id": ["a"], "n": [1, 2]})
    with pytest.raises(DataError, match="a column named 0: column names must be text"):
        as_table(pd.DataFrame([[1]]))
    with pytest.raises(DataError, match="the table, column 'pinsage', row 2: the vector has 3 numbers"):
        as_table({"pinsage": [[1.0, 2.0], [1.0, 2.0, 3.0]]})
    with pytest.raises(DataError, match="column 'pinsage', row 1: the vector holds a number that is NaN"):
        as_table({"pinsage": [[1.0, float("nan")]]})


def test_results_come_in_the_library_of_the_input() -> None:
    result = TABLE.append_column("cosine", pa.array([0.5, None], pa.float32()))
    frame = pd.DataFrame(COLUMNS | {"id": pd.Categorical(["a", "b"])}, index=["r7", "r3"])
    back = like_input(result, frame)
    assert list(back.index) == ["r7", "r3"]
    assert isinstance(back["id"].dtype, pd.CategoricalDtype)
    assert back["cosine"].isna().tolist() == [False, True]
    assert isinstance(like_input(result, pl.DataFrame(COLUMNS)), pl.DataFrame)
    assert like_input(result, pl.DataFrame(COLUMNS))["cosine"].to_list() == [0.5, None]
    assert like_input(result, TABLE) is result
    assert like_input(result, "path.csv") is result
    with pytest.raises(DataError, match="the result has 2 rows, but the DataFrame it belongs to has 1"):
        like_input(result, frame.head(1))
    # an index with repeats cannot be aligned by, only laid over
    twice = pd.DataFrame(COLUMNS, index=[1, 1])
    assert like_input(result, twice)["id"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "values",
    [np.array([1 + 2j]), [2**70], [3, object()], np.array([1.5], dtype=np.longdouble)],
)
def test_columns_that_arrow_does_not_know_are_named(values: object) -> None:
    frame = pd.DataFrame({"id": ["a"] * len(values), "odd": values})
    with pytest.raises(DataError, match="column 'odd'"):
        as_table(frame)


def test_sparse_columns_are_read() -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "x": pd.arrays.SparseArray([0, 1])})
    assert as_table(frame)["x"].to_pylist() == [0, 1]


def test_polars_objects_are_refused_and_categories_stay() -> None:
    frame = pl.DataFrame(
        {"id": ["a"], "c": pl.Series(["x"], dtype=pl.Categorical), "e": pl.Series(["x"], dtype=pl.Enum(["x"]))}
    )
    assert like_input(as_table(frame).append_column("n", pa.array([1])), frame).schema == {
        **frame.schema,
        "n": pl.Int64(),
    }
    with pytest.raises(DataError, match="column 'o' holds Python objects"):
        as_table(frame.with_columns(pl.Series("o", [object()], dtype=pl.Object)))


def test_ids_of_any_library_are_text() -> None:
    for values in (
        [1, 2],
        [1.0, 2.0],
        pd.array([1, 2], dtype="Int64"),
        pd.Categorical([1, 2]),
        np.array([1, 2], np.uint8),
    ):
        assert as_table(pd.DataFrame({"entity_id": values}))["entity_id"].to_pylist() == ["1", "2"]
    assert as_table(pd.DataFrame({"entity_id": [1.0, None]}))["entity_id"].to_pylist() == ["1", None]
    for values in ([1.5], [1e16]):
        with pytest.raises(DataError, match="column 'entity_id', row 1"):
            as_table(pd.DataFrame({"entity_id": values}))


@pytest.mark.parametrize("make", [dict, partial(pd.DataFrame, dtype=object)])
@pytest.mark.parametrize("values", [["red", "half \ud83d"], [["red"], ["a", "\udc00"]]])
def test_half_a_surrogate_pair_is_named_by_its_row(make: Callable[[Any], Any], values: list[Any]) -> None:
    with pytest.raises(DataError, match="the table, column 'title', row 2 holds half a surrogate pair, .*correct the"):
        as_table(make({"id": ["a", "b"], "title": values}))
