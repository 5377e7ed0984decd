"""The command line: what it writes, what it prints, and one sentence for what is wrong."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.frozen import FrozenEncoder


@pytest.fixture
def with_encoder(monkeypatch: pytest.MonkeyPatch, encoder) -> None:
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", staticmethod(lambda path, **options: encoder))


def evaluate(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.mark.usefixtures("with_encoder")
def test_recall_writes_figures_table_and_picture(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out" / "recall"
    result = evaluate(
        "recall", dataset.path, "--encoder", "any", "--split", "all", "--by", "language", "--k", "1,3", "-o", out,
        "--baselines", "random,bm25-words", "--bootstrap", 20,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["recall.json", "recall.md", "recall.png"]
    written = json.loads((out / "recall.json").read_text())
    assert written["context"] == {
        "dataset": "animals", "encoder": "any", "fingerprint": "f" * 64, "pretrained": None, "corpus_tables": [],
    }  # fmt: skip
    (study,) = written["studies"]
    assert list(study["overall"]["rows"]) == ["random", "bm25-words", "learned"]
    assert study["grouped_by"] == "queries.languages"
    learned = study["overall"]["rows"]["learned"]
    assert learned["differences"] == {"learned": None}
    assert learned["recall"]["3"]["low"] <= learned["recall"]["3"]["value"] <= learned["recall"]["3"]["high"]
    markdown = (out / "recall.md").read_text()
    assert f"| learned | {learned['recall']['1']['value'] * 100:.1f} [" in markdown
    assert "| en | 5 |" in markdown
    assert (out / "recall.png").read_bytes().startswith(b"\x89PNG")
    assert "Recall@1 less learned" in result.stdout
    assert not list(out.parent.glob(".*"))  # nothing left beside


@pytest.mark.usefixtures("with_encoder")
def test_json_on_standard_output_is_what_was_written(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "recall"
    result = evaluate(
        "recall", dataset.path, "--encoder", "e", "--split", "all", "-o", out, "--baselines", "none", "--json",
        "--bootstrap", 0,
    )  # fmt: skip
    printed = json.loads(result.stdout)
    assert list(printed["studies"][0]["overall"]["rows"]) == ["learned"]
    assert printed.pop("files") == [str(out / name) for name in ("recall.json", "recall.md", "recall.png")]
    assert printed == json.loads((out / "recall.json").read_text())


def test_relevance_of_two_columns(dataset: Dataset, tmp_path: Path) -> None:
    # "good" ranks p1 (3) before p5 (1); "bad" puts the irrelevant p2 first. Query "sky": both find p4.
    run = pd.DataFrame(
        {
            "query": ["cats", "cats", "cats", "sky"],
            "entity_id": ["p1", "p5", "p2", "p4"],
            "good": [3.0, 2.0, 1.0, 1.0],
            "bad": [1.0, 2.0, 3.0, None],
        }
    )
    run.to_parquet(tmp_path / "run.parquet")
    out = tmp_path / "relevance"
    result = evaluate(
        "relevance", dataset.path, "--run", tmp_path / "run.parquet", "-o", out, "--by", "country",
        "--measures", "nDCG@10,RR", "--bootstrap", 50,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = json.loads((out / "relevance.json").read_text())
    assert written["queries"] == 2
    assert written["queries_without_positive"] == 1
    assert written["columns"]["good"]["measures"]["nDCG@10"]["value"] == pytest.approx(1)
    # cats: (1 / log2(3) + 3 / log2(4)) / (3 + 1 / log2(3)) = 2.130930 / 3.630930 = 0.586883; sky: 1
    bad = written["columns"]["bad"]
    assert bad["measures"]["nDCG@10"]["value"] == pytest.approx((0.586883 + 1) / 2, abs=1e-5)
    assert bad["difference"]["value"] == pytest.approx((0.586883 + 1) / 2 - 1, abs=1e-5)
    assert bad["unscored_rows"] == 1
    assert written["groups"]["US"]["columns"]["bad"]["value"] == pytest.approx(0.586883, abs=1e-5)
    assert sorted(path.name for path in out.iterdir()) == ["relevance.json", "relevance.md", "relevance.png"]
    assert "nDCG@10 less good" in result.stdout


def test_relevance_takes_measures_with_a_grade_by_name(dataset: Dataset, tmp_path: Path) -> None:
    run = pd.DataFrame({"query": ["cats", "cats", "sky"], "entity_id": ["p5", "p1", "p4"], "score": [2.0, 1.0, 1.0]})
    run.to_csv(tmp_path / "run.csv", index=False)
    out = tmp_path / "out"
    arguments = ("relevance", dataset.path, "--run", tmp_path / "run.csv", "-o", out, "--bootstrap", 0)
    result = evaluate(*arguments, "--measures", "AP, AP(rel=2), P(rel=2)@1,P(rel=3,judged_only=True)@2")
    assert result.exit_code == 0, result.output
    measures = json.loads((out / "relevance.json").read_text())["columns"]["score"]["measures"]
    values = {name: interval["value"] for name, interval in measures.items()}
    # cats: p5 (1) before p1 (3); sky: p4 (2)
    assert values == pytest.approx(
        {"AP": 1, "AP(rel=2)": (1 / 2 + 1) / 2, "P(rel=2)@1": 1 / 2, "P(rel=3,judged_only=True)@2": (1 / 2 + 0) / 2}
    )
    assert "AP(rel=2) %" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("recall", "DATA", "--split", "tst"), "there is no split 'tst'"),
        (("recall", "DATA", "--baselines", "bm26"), "there is no row 'bm26'"),
        (("recall", "DATA", "--baselines", "pretrained"), "needs a pretrained encoder"),
        (("recall", "DATA", "--k", "ten"), "--k must be whole numbers"),
        (("recall", "DATA", "--k", "0"), "k must be 1 or more, got 0"),
        (("recall", "DATA", "--by", "planet", "--split", "all"), "column 'planet'"),
        (("recall", "nowhere"), "nowhere"),
        (("recall", "DATA", "--encoder", "nowhere"), "nowhere"),
        (("recall", "DATA", "--pretrained", "./nowhere"), "./nowhere"),
        (("relevance", "DATA", "--run", "nowhere.parquet"), "nowhere.parquet"),
        (("relevance", "DATA", "--run", "RUN", "--columns", "cosine"), "no column 'cosine'; its columns are query"),
        (("relevance", "DATA", "--run", "RUN", "--reference", "other"), "'other' is not among the score columns score"),
        (("relevance", "DATA", "--run", "RUN", "--measures", "foo@1"), "there is no measure 'foo@1'"),
        (("relevance", "DATA", "--run", "RUN", "--by", "planet"), "planet"),
        (("relevance", "DATA", "--run", "TWICE"), "row 2 of PATH repeats the pair of query 'cats' and entity 'p1'"),
        (("relevance", "DATA", "--run", "STRANGE"), "no query of PATH stands in"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    arguments: tuple[str, ...], said: str, dataset: Dataset, tmp_path: Path
) -> None:
    tables = {"RUN": ["cats"], "TWICE": ["cats", "cats"], "STRANGE": ["chats"]}
    places = {"DATA": str(dataset.path)}
    for name, queries in tables.items():
        places[name] = str(tmp_path / f"{name}.parquet")
        run = pd.DataFrame({"query": queries, "entity_id": "p1", "score": 1.0})
        run.to_parquet(places[name])
    out = tmp_path / "out"
    result = evaluate(*(places.get(argument, argument) for argument in arguments), "-o", out)
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if not line.startswith("measuring ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert said.replace("PATH", places.get(arguments[-1], "")) in errors[0]
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_full_folder_is_kept(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    arguments = ("recall", dataset.path, "--split", "all", "--baselines", "random", "--bootstrap", 0, "-o", tmp_path)
    result = evaluate(*arguments)
    assert result.exit_code == 2
    assert "is not empty; give --overwrite to replace it" in result.stderr
    assert (tmp_path / "mine.txt").exists()
    out = tmp_path / "out"
    for expected, extra in ((0, ()), (2, ()), (0, ("--overwrite",))):
        assert evaluate(*arguments[:-1], out, *extra).exit_code == expected
