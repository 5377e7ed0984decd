import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnifeat.data.dataset import Dataset

Imported = Callable[..., tuple[dict[str, Any], Dataset]]
Refused = Callable[..., str]

DOMAINS = {"banking": ["transfer", "pay_bill"], "travel": ["book_flight"]}
DATA: dict[str, list[Any]] = {
    "oos_val": [["how tall is  a giraffe", "oos"]],
    "val": [["pay the bill", "pay_bill"], ["move money", "pay_bill"]],
    "train": [["move money", "transfer"], ["fly to rome", "book_flight"], ["pay the bill", "pay_bill"]],
    "oos_test": [["a show on broadway", "oos"]],
    "test": [["réserve un vol", "book_flight"]],
    "oos_train": [],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "clinc150"
    folder.mkdir()
    (folder / "data_full.json").write_text(json.dumps(DATA))
    (folder / "domains.json").write_text(json.dumps(DOMAINS))
    return folder


def test_tables(source: Path, imported: Imported) -> None:
    result, dataset = imported("clinc150", source)
    queries = {row["query"]: row for row in dataset.read("queries").to_pylist()}
    assert list(queries) == [
        "move money", "fly to rome", "pay the bill", "réserve un vol", "how tall is a giraffe", "a show on broadway"
    ]  # fmt: skip
    assert queries["pay the bill"] == {
        "query": "pay the bill", "language": "en", "interests": ["banking", "banking/pay_bill"],
        "published_split": "train", "out_of_scope": False,
    }  # fmt: skip
    oos = queries["a show on broadway"]
    assert (oos["interests"], oos["published_split"], oos["out_of_scope"]) == ([], "test", True)
    interests = [tuple(row.values()) for row in dataset.read("interests").to_pylist()]
    assert interests == [
        ("banking", "banking", None, 1), ("travel", "travel", None, 1), ("banking/transfer", "transfer", "banking", 2),
        ("banking/pay_bill", "pay bill", "banking", 2), ("travel/book_flight", "book flight", "travel", 2),
    ]  # fmt: skip
    links = [tuple(row.values()) for row in dataset.read("query_interests").to_pylist()]
    assert links[:2] == [("move money", "banking"), ("move money", "banking/transfer")]
    assert len(links) == 2 * 4
    assert "1 utterances that stand again with the same intent were left out." in result["notes"]
    assert any(
        "1 utterances that stand again with another intent" in n and "'move money'" in n for n in result["notes"]
    )
    assert dataset.info.split is not None


def test_a_published_part(source: Path, imported: Imported) -> None:
    _, dataset = imported("clinc150", source, "--part", "val")
    assert dataset.read("queries")["query"].to_pylist() == ["pay the bill", "move money", "how tall is a giraffe"]
    assert dataset.info.split is None
    result, dataset = imported("clinc150", source, "--part", "test", "--in-scope", out="scoped")
    assert dataset.read("queries")["query"].to_pylist() == ["réserve un vol"]
    assert "1 utterances out of scope were left out, as asked." in result["notes"]


@pytest.mark.parametrize(
    ("file", "value", "said"),
    [
        ("domains.json", [], "must map domains"),
        ("domains.json", {"banking": "transfer"}, "the domain 'banking' must name a list"),
        ("domains.json", {**DOMAINS, "more": ["transfer"]}, "the intent 'transfer' stands twice"),
        ("data_full.json", [], "must be an object of lists but is a list"),
        ("data_full.json", {"train": []}, "has no list 'val' (it has: train)"),
        ("data_full.json", {**DATA, "dev": []}, "has a list 'dev' that is not known"),
        ("data_full.json", {**DATA, "test": {}}, "'test' must be a list"),
        ("data_full.json", {**DATA, "test": [["a"]]}, "'test', record 1 must be a text and its intent but is ['a']"),
        ("data_full.json", {**DATA, "test": [[" ", "transfer"]]}, "'test', record 1: the text is empty"),
        ("data_full.json", {**DATA, "test": [["a", "dance"]]}, "the intent 'dance' is in no domain"),
        ("data_full.json", {name: [] for name in DATA}, "holds no utterance"),
    ],
)
def test_bad_files(source: Path, refused: Refused, file: str, value: object, said: str) -> None:
    (source / file).write_text(json.dumps(value))
    assert said in refused("clinc150", source)


def test_other_bad_input(source: Path, refused: Refused) -> None:
    assert "Unknown part 'dev'; choose one of: train, val, test, all." in refused("clinc150", source, "--part", "dev")
    (source / "data_full.json").write_bytes(b'{"train": "\xff"}')
    assert "not UTF-8" in refused("clinc150", source)
    (source / "data_full.json").write_text('{"train": ' + "9" * 5_000 + "}")
    assert "holds a number that is too long" in refused("clinc150", source)
    (source / "data_full.json").write_text("{")
    assert "not valid JSON" in refused("clinc150", source)
    (source / "data_full.json").unlink()
    assert "data_full.json does not exist" in refused("clinc150", source)
    assert "does not exist" in refused("clinc150", source / "missing")
