from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.data.validate import validate
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.qrels import import_qrels


def _qrels(tmp_path: Path, content: str = "q1 0 d1 2\nq1 0 d2 -1\nq2 0 d1 1\n") -> Path:
    (tmp_path / "qrels.txt").write_text(content)
    return tmp_path / "qrels.txt"


def _topics(tmp_path: Path, content: str = "q1\tred mug\nq2\tpan\nq3\tcup\n") -> Path:
    (tmp_path / "topics.tsv").write_text(content)
    return tmp_path / "topics.tsv"


def test_qrels_with_their_topics_become_judgments(tmp_path: Path) -> None:
    call = ["import", "qrels", str(_qrels(tmp_path)), "-o", str(tmp_path / "out"), "--topics", str(_topics(tmp_path))]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.read("judgments").to_pylist() == [
        {"query": "red mug", "entity_id": "d1", "entity_type": "product", "grade": 2.0, "query_id": "q1"},
        {"query": "red mug", "entity_id": "d2", "entity_type": "product", "grade": 0.0, "query_id": "q1"},
        {"query": "pan", "entity_id": "d1", "entity_type": "product", "grade": 1.0, "query_id": "q2"},
    ]
    assert dataset.read("queries")["query"].to_pylist() == ["red mug", "pan"]
    assert dataset.info.notes == [
        "Grades below 0 in 1 judgments became 0.",
        "1 topics have no judgment and were left out.",
    ]
    assert validate(tmp_path / "out") is not None


def test_without_topics_a_querys_text_is_its_id_and_that_is_told(tmp_path: Path) -> None:
    result = import_qrels(_qrels(tmp_path), tmp_path / "out", entity_type="pin")
    assert Dataset.open(tmp_path / "out").read("judgments")["query"].to_pylist() == ["q1", "q1", "q2"]
    assert any("No topics were given" in note for note in result.notes)


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ("q1\tred mug\n", "judges the query 'q2', which .* lacks"),
        ("q1\tmug\nq2\t mug \n", "The topics 'q1' and 'q2' in .* have one text, 'mug'"),
        ("q1,red mug\n", "line 1 does not read"),
    ],
)
def test_wrong_topics_are_refused_and_nothing_is_written(tmp_path: Path, topics: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        import_qrels(_qrels(tmp_path), tmp_path / "out", topics=_topics(tmp_path, topics))
    assert not (tmp_path / "out").exists()


def test_an_unknown_entity_type(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Unknown entity type 'thing'"):
        import_qrels(_qrels(tmp_path), tmp_path / "out", entity_type="thing")
