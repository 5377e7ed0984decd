"""Scores by models that never saw the query, and the picture of a calibration."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from omnifeat.errors import DataError, SettingError
from ranking.calibration_picture import save_calibration
from ranking.cross_validation import query_folds
from ranking.out_of_fold import out_of_fold
from ranking.probability_metrics import calibration_curve
from ranking.relevance import RelevanceModel
from ranking.relevance_metrics import spearman


def rows() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=300), "b": rng.normal(size=300)})
    grades = np.clip(np.round(table["a"] + rng.normal(size=300)), 0, 2).astype(int).to_numpy()
    return table, grades, np.array([f"q{n}" for n in rng.integers(30, size=300)])


MODEL = RelevanceModel(n_estimators=20, threads=1, min_child_samples=2, learning_rate=0.3)


def test_each_row_is_scored_by_the_other_folds() -> None:
    table, grades, queries = rows()
    found = out_of_fold(MODEL, table, grades, query_ids=queries, folds=3, seed=4)
    fold = query_folds(queries, 300, folds=3, seed=4)
    one = RelevanceModel(**MODEL.get_params()).fit(table[fold != 1], grades[fold != 1], query_ids=queries[fold != 1])
    np.testing.assert_array_equal(found[fold == 1], one.predict(table[fold == 1]))
    # who learnt the rows is surer of them than who did not
    own = RelevanceModel(**MODEL.get_params()).fit(table, grades, query_ids=queries).predict(table)
    assert spearman(own, grades) > spearman(found, grades) > 0.3
    assert not hasattr(MODEL, "boosters_")
    arrow = out_of_fold(
        MODEL, pa.Table.from_pandas(table), pa.array(grades), query_ids=pa.array(queries), folds=3, seed=4
    )
    np.testing.assert_array_equal(arrow, found)


def test_what_cannot_be_cut_is_named() -> None:
    table, grades, queries = rows()
    with pytest.raises(SettingError, match="30 queries for 31 folds"):
        out_of_fold(MODEL, table, grades, query_ids=queries, folds=31)
    with pytest.raises(DataError, match="one label for each of the 300 rows"):
        out_of_fold(MODEL, table, grades[1:], query_ids=queries)


def test_a_calibration_is_drawn(tmp_path: Path) -> None:
    said = np.linspace(0, 1, 200)
    curve = calibration_curve(said, said > 0.4)
    assert save_calibration(tmp_path / "a.png", curve).read_bytes().startswith(b"\x89PNG")
    one = save_calibration(tmp_path / "b.png", calibration_curve([0.0], [0]))
    assert one.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == save_calibration(tmp_path / "c.png", curve).read_bytes()
