"""Section 5.4 in a study: a comparison of classifiers as a record of the study's results."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.interests.comparison import ComparisonSettings, compare
from evaluation.interests.report import write_comparison
from evaluation.interests.systems import OURS, Choice, Examples
from evaluation.reproduction.interests import interest_section, read_comparison
from evaluation.reproduction.report_markdown import markdown_report
from evaluation.reproduction.results import StudyResults
from omnifeat.errors import DataError
from tests.evaluation.reproduction.studies import whole

PATHS = [("food", "soup"), ("food", "cake"), ("home", "lamp"), ("home", "sofa")]


def examples(count: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    of = rng.integers(0, len(PATHS), count)
    vectors = np.eye(8, dtype=np.float32)[of] + rng.normal(scale=0.3, size=(count, 8)).astype(np.float32)
    return Examples(tuple(f"q{seed} {row}" for row in range(count)), tuple((PATHS[one],) for one in of),
                    {"vectors": vectors.astype(np.float32)})  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    systems = (OURS, "embedding-logistic")
    settings = ComparisonSettings(systems=systems, reference="embedding-logistic", curve_levels=(), resamples=50)
    found = compare(
        examples(80, 0), examples(40, 1), examples(40, 2), settings, Choice(ours={"inverse_regularisation": 1.0})
    )
    out: Path = tmp_path_factory.mktemp("interests") / "out"
    write_comparison(out, {"about": {"dataset": "invented", "encoder": "f" * 64}, **found})
    return out


def test_the_section_tells_what_the_comparison_found(folder: Path) -> None:
    found = read_comparison(folder)
    section = interest_section(found, {"f" * 64, "0" * 64})
    assert section.table is not None
    assert [column.key for column in section.table.columns] == ["0", "1", "mean"]
    ours, other = section.table.rows
    for level in (0, 1):
        told = found["levels"][level]
        cell = ours.cells[str(level)]
        assert cell.ours.value == told["systems"][OURS]["precision_at_coverage_1"]["value"]
        assert cell.difference is not None
        assert cell.difference.value == told["gains"][OURS]["precision_at_coverage_1"]["value"]
        assert cell.queries == 40
    mean = ours.cells["mean"]
    assert mean.ours.value == pytest.approx((ours.cells["0"].ours.value + ours.cells["1"].ours.value) / 2)
    assert mean.paper_relative is None  # the paper's is over FastText
    assert all(cell.difference is None for cell in other.cells.values())
    assert "80 to learn from, 40 to choose settings by, 40 to measure on" in section.paragraphs[0]


def test_the_report_holds_the_section(folder: Path) -> None:
    section = interest_section(read_comparison(folder), {"f" * 64})
    results: StudyResults = whole().model_copy(update={"sections": [section]})
    text, _ = markdown_report(results)
    assert "## Classification of queries (section 5.4)" in text
    assert "mean of the levels" in text


def test_the_paper_is_named_over_fasttext_alone(folder: Path) -> None:
    found: dict[str, Any] = json.loads(
        (folder / "comparison.json").read_text().replace("embedding-logistic", "fasttext")
    )
    table = interest_section(found, {"f" * 64}).table
    assert table is not None
    assert table.rows[0].cells["mean"].paper_relative == 0.3
    assert table.rows[0].cells["0"].paper_relative is None


def test_the_study_s_encoder_may_stand_beside_others(folder: Path) -> None:
    found = read_comparison(folder)
    beside = found | {"about": {"dataset": "invented", "encoder": f"{'f' * 64}+{'1' * 64}"}}
    assert "stand beside those of 1 more" in interest_section(beside, {"f" * 64}).paragraphs[0]
    assert "beside" not in interest_section(found, {"f" * 64}).paragraphs[0]


def test_what_is_wrong_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is of the encoder ffffffffffff…, the study's is 000000000000…; run"):
        interest_section(read_comparison(folder), {"0" * 64})
    with pytest.raises(DataError, match=r"holds no comparison\.json"):
        read_comparison(tmp_path)
    (tmp_path / "comparison.json").write_text("{}")
    with pytest.raises(DataError, match="is no comparison of classifiers"):
        read_comparison(tmp_path)
    whole_of = json.loads((folder / "comparison.json").read_text())
    for part in ({"averages": []}, {"levels": [1]}, {"systems": [["fasttext"]]}, {"sizes": {}}):
        (tmp_path / "comparison.json").write_text(json.dumps(whole_of | part))
        with pytest.raises(DataError, match="is no comparison of classifiers"):
            read_comparison(tmp_path)
    (tmp_path / "comparison.json").write_text("[")
    with pytest.raises(DataError, match="is no comparison of classifiers"):
        read_comparison(tmp_path)
