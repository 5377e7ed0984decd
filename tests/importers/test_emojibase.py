import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, SettingError
from omnifeat.importers.emojibase import held_out_strings, import_emojibase, known_languages

Record = dict[str, Any]
Write = Callable[[dict[str, list[Record]]], Path]


@pytest.fixture
def published(emojibase_source: Path) -> dict[str, list[Record]]:
    from omnifeat.importers.sources import read_json_records

    return {
        language: copy.deepcopy(read_json_records(emojibase_source / language / "data.json.gz"))
        for language in ("en", "fr", "ja")
    }


def _parts(dataset: Dataset) -> dict[str, str]:
    queries = dataset.read("queries").select(["query"])
    assert dataset.info.split is not None
    return dict(zip(queries["query"].to_pylist(), dataset.info.split.assign(queries).to_pylist(), strict=True))


def test_pins_with_nothing_held_out(emojibase_source: Path, tmp_path: Path) -> None:
    import_emojibase(emojibase_source, tmp_path / "out", test=0, development=0)
    pins = {row["id"]: row for row in Dataset.open(tmp_path / "out").read("pins").to_pylist()}
    assert list(pins) == ["1F1E6", "1F600", "2764-FE0F", "1F44B"]
    assert pins["1F600"] == {
        "id": "1F600",
        "title": "grinning face",
        "description": "visage rieur; にっこり笑う",
        # " smile " and "smile" are one; "face" stands in two languages and once here
        "engaged_queries": ["face", "grin", "smile", "rire", "顔", "笑顔"],
        "emoji": "😀",
        "group": "smileys-emotion",
        "subgroup": "face-smiling",
        "language": "en",
    }
    assert pins["2764-FE0F"]["engaged_queries"][-1] == "ラブ"  # half-width in the source
    assert pins["1F1E6"]["engaged_queries"] == []
    assert (pins["1F1E6"]["group"], pins["1F1E6"]["subgroup"]) == (None, None)


def test_queries_engagements_and_interests(emojibase_source: Path, tmp_path: Path) -> None:
    result = import_emojibase(emojibase_source, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    queries = {row["query"]: row for row in dataset.read("queries").to_pylist()}
    assert queries["hello"]["language"] == "en"
    assert queries["hello"]["languages"] == ["en", "fr"]
    assert queries["hello"]["interests"] == ["people-body", "people-body/hand-fingers-open"]
    assert queries["顔"]["languages"] == ["ja"]
    engagements = dataset.read("engagements").to_pylist()
    pairs = [(row["query"], row["entity_id"]) for row in engagements]
    assert len(pairs) == len(set(pairs)) == result.counts["engagements"]
    hello = next(row for row in engagements if row["query"] == "hello")
    assert (hello["entity_id"], hello["entity_type"], hello["action"]) == ("1F44B", "pin", "click")
    assert hello["languages"] == ["en", "fr"]
    assert ("ac", "1F44B") in pairs
    interests = {row["interest_id"]: row for row in dataset.read("interests").to_pylist()}
    assert interests["smileys-emotion/heart"] == {
        "interest_id": "smileys-emotion/heart",
        "name": "heart",
        "parent_id": "smileys-emotion",
        "level": 2,
    }
    assert interests["smileys-emotion"]["parent_id"] is None
    rows = {tuple(row.values()) for row in dataset.read("query_interests").to_pylist()}
    assert {interest for query, interest in rows if query == "love"} == {"smileys-emotion", "smileys-emotion/heart"}


@pytest.mark.parametrize("salt", ["", "a", "b", "c", "d", "e"])
def test_no_held_out_string_stands_in_the_input(emojibase_source: Path, tmp_path: Path, salt: str) -> None:
    import_emojibase(emojibase_source, tmp_path / "out", test=0.3, development=0.3, salt=salt)
    dataset = Dataset.open(tmp_path / "out")
    parts = _parts(dataset)
    held_out = {query for query, part in parts.items() if part != "train"}
    assert held_out
    for row in dataset.read("pins").to_pylist():
        assert not held_out.intersection(row["engaged_queries"])
        assert held_out_strings([row["title"], row["description"]], held_out) == []
    # "bonjour" is a label and a tag: it stands in the description exactly where it is a training string
    waving = next(row for row in dataset.read("pins").to_pylist() if row["id"] == "1F44B")
    assert ("bonjour" in waving["description"]) == (parts["bonjour"] == "train")


def test_a_held_out_label_is_left_out_of_the_title(
    write_emojibase: Write, published: dict[str, list[Record]], tmp_path: Path
) -> None:
    published["fr"][0]["tags"].append("Red  HEART")  # the English title, as a French tag
    source = write_emojibase(published)
    seen = set()
    for salt in "abcdefgh":
        out = tmp_path / f"out-{salt}"
        result = import_emojibase(source, out, test=0.4, development=0.1, salt=salt)
        dataset = Dataset.open(out)
        part = _parts(dataset)["red heart"]
        heart = next(row for row in dataset.read("pins").to_pylist() if row["id"] == "2764-FE0F")
        assert heart["title"] == ("red heart" if part == "train" else None)
        if part != "train":
            assert not any(note.startswith("0 labels") for note in result.notes)
        seen.add(part == "train")
    assert seen == {True, False}  # both cases came up


def test_a_planted_string_is_caught() -> None:
    held_out = {"smile", "red heart"}
    clean = ["grinning face", None, "visage rieur; cœur", "a smile on a face"]
    assert held_out_strings(clean, held_out) == []
    assert held_out_strings([*clean, "visage rieur; Red  Heart"], held_out) == ["Red  Heart"]
    assert held_out_strings(["ＳＭＩＬＥ"], held_out) == ["ＳＭＩＬＥ"]
    assert held_out_strings(["STRASSE", "Straße"], {"strasse"}) == ["STRASSE", "Straße"]  # one string to the split


def test_a_label_that_holds_the_separator(
    write_emojibase: Write, published: dict[str, list[Record]], tmp_path: Path
) -> None:
    published["fr"][0]["label"] = "cœur; love"
    out = tmp_path / "out"
    import_emojibase(write_emojibase(published), out, test=0.98, development=0.01)
    dataset = Dataset.open(out)
    assert _parts(dataset)["love"] != "train"
    heart = next(row for row in dataset.read("pins").to_pylist() if row["id"] == "2764-FE0F")
    assert "love" not in (heart["description"] or "")


def test_a_string_stands_on_one_side_in_all_languages(emojibase_source: Path, tmp_path: Path) -> None:
    import_emojibase(emojibase_source, tmp_path / "all", salt="x")
    import_emojibase(emojibase_source, tmp_path / "fr", languages=["fr"], salt="x")
    both = _parts(Dataset.open(tmp_path / "all"))
    french = _parts(Dataset.open(tmp_path / "fr"))
    assert "hello" in french
    assert {query: both[query] for query in french} == french


def test_languages_and_their_order(emojibase_source: Path, tmp_path: Path) -> None:
    assert known_languages(emojibase_source) == ["en", "fr", "ja"]
    import_emojibase(emojibase_source, tmp_path / "out", languages=["fr", "en"], test=0, development=0)
    dataset = Dataset.open(tmp_path / "out")
    smile = next(row for row in dataset.read("pins").to_pylist() if row["id"] == "1F600")
    assert (smile["title"], smile["description"], smile["language"]) == ("visage rieur", "grinning face", "fr")
    hello = next(row for row in dataset.read("queries").to_pylist() if row["query"] == "hello")
    assert hello["language"] == "fr"


def test_unknown_language_lists_the_known(emojibase_source: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Unknown language 'xx'; the source has: en, fr, ja"):
        import_emojibase(emojibase_source, tmp_path / "out", languages=["en", "xx"])
    with pytest.raises(SettingError, match="twice"):
        import_emojibase(emojibase_source, tmp_path / "out", languages=["en", "en"])
    with pytest.raises(SettingError, match="No language"):
        import_emojibase(emojibase_source, tmp_path / "out", languages=[])


def _spoil(records: list[Record], field: str, value: object, row: int = 1) -> None:
    records[row][field] = value


@pytest.mark.parametrize(
    ("language", "field", "value", "said"),
    [
        ("en", "hexcode", "1F1E6", r"record 2 \(1F1E6\): the hexcode stands twice"),
        ("en", "hexcode", None, "record 2: 'hexcode' is missing"),
        ("fr", "hexcode", "FFFF", r"fr.data\.json\.gz, record 2 \(FFFF\): 'en' has no such hexcode"),
        ("en", "label", " ", r"record 2 \(1F600\): 'label' is ' '"),
        ("en", "tags", "smile", "'tags' must be a list of texts but is 'smile'"),
        ("en", "tags", [1], "'tags' must be a list of texts"),
        ("en", "group", 7, "group 7 is not named in meta/groups.json"),
        ("en", "subgroup", 16, "subgroup 16 is not one of group 0"),
    ],
)
def test_bad_records_are_named(
    write_emojibase: Write,
    published: dict[str, list[Record]],
    tmp_path: Path,
    language: str,
    field: str,
    value: object,
    said: str,
) -> None:
    _spoil(published[language], field, value)
    with pytest.raises(DataError, match=said):
        import_emojibase(write_emojibase(published), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_language_that_lacks_an_emoji(
    write_emojibase: Write, published: dict[str, list[Record]], tmp_path: Path
) -> None:
    del published["ja"][3]
    with pytest.raises(DataError, match=r"ja.data.json.gz has no record with hexcode 1F44B"):
        import_emojibase(write_emojibase(published), tmp_path / "out")


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"groups": {}}, "must map"),
        ([], "must map"),
        ({"groups": {"x": "a"}, "subgroups": {}, "hierarchy": {}}, "must map"),
        ({"groups": {"0": "a"}, "subgroups": {"3": "b"}, "hierarchy": {"0": []}}, r"subgroup 3 \('b'\)"),
    ],
)
def test_bad_groups(emojibase_source: Path, tmp_path: Path, groups: object, said: str) -> None:
    (emojibase_source / "meta" / "groups.json").write_text(json.dumps(groups))
    with pytest.raises(DataError, match=said):
        import_emojibase(emojibase_source, tmp_path / "out")


def test_missing_files(emojibase_source: Path, tmp_path: Path) -> None:
    (emojibase_source / "meta" / "groups.json").unlink()
    with pytest.raises(DataError, match=r"groups.json does not exist"):
        import_emojibase(emojibase_source, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no LANGUAGE/data.json.gz"):
        import_emojibase(tmp_path / "empty", tmp_path / "out")


@pytest.mark.parametrize(("test", "development"), [(1.0, 0.0), (0.5, 0.5), (-0.1, 0.1), (float("nan"), 0.1)])
def test_bad_fractions(emojibase_source: Path, tmp_path: Path, test: float, development: float) -> None:
    with pytest.raises(SettingError, match="fraction"):
        import_emojibase(emojibase_source, tmp_path / "out", test=test, development=development)


def test_plain_json_is_read_too(emojibase_source: Path, tmp_path: Path, published: dict[str, list[Record]]) -> None:
    (emojibase_source / "fr" / "data.json.gz").unlink()
    (emojibase_source / "fr" / "data.json").write_text(json.dumps(published["fr"]))  # with \\u escapes
    import_emojibase(emojibase_source, tmp_path / "out", languages=["fr"])
    assert Dataset.open(tmp_path / "out").read("pins").num_rows == 4


def test_half_a_surrogate_pair_is_an_error(emojibase_source: Path, tmp_path: Path) -> None:
    (emojibase_source / "fr" / "data.json.gz").unlink()
    (emojibase_source / "fr" / "data.json").write_text('[{"label": "a\\ud83d", "hexcode": "1", "emoji": "x"}]')
    with pytest.raises(DataError, match="half a surrogate pair"):
        import_emojibase(emojibase_source, tmp_path / "out", languages=["fr"])


def test_command(emojibase_source: Path, tmp_path: Path) -> None:
    call = ["import", "emojibase", str(emojibase_source), "-o", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, [*call, "--languages", "en, fr", "--salt", "s"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["pins"] == 4
    assert Dataset.open(tmp_path / "out").read("pins").schema.field("engaged_queries").type == pa.list_(pa.string())
    wrong = CliRunner().invoke(app, [*call, "--languages", "en,klingon"])
    assert wrong.exit_code == 2
    assert "Unknown language 'klingon'" in wrong.stderr
