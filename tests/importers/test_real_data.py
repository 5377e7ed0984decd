"""The published files themselves, where they are at hand."""

import time
from pathlib import Path

import pytest

from omnifeat.data.dataset import Dataset
from omnifeat.data.validate import validate
from omnifeat.importers import import_clinc150, import_emojibase, import_icecat
from omnifeat.importers.emojibase import held_out_strings


@pytest.fixture(scope="module")
def limit_seconds() -> float:
    return 30.0  # it takes about four on one core; a busy machine may take more


def test_emojibase_in_18_languages(real_data: Path, tmp_path: Path, limit_seconds: float) -> None:
    start = time.monotonic()
    result = import_emojibase(real_data / "emojibase", tmp_path / "emoji")
    assert time.monotonic() - start < limit_seconds
    assert result.counts["pins"] == 1_949
    assert result.counts["interests"] == 10 + 100
    dataset = Dataset.open(tmp_path / "emoji")
    pins = dataset.read("pins")
    assert sum(group is None for group in pins["group"].to_pylist()) == 26
    queries = dataset.read("queries")
    assert {language for row in queries["languages"].to_pylist() for language in row} == {
        "de",
        "en",
        "en-gb",
        "es",
        "fi",
        "fr",
        "hi",
        "hu",
        "it",
        "ja",
        "ko",
        "nl",
        "pl",
        "pt",
        "ru",
        "sv",
        "uk",
        "zh",
    }
    assert dataset.info.split is not None
    parts = dict(
        zip(queries["query"].to_pylist(), dataset.info.split.assign(queries.select(["query"])).to_pylist(), strict=True)
    )
    held_out = {query for query, part in parts.items() if part != "train"}
    assert 0.17 < len(held_out) / len(parts) < 0.23
    assert held_out_strings([*pins["title"].to_pylist(), *pins["description"].to_pylist()], held_out) == []
    assert not held_out.intersection(tag for tags in pins["engaged_queries"].to_pylist() for tag in tags)


def test_icecat(real_data: Path, tmp_path: Path) -> None:
    result = import_icecat(real_data / "icecat", tmp_path / "icecat", raters=True)
    assert result.counts["products"] == 19_406
    # 3,188 pairs have three raters each, the other 480 the agreed rating
    assert result.counts["judgments"] == 3 * 3_188 + 480
    assert "3,668 rated pairs of 135 queries." in result.notes
    queries = Dataset.open(tmp_path / "icecat").read("queries")["query"].to_pylist()
    assert max(len(query.split()) for query in queries) <= 4


def test_clinc150(real_data: Path, tmp_path: Path) -> None:
    result = import_clinc150(real_data / "clinc150", tmp_path / "clinc150")
    # 23,700 utterances; five stand again, four of them with another intent
    assert result.counts == {"queries": 23_695, "interests": 10 + 150, "query_interests": 2 * (22_500 - 5)}
    assert any("train 15,100, val 3,097, test 5,498; 1,200 are out of scope" in note for note in result.notes)
    assert validate(tmp_path / "clinc150").ok
    part = import_clinc150(real_data / "clinc150", tmp_path / "test", part="test", out_of_scope=False)
    assert part.counts == {"queries": 4_500, "interests": 160, "query_interests": 9_000}
