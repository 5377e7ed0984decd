import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit
from omnifeat.frozen import FrozenEncoder
from tests.commands import omnifeat, refused

KINDS = {"owl": "birds", "duck": "birds", "shark": "fish", "trout": "fish", "bread": "food", "plum": "food"}


class LetterEncoder:
    """Stands in for a frozen encoder: counts of letters, unit length."""

    fingerprint = "aaaa"

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float)
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", lambda path, **options: LetterEncoder())
    rows = [(f"{word} {suffix}", kind) for word, kind in KINDS.items() for suffix in ("a", "b", "c", "d", "e", "f")]
    info = DatasetInfo(
        name="tiny", source="made by hand", licence="CC0", created_by="test", split=HashSplit(development=0.1, test=0.3)
    )
    with DatasetWriter(tmp_path / "data", info) as writer:
        writer.write(
            "interests",
            pa.table(
                {
                    "interest_id": ["animals", "birds", "fish", "food"],
                    "name": ["Animals", "Birds", "Fish", "Food"],
                    "parent_id": pa.array([None, "animals", "animals", None], pa.string()),
                    "level": pa.array([1, 2, 2, 1], pa.int32()),
                }
            ),
        )
        queries, interests = zip(*rows, strict=True)
        writer.write("query_interests", pa.table({"query": queries, "interest_id": interests}))
    return tmp_path


@pytest.fixture
def classifier(folder: Path) -> Path:
    done = omnifeat("classify", "train", folder / "data", "-e", "encoder", "-o", folder / "classifier")
    assert done.exit_code == 0, done.output
    return folder / "classifier"


def test_evaluate_reports_each_level(folder: Path, classifier: Path) -> None:
    arguments = ["classify", "evaluate", folder / "data", "-c", classifier, "-e", "encoder", "-o", folder / "figures"]
    done = omnifeat(*arguments)
    assert done.exit_code == 0, done.output
    result = json.loads((folder / "figures" / "results.json").read_text())
    assert [level["interests"] for level in result["levels"]] == [2, 2]
    for level in result["levels"]:
        assert level["accuracy"]["value"] > 0.8
        assert level["accuracy"]["low"] <= level["accuracy"]["value"] <= level["accuracy"]["high"]
        assert level["commonest"]["value"] < 0.9
    assert result["levels"][1]["queries"] < result["levels"][0]["queries"]
    assert (folder / "figures" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    as_json = json.loads(omnifeat(*arguments, "--overwrite", "--json").stdout)
    assert as_json == result


@pytest.mark.parametrize(
    ("learned", "measured", "said"),
    [
        ("train", "test", None),
        ("train", "train", "trained on part train"),
        ("train", "all", "trained on part train"),
        ("all", "test", "trained on part all"),
        ("test", "test", "trained on part test"),
    ],
)
def test_a_classifier_measured_on_what_it_learned_from_says_so(
    learned: str, measured: str, said: str | None, folder: Path
) -> None:
    one = ("-c", folder / "new", "-e", "encoder")
    trained = omnifeat("classify", "train", folder / "data", "-e", "encoder", "-o", folder / "new", "--part", learned)
    assert trained.exit_code == 0, trained.output
    done = omnifeat("classify", "evaluate", folder / "data", *one, "--part", measured, "--resamples", 0, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["learned_from_this_part"] == said
    assert ("warning: the classifier learned from queries" in done.stderr) is (said is not None)


def test_predict_keeps_rows_and_leaves_blank_queries_null(folder: Path, classifier: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2, 3, 4], "query": ["owl x", None, " ", "plum"]})
    frame.to_parquet(folder / "queries.parquet", index=False)
    arguments = ["classify", "predict", folder / "queries.parquet", "-c", classifier, "-e", "encoder", "-o"]
    done = omnifeat(*arguments, folder / "out.parquet", "--json")
    assert json.loads(done.stdout)["unclassified"] == 2
    found = pq.read_table(folder / "out.parquet")
    assert found["n"].to_pylist() == [1, 2, 3, 4]
    assert found["interest_0"].to_pylist() == ["animals", None, None, "food"]
    assert found["interest_1"].to_pylist() == ["birds", None, None, None]
    assert found["probability_1"][0].as_py() <= found["probability_0"][0].as_py()
    refused(omnifeat(*arguments, folder / "strict.parquet", "--strict"), "Row 1 of", "queries.parquet")
    assert not (folder / "strict.parquet").exists()


def test_bad_input_is_one_sentence(folder: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, new = folder / "data", folder / "new"
    refused(omnifeat("classify", "train", folder / "absent", "-e", "encoder", "-o", new), "absent")
    refused(omnifeat("classify", "train", data, "-e", "encoder", "-o", classifier), "exists already")
    refused(omnifeat("classify", "train", data, "-e", "encoder", "-o", new, "--part", "half"), "no part 'half'")
    refused(omnifeat("classify", "evaluate", data, "-c", folder / "none", "-e", "encoder"), "no classifier folder")
    pd.DataFrame({"text": ["owl"]}).to_csv(folder / "queries.csv", index=False)
    predict = [
        "classify",
        "predict",
        folder / "queries.csv",
        "-c",
        classifier,
        "-e",
        "encoder",
        "-o",
        folder / "new.csv",
    ]
    refused(omnifeat(*predict), "queries.csv", "no column 'query'", "text")
    monkeypatch.setattr(LetterEncoder, "fingerprint", "bbbb")
    refused(omnifeat(*predict, "--query-column", "text"), "aaaa", "bbbb")
    assert not list(folder.glob("*new*"))
