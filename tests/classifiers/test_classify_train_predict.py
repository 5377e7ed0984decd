"""`omnifeat classify taxonomy`, `train` and `predict` with all that they can be asked for."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.fasttext_classifier import FastTextClassifier
from classifiers.interest import InterestClassifier
from omnifeat.data.dataset import DatasetInfo, DatasetWriter
from omnifeat.data.splits import HashSplit
from omnifeat.frozen import FrozenEncoder
from tests import commands
from tests.commands import refused

KINDS = {"owl": "birds", "duck": "birds", "shark": "fish", "trout": "fish", "bread": "food", "plum": "food"}
INTERESTS = {"animals": None, "birds": "animals", "fish": "animals", "food": None, "cars": None}


class LetterEncoder:
    """Stands in for a frozen encoder: counts of letters, unit length."""

    fingerprint = "aaaa"

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], float)
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


omnifeat = partial(commands.omnifeat, "classify")


def write(folder: Path, links: list[tuple[str, str]], parents: dict[str, str | None] = INTERESTS) -> None:
    info = DatasetInfo(
        name="tiny", source="made by hand", licence="CC0", created_by="test", split=HashSplit(development=0.3, test=0.1)
    )
    queries, interests = zip(*links, strict=True)
    with DatasetWriter(folder, info) as writer:
        writer.write(
            "interests",
            pa.table(
                {
                    "interest_id": list(parents),
                    "name": [interest.title() for interest in parents],
                    "parent_id": pa.array(list(parents.values()), pa.string()),
                    "level": pa.array([1 if parent is None else 2 for parent in parents.values()], pa.int64()),
                }
            ),
        )
        writer.write("query_interests", pa.table({"query": queries, "interest_id": interests}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", lambda path, **options: LetterEncoder())
    links = [(f"{word} {one}{two}", kind) for word, kind in KINDS.items() for one in "abc" for two in "defg"]
    write(tmp_path / "data", links)
    both = [(f"{word} bread {one}", kind) for word, kind in KINDS.items() for one in "abcdefgh"]
    write(tmp_path / "several", [*links, *both, *((query, "food") for query, _ in both if "bread" in query)])
    pd.DataFrame({"query": ["owl x", None, "plum", "owl bread"]}).to_parquet(tmp_path / "queries.parquet", index=False)
    return tmp_path


def test_train_says_what_it_chose(folder: Path) -> None:
    arguments = ("train", folder / "data", "-e", "encoder", "-o", folder / "classifier")
    done = omnifeat(*arguments, "--head", "levels", "--precision", "0.9", "--min-support", "3", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["labels"], result["head"], result["classes"], result["unseen"]) == ("one", "levels", [2, 2], 1)
    loaded = InterestClassifier.load(folder / "classifier")
    assert loaded.thresholds_ is not None
    assert loaded.inverse_regularisation_ == result["inverse_regularisation"]
    assert loaded.head_.name == "levels"
    shown = omnifeat(*arguments, "--overwrite", "--inverse-regularisation", "2").stdout
    assert "Inverse regularisation 2\n" in shown
    assert "1 interests have no query, such as 'cars'" in shown
    assert (folder / "classifier" / "classifier.json").exists()


def test_encoders_side_by_side(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class LastLetterEncoder(LetterEncoder):
        fingerprint = "bbbb"

        def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
            return super().encode_queries([text[-1] for text in texts])

    encoders = {"letters": LetterEncoder, "last": LastLetterEncoder}
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", lambda path, **options: encoders[path]())
    both = ("-e", "letters", "-e", "last")
    train = ("train", folder / "data", *both, "-o", folder / "classifier", "--inverse-regularisation", "9", "--json")
    done = omnifeat(*train)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["encoder_fingerprint"] == "aaaa+bbbb"
    loaded = InterestClassifier.load(folder / "classifier")
    assert loaded.n_features_in_ == 52
    predict = ("predict", folder / "queries.parquet", "-c", folder / "classifier", "-o", folder / "out.parquet")
    assert omnifeat(*predict, *both).exit_code == 0
    assert pq.read_table(folder / "out.parquet")["interest_0"].to_pylist()[2] == "food"
    assert omnifeat("evaluate", folder / "data", "-c", folder / "classifier", *both, "--resamples", 0).exit_code == 0
    loaded.set_params(encoder=["letters", LastLetterEncoder()])
    assert loaded.predict(["plum"]) == [("food",)]
    for wrong in (both[:2], (*both[2:], *both[:2])):
        refused(omnifeat(*predict, *wrong, "--overwrite"), "takes embeddings of encoder aaaa+bbbb")


def test_names_of_interests_are_queries_too(folder: Path) -> None:
    arguments = ("train", folder / "data", "-e", "encoder", "--inverse-regularisation", "2", "--json", "-o")
    without = json.loads(omnifeat(*arguments, folder / "without").stdout)
    names = json.loads(omnifeat(*arguments, folder / "names", "--names").stdout)
    assert names["queries"] == without["queries"] + 3  # birds, fish and food; no query ends in animals, none has cars
    assert names["classes"] == without["classes"]


def test_predict_adds_what_is_asked_for(folder: Path) -> None:
    train = ("train", folder / "data", "-e", "encoder", "-o", folder / "classifier", "--inverse-regularisation", "9")
    assert omnifeat(*train).exit_code == 0
    arguments = ("predict", folder / "queries.parquet", "-c", folder / "classifier", "-e", "encoder", "-o")
    done = omnifeat(*arguments, folder / "out.parquet", "--several", "--top", "2", "--nearest", "1")
    assert done.exit_code == 0, done.output
    found = pq.read_table(folder / "out.parquet").to_pylist()
    assert found[0]["interests"] == ["birds"]
    assert found[0]["top_interests"][0] == "birds"
    assert len(found[0]["top_interests"]) == 2
    assert found[0]["top_probabilities"] == sorted(found[0]["top_probabilities"], reverse=True)
    assert found[0]["nearest_queries"][0].startswith("owl ")
    assert all(value is None for value in found[1].values())
    assert found[2]["interest_0"] == "food"


def test_queries_of_several_interests(folder: Path) -> None:
    arguments = ("train", folder / "several", "-e", "encoder", "-o", folder / "classifier", "--json")
    done = omnifeat(*arguments, "--inverse-regularisation", "9")
    assert json.loads(done.stdout)["labels"] == "several"
    predict = ("predict", folder / "queries.parquet", "-c", folder / "classifier", "-e", "encoder", "-o")
    assert omnifeat(*predict, folder / "out.parquet").exit_code == 0
    assert set(pq.read_table(folder / "out.parquet").to_pylist()[3]["interests"]) == {"birds", "food"}
    # As one interest each, a query has a row for each of its own.
    one = json.loads(omnifeat(*arguments, "--overwrite", "--labels", "one", "--inverse-regularisation", "9").stdout)
    assert one["labels"] == "one"
    assert one["rows"] > one["queries"]


def test_thresholds_make_it_abstain(folder: Path) -> None:
    train = ("train", folder / "data", "-e", "encoder", "-o", folder / "classifier", "--inverse-regularisation", "9")
    assert omnifeat(*train).exit_code == 0
    loaded = InterestClassifier.load(folder / "classifier")
    loaded.thresholds_ = np.where(loaded.tree_.levels == 0, 1.1, 0.0)
    loaded.save(folder / "classifier")
    arguments = ("predict", folder / "queries.parquet", "-c", folder / "classifier", "-e", "encoder", "--json", "-o")
    result = json.loads(omnifeat(*arguments, folder / "out.parquet").stdout)
    assert (result["rows"], result["unclassified"], result["abstained"]) == (4, 1, 3)
    result = json.loads(omnifeat(*arguments, folder / "all.parquet", "--no-thresholds").stdout)
    assert result["abstained"] == 0


def test_taxonomy_is_shown_and_drawn(folder: Path) -> None:
    done = omnifeat("taxonomy", folder / "data", "-o", folder / "tree.svg")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:3] == ["Animals (animals)", "├── Birds (birds)", "└── Fish (fish)"]
    assert "5 interests, 4 of them leaves, by level: 3, 2" in done.stdout
    assert (folder / "tree.svg").read_text().count("Birds") >= 1
    result = json.loads(omnifeat("taxonomy", folder / "data", "--json").stdout)
    assert (result["levels"], result["roots"]) == ([3, 2], ["animals", "food", "cars"])


def test_bad_input_is_one_sentence(folder: Path) -> None:
    data, new = folder / "data", folder / "new"
    train = ("-e", "encoder", "-o", new)
    write(folder / "cycle", [("owl", "a")], {"a": "b", "b": "a"})
    refused(omnifeat("train", folder / "cycle", *train), "'a' in row 1 of table interests stands below itself, by 'b'")
    write(folder / "unknown", [("owl", "cats")])
    refused(omnifeat("train", folder / "unknown", "--part", "all", *train), "'cats' is not in table interests")
    refused(omnifeat("train", data, "--strict", *train), "Interest 'cars' of the taxonomy has no query to learn from")
    refused(omnifeat("train", data, "--head", "flat", *train), "'head' setting", "global")
    refused(omnifeat("train", data, "--precision", "2", *train), "--precision must be above 0 and at most 1; got 2")
    refused(omnifeat("train", data, "--precision", "0.9", "--part", "all", *train), "which --part all learns from")
    refused(omnifeat("train", data, "--precision", "0.9", "--min-support", "99", *train), "at least 99 development")
    (folder / "tree.txt").write_text("a > > b\n")
    refused(omnifeat("taxonomy", folder / "tree.txt", "-o", folder / "new.svg"), "Line 1 of tree.txt", "empty name")
    refused(omnifeat("taxonomy", data, "-o", folder / "new.gif"), "new.gif is no .svg or .png")
    assert not list(folder.glob("*new*"))


def test_rows_that_cannot_be_read_are_named(folder: Path) -> None:
    train = ("-e", "encoder", "-o", folder / "new")
    write(folder / "blank", [("owl", "birds"), ("shark", "fish"), (" ", "fish")])
    for part in ("train", "all"):
        said = "Table query_interests has a blank query in row 3"
        refused(omnifeat("train", folder / "blank", "--part", part, *train), said)
    refused(omnifeat("train", folder / "data", "--part", "valid", *train), "'valid'", "train, development, test or all")
    refused(omnifeat("train", folder / "data", *train[:3], folder / "data", "--overwrite"), "something else stands")
    assert (folder / "data" / "dataset.json").exists()
    assert omnifeat("train", folder / "data", *train[:3], folder / "classifier").exit_code == 0
    predict = ("-c", folder / "classifier", "-e", "encoder", "-o", folder / "new.parquet")
    for column, said in (
        ([["owl"]], "must be text"),
        ([b"\xff"], "must be text"),
        ([{"text": "owl"}], "must be text"),
        ([1.5], "row 1: 1.5 is not a whole number"),
    ):
        pq.write_table(pa.table({"query": column}), folder / "odd.parquet")
        refused(omnifeat("predict", folder / "odd.parquet", *predict), "olumn 'query'", said)
    write(folder / "others", [("tram", "trains")] * 3, {"trains": None})
    evaluate = ("evaluate", folder / "others", "-c", folder / "classifier", "-e", "encoder", "--part", "all")
    refused(omnifeat(*evaluate), "None of the 1 queries has an interest that the classifier knows, such as")
    FastTextClassifier(buckets=50, dim=2, epochs=1).fit(["owl", "rye"], [("a",), ("b",)]).save(folder / "texts")
    refused(omnifeat("predict", folder / "queries.parquet", "-c", folder / "texts", *predict[2:]), "kind 'fasttext'")
    assert not list(folder.glob("*new*"))
