"""The LightGBM project's own example, where a user names its folder; its files' reader on a small one by hand."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from omnifeat.errors import DataError

SCRIPT = Path(__file__).parents[2] / "scripts" / "study_lambdarank_example.py"
EXAMPLE = os.environ.get("LIGHTGBM_LAMBDARANK_EXAMPLE")


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_lambdarank_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(EXAMPLE is None, reason="LIGHTGBM_LAMBDARANK_EXAMPLE does not name the example's folder")
def test_the_example_reaches_its_own_thresholds(study: ModuleType) -> None:
    found = study.figures(Path(str(EXAMPLE)))
    assert found[1] > 0.567
    assert found[3] > 0.578


def test_files_are_read_and_checked(study: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "rank.train").write_text("2 1:0.5 3:1\n0 2:4\n1 1:1\n")
    with pytest.raises(DataError, match=r"no file .*rank\.train\.query"):
        study.read_part(tmp_path, "train")
    (tmp_path / "rank.train.query").write_text("2\n1\n")
    values, grades, queries = study.read_part(tmp_path, "train")
    assert values.tolist() == [[0.5, 0, 1], [0, 4, 0], [1, 0, 0]]
    assert (grades.tolist(), queries.tolist()) == ([2, 0, 1], [0, 0, 1])
    (tmp_path / "rank.train.query").write_text("2\n2\n")
    with pytest.raises(DataError, match="counts 4 rows, but .* has 3"):
        study.read_part(tmp_path, "train")
