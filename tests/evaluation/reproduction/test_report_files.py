"""What is written: all of it or nothing, and the same bytes again."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from evaluation.reproduction import report
from evaluation.reproduction.report import write_report
from evaluation.reproduction.results import StudyResults
from omnifeat.errors import DataError, OutputError
from tests.evaluation.reproduction.studies import bare, whole


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_files_are_the_same_again_even_from_the_record(tmp_path: Path) -> None:
    written = write_report(whole(), tmp_path / "one")
    whole().save(tmp_path / "results.json")
    with mpl.rc_context({"font.size": 22, "svg.fonttype": "path", "axes.facecolor": "red"}):
        write_report(StudyResults.load(tmp_path / "results.json"), tmp_path / "two")
        assert mpl.rcParams["font.size"] == 22
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    assert sorted(written) == sorted(path for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"report.html", "report.md", "images"}


def test_a_folder_keeps_what_else_it_holds_and_old_pictures_go(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "old.svg").write_text("old", encoding="utf-8")
    write_report(whole(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "report.html", "report.md", "images"}
    assert not (tmp_path / "images" / "old.svg").exists()
    write_report(bare(), tmp_path)
    assert list((tmp_path / "images").iterdir()) == []


def test_a_report_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(bare(), tmp_path / "there")
    before = _bytes(tmp_path / "there")

    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device", str(arguments[0]))

    monkeypatch.setattr(report, "_pictures", refuse)
    for folder in (tmp_path / "new", tmp_path / "there"):
        with pytest.raises(OutputError, match="no space is left on the disk"):
            write_report(whole(), folder)
    assert {path.name for path in tmp_path.iterdir()} == {"there"}
    assert _bytes(tmp_path / "there") == before


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="a file stands where a folder must be"):
        write_report(bare(), tmp_path / "file" / "report")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("histograms", {"edges": [-1.0, 1.0]}, "2 edges do not fit 3 shares of positives and 3 of random entities"),
        ("histograms", {"random": [1.0]}, "4 edges do not fit 3 shares of positives and 1 of random entities"),
        ("histograms", {"edges": [], "positive": [], "random": []}, "0 edges do not fit"),
        ("corpus_curves", {"sizes": [1000]}, "1 sizes do not fit 2 figures"),
        ("corpus_curves", {"recall": []}, "2 sizes do not fit 0 figures"),
    ],
)
def test_lists_of_a_record_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "results.json"
    record = json.loads(whole().model_dump_json())
    record[name][0] |= change
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=rf"{name}\.0 is wrong .*{message}") as caught:
        StudyResults.load(path)
    assert "\n" not in str(caught.value)
