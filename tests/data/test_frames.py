from pathlib import Path

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
