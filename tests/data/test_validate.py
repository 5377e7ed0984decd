import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from omnifeat.cli import app
from omnifeat.data.files import read_table
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.data.validate import validate
from omnifeat.errors import DataError
from tests.data.small_world import MARCH, replaced, tables

World = Callable[..., Path]
DAY = timedelta(days=1)


def messages(folder: Path, *, leaks: bool = False) -> list[str]:
    return [problem.message for problem in validate(folder, check_leaks=leaks).problems]


def overwrite(folder: Path, table: str, columns: dict) -> Path:
    """Put a table there that the writer would refuse."""
    pq.write_table(pa.table(columns), folder / f"{table}.parquet")
    return folder


def test_a_sound_dataset(world: World) -> None:
    report = validate(world())
    assert report.ok
    assert report.counts == {name: table.num_rows for name, table in tables().items()}


@pytest.mark.parametrize(
    ("table", "columns", "expected"),
    [
        ("boards", {"board_id": ["b1", None], "title": ["x", "y"]}, "row 2: column 'board_id' is null"),
        ("boards", {"board_id": ["b1", " "], "title": ["x", "y"]}, "row 2 (id ' '): column 'board_id' is blank"),
        ("boards", {"board_id": ["b1"]}, "has no column 'title': it has board_id"),
        ("boards", {"board_id": ["b1"], "title": [True]}, "column 'title' is bool, but must be text"),
        ("boards", {"board_id": pa.array([], pa.string()), "title": pa.array([], pa.string())}, "has no rows"),
        (
            "boards",
            {"board_id": ["b1", "b1"], "title": ["x", "y"]},
            "the board_id 'b1' stands in row 1 and again in row 2: keep one",
        ),
        (
            "pins",
            {"id": ["p1", "p2"], "pinsage": [[1.0, 2.0], [1.0]]},
            "row 2 (id 'p2'): column 'pinsage' holds a vector whose width is not 2",
        ),
        (
            "pins",
            {"id": ["p1", "p2"], "pinsage": [[1.0], [float("inf")]]},
            "row 2 (id 'p2'): column 'pinsage' holds a vector with a number that is null, NaN or infinite",
        ),
        (
            "products",
            {"id": ["q1"], "image_embeddings": [[[1.0, 2.0], [1.0]]]},
            "row 1 (id 'q1'): column 'image_embeddings' holds a vector whose width is not 2",
        ),
        (
            "products",
            {"id": ["q1"], "image_embeddings": [[[1.0, 2.0], [1.0, float("nan")]]]},
            "row 1 (id 'q1'): column 'image_embeddings' holds a vector with a number",
        ),
        (
            "judgments",
            {"query": ["a"], "entity_id": ["p1"], "entity_type": ["pin"], "grade": [-1.0]},
            "row 1: column 'grade' holds -1.0: a grade must be a finite number of at least 0",
        ),
        (
            "judgments",
            {"query": ["a"], "entity_id": ["p1"], "entity_type": ["pins"], "grade": [1]},
            "row 1: column 'entity_type' holds 'pins': it must be one of pin, product, query",
        ),
        (
            "judgments",
            {"query": ["a"], "entity_id": ["p9"], "entity_type": ["pin"], "grade": [1]},
            "row 1: entity_id 'p9' is not in column 'id' of the table 'pins'",
        ),
        (
            "judgments",
            {"query": ["a"], "entity_id": ["p1"], "entity_type": ["product"], "grade": [1]},
            "row 1: entity_id 'p1' is not in column 'id' of the table 'products'",
        ),
        (
            "engagements",
            {
                "query": ["a"],
                "entity_id": ["tap water"],
                "entity_type": ["query"],
                "action": ["like"],
                "timestamp": [MARCH],
            },
            "row 1: column 'action' holds 'like': it must be one of save, long_click",
        ),
        (
            "saves",
            {"board_id": ["b2"], "entity_id": ["p1"], "entity_type": ["pin"]},
            "row 1: board_id 'b2' is not in column 'board_id' of the table 'boards'",
        ),
        (
            "query_interests",
            {"query": ["a"], "interest_id": ["i9"]},
            "row 1: interest_id 'i9' is not in column 'interest_id' of the table 'interests'",
        ),
        (
            "interests",
            {"interest_id": ["i1", "i2"], "name": ["x", "y"], "parent_id": ["", "i7"], "level": [0, 1]},
            "row 2: parent_id 'i7' is not in column 'interest_id' of the table 'interests'",
        ),
        (
            "interests",
            {"interest_id": ["i1", "i2"], "name": ["x", "y"], "parent_id": ["i2", "i1"], "level": [1, 0]},
            "row 2: interest 'i2' has level 0, but its parent 'i1' has level 1",
        ),
    ],
)
def test_each_problem_is_a_sentence(world: World, table: str, columns: dict, expected: str) -> None:
    found = messages(overwrite(world(), table, columns))
    assert any(f"{table}.parquet" in message and expected in message for message in found), found
    assert all("\n" not in message for message in found)


def test_an_impression_may_go_without_an_action(world: World) -> None:
    assert tables()["impressions"]["action"].null_count == 3
    assert validate(world()).ok


def test_text_that_is_not_utf8_is_one_problem_among_others(world: World) -> None:
    raw = pa.array([b"good", b"b\xe9d", b"\xff"], pa.binary())
    bad = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    folder = overwrite(world(), "boards", {"board_id": ["b1", "b2", "b2"], "title": bad})
    report = validate(folder)
    assert report.found == {("boards", "title", "not UTF-8"): 2, ("boards", "board_id", "duplicate"): 1}
    assert [problem.row for problem in report.problems] == [2, 3, 3]
    assert "row 2 (id 'b2'): column 'title' holds text that is not UTF-8" in report.problems[0].message


def test_a_broken_file_does_not_hide_other_tables(world: World) -> None:
    folder = world()
    (folder / "pins.parquet").write_bytes((folder / "pins.parquet").read_bytes()[:200])
    overwrite(folder, "boards", {"board_id": ["b1", "b1"], "title": ["x", "y"]})
    found = messages(folder)
    assert sum("pins.parquet cannot be read as Parquet: it is truncated" in message for message in found) == 1
    assert sum("'b1' stands in row 1 and again" in message for message in found) == 1
    assert sum("names pins in 3 rows, but there is no table 'pins'" in message for message in found) == 3


def test_all_are_counted_but_only_some_are_listed(world: World) -> None:
    columns = {"board_id": [f"b{n % 150}" for n in range(300)], "title": ["x"] * 300}
    saves = {"board_id": ["none"] * 70 + ["b1"], "entity_id": ["p1"] * 71, "entity_type": ["pin"] * 70 + ["pony"]}
    folder = overwrite(overwrite(world(), "boards", columns), "saves", saves)
    report = validate(folder, most=5)
    assert report.found == {
        ("boards", "board_id", "duplicate"): 150,
        ("saves", "board_id", "unknown id"): 70,
        ("saves", "entity_type", "unknown value"): 1,
    }
    assert len(report.problems) == 11
    assert report.total == 221
    assert report.unlisted() == [
        "table 'boards', column 'board_id': 145 more of the kind 'duplicate' are not listed",
        "table 'saves', column 'board_id': 65 more of the kind 'unknown id' are not listed",
    ]


def test_rows_of_part_files_are_named_in_their_file(world: World) -> None:
    folder = world(boards=None)
    (folder / "boards").mkdir()
    for part, ids in enumerate((["b1", "b2"], ["b3", None, "b2"])):
        pq.write_table(pa.table({"board_id": ids, "title": ["x"] * len(ids)}), folder / "boards" / f"{part}.parquet")
    found = messages(folder)
    assert len(found) == 2
    assert "boards/1.parquet, row 2: column 'board_id' is null" in found[0]
    assert "boards/0.parquet: the board_id 'b2' stands in row 2 and again in row 3 of" in found[1]
    assert "boards/1.parquet: keep one" in found[1]


def test_csv_and_jsonl_are_checked_too(world: World) -> None:
    folder = world(boards=None, saves=None)
    (folder / "boards.csv").write_text("board_id,title\nb1,x\nb1,\n")
    (folder / "saves.jsonl").write_text('{"board_id": "b1", "entity_id": "p1", "entity_type": "pin"}\n{"board_id":')
    found = messages(folder)
    assert len(found) == 2
    assert "saves.jsonl, line 2 is not JSON" in found[1 if "stands in row" in found[0] else 0]


def test_a_missing_catalogue(world: World) -> None:
    found = messages(world(boards=None, products=None, queries=None))
    assert len(found) == 4
    assert any("the table 'saves' names boards in 1 rows, but there is no table 'boards'" in text for text in found)


def test_queries_as_entities(world: World) -> None:
    engagements = tables()["engagements"].slice(0, 1)
    engagements = replaced(engagements, "entity_type", pa.array(["query"]))
    engagements = replaced(engagements, "entity_id", pa.array(["copper tap"]))
    assert validate(world(engagements=engagements, queries=None)).ok
    assert "'copper tap' is not in column 'query' of the table 'queries'" in messages(world(engagements=engagements))[0]


def held_out_texts(split: HashSplit) -> tuple[str, str]:
    """A text of the training part and one of the test part."""
    texts = [f"text {number}" for number in range(50)]
    parts = split.assign(pa.table({"query": texts})).to_pylist()
    return texts[parts.index("train")], texts[parts.index("test")]


def engaged(*lists: list[str] | None) -> pa.Table:
    return replaced(tables()["pins"], "engaged_queries", pa.array(lists, pa.list_(pa.string())))


def test_a_planted_leak_of_a_hash_split(world: World) -> None:
    split = HashSplit()
    train, test = held_out_texts(split)
    assert validate(world(split, pins=engaged([train], None)), check_leaks=True).ok
    # another case and width of the same text leaks as well
    folder = world(split, pins=engaged([train], [train, f" {test.upper()} "]))
    assert validate(folder).ok
    report = validate(folder, check_leaks=True)
    assert report.found == {("pins", "engaged_queries", "leak"): 1}
    assert report.problems[0].row == 2
    assert (
        f"pins.parquet, row 2 (id 'p2'): the engaged query ' {test.upper()} ', whose text the split puts in its test "
        "part, leaks: leave it out" in report.problems[0].message
    )


def test_a_planted_leak_of_a_time_split(world: World) -> None:
    # the log: p1 has "sink" on 1 March, "tap" on 2 March, p2 has "sink" on 1 March; development begins on 2 March
    split = TimeSplit(development_from=MARCH + DAY, test_from=MARCH + 10 * DAY)
    sound = world(split, pins=engaged(["sink"], ["sink", "tap"]))  # the log has no "tap" with p2
    assert validate(sound, check_leaks=True).ok
    leaking = world(split, pins=engaged(["sink", "TAP"], None))
    found = messages(leaking, leaks=True)
    assert len(found) == 1
    assert (
        "row 1 (id 'p1'): the engaged query 'TAP', which the log has for it only from 2024-03-02 00:00 on" in found[0]
    )
    # an engagement before that makes the query known
    log = pa.concat_tables([tables()["engagements"], tables()["engagements"].slice(1, 1)])
    log = replaced(log, "timestamp", pa.array([*log["timestamp"].to_pylist()[:-1], MARCH]))
    assert validate(world(split, pins=engaged(["sink", "TAP"], None), engagements=log), check_leaks=True).ok


def test_a_planted_leak_of_a_split_by_entity(world: World) -> None:
    splits = (HashSplit(column="entity_id", test=0.5, salt=salt) for salt in "abcdefgh")
    split = next(split for split in splits if split.part_of("p1") == "test")
    found = messages(world(split, pins=engaged(["sink", "never logged"], None)), leaks=True)
    assert len(found) == 1
    assert "the engaged query 'sink', which the log has for it in held-out rows alone, leaks" in found[0]


def test_leaks_need_a_split(world: World) -> None:
    with pytest.raises(DataError, match=r"records no split in dataset\.json"):
        validate(world(), check_leaks=True)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_command(world: World, tmp_path: Path) -> None:
    folder = world(HashSplit())
    code, out, _ = run(folder)
    assert code == 0
    assert "engagements" in out
    assert "no problems" in out
    code, out, _ = run(folder, "--json")
    assert (code, json.loads(out)["counts"]["engagements"]) == (0, 4)
    overwrite(folder, "boards", {"board_id": ["b1", "b1", "b1"], "title": ["x", "y", "z"]})
    code, out, err = run(folder)
    assert (code, out) == (2, "")
    assert "stands in row 1 and again in row 2 (3 times in all)" in err
    code, out, _ = run(folder, "--json")
    assert code == 2
    assert json.loads(out)["problems"][0]["id"] == "b1"
    code, _, err = run(tmp_path / "nowhere")
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_command_finds_leaks(world: World) -> None:
    split = HashSplit()
    _, test = held_out_texts(split)
    folder = world(split, pins=engaged([test], None))
    assert run(folder)[0] == 0
    code, _, err = run(folder, "--leaks")
    assert code == 2
    assert "leaks: leave it out" in err
    assert read_table(folder / "pins.parquet").num_rows == 2


def test_times_that_no_log_has_are_told(world: World) -> None:
    folder = world()
    assert validate(folder).warnings == []
    seconds_as_milliseconds = [datetime(1970, 1, 20, 18, 48, tzinfo=UTC)] * 2
    engagements = {"query": ["tap", "tap"], "entity_id": ["p1", "p1"], "entity_type": ["pin", "pin"]}
    overwrite(folder, "engagements", engagements | {"action": ["save", "save"], "timestamp": seconds_as_milliseconds})
    (warning,) = validate(folder).warnings
    assert "engagements.parquet, row 1: column 'timestamp' holds 1970-01-20 18:48, which is before 1990" in warning
    assert "as if seconds had been taken for milliseconds; 2 rows of table 'engagements' in all" in warning


def test_an_id_that_is_there_in_another_writing_is_shown(world: World) -> None:
    folder = overwrite(world(), "saves", {"board_id": ["B1 "], "entity_id": ["p1"], "entity_type": ["pin"]})
    said = next(message for message in messages(folder) if "'B1 '" in message)
    assert said.endswith("add it there or remove the row; 'b1' is there, and differs in letter case or white space")


@pytest.mark.parametrize("name", ["Title", " title ", "TITLE", "titel"])
def test_a_column_whose_name_is_nearly_one_of_the_tables_is_told(world: World, name: str) -> None:
    folder = overwrite(world(), "boards", {"board_id": ["b1"], "title": ["Kitchen"], "Notes": ["n"]})
    assert validate(folder).warnings == []
    folder = overwrite(folder, "products", {"id": ["q1"], name: ["Tap"]})
    (warning,) = validate(folder).warnings
    assert f"has no column 'title', but '{name}', which nothing reads; 1 row of table 'products' in all" in warning
