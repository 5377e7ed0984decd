"""Board titles: the rank by hand, noise, near-duplicates, the split."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import HashSplit, TimeSplit
from omnifeat.engines import LocalEngine
from omnifeat.enrich.boards import BoardsResult, enrich_boards
from omnifeat.enrich.titles import read_title
from omnifeat.errors import DataError, OutputError, SettingError

ENGINE = LocalEngine("200MB", threads=1)
World = Callable[..., Path]


@pytest.mark.parametrize(
    "title",
    [None, "", "  ", "stuff", "My Stuff!!", "🍕🍕", "❤️", "1️⃣", "2024", "...", "things i ❤️", "x", "B 2", "Idées",
     "J’aime", "verschiedenes", "random ideas", "👩‍👩‍👧", "🇫🇷", "for later"],
)  # fmt: skip
def test_noise(title: str | None) -> None:
    assert read_title(title) is None


@pytest.mark.parametrize(
    ("title", "key", "text"),
    [
        ("Kitchen ideas", "ideas kitchen", "Kitchen ideas"),
        ("  KITCHEN\tideas!! 🍳", "ideas kitchen", "KITCHEN ideas!! 🍳"),
        ("ideas: Kitchen-kitchen", "ideas kitchen", "ideas: Kitchen-kitchen"),
        ("Ｋｉｔｃｈｅｎ ideas", "ideas kitchen", "Ｋｉｔｃｈｅｎ ideas"),
        ("Men's shoes", "mens shoes", "Men's shoes"),
        ("Straße", "strasse", "Straße"),
        ("日本", "日本", "日本"),
        ("字", "字", "字"),
        ("हिन्दी", "हिन्दी", "हिन्दी"),
        ("90s style", "90s style", "90s style"),
    ],
)
def test_titles_that_say_something(title: str, key: str, text: str) -> None:
    read = read_title(title)
    assert read is not None
    assert (read.key, read.text) == (key, text)
    assert read.words == tuple(key.split())


@given(st.text())
def test_a_title_in_another_dress_has_one_key(title: str) -> None:
    read, dressed = read_title(title), read_title(f"  😀 {title} ! ")
    assert (read and read.key) == (dressed and dressed.key)


def boards(*titles: str | None) -> pa.Table:
    return pa.table({"board_id": [f"b{i}" for i in range(len(titles))], "title": pa.array(titles, pa.string())})


def saves(*pairs: tuple[int, str], **more: list[object]) -> pa.Table:
    ids = [entity for _, entity in pairs]
    types = ["product" if entity.startswith("q") else "pin" for entity in ids]
    table = {"board_id": [f"b{board}" for board, _ in pairs], "entity_id": ids, "entity_type": types}
    return pa.table(table | more)


def titles_of(folder: Path) -> dict[str, list[str]]:
    dataset = Dataset.open(folder)
    pins, products = dataset.read("pins"), dataset.read("products")
    return {row["id"]: row["board_titles"] for table in (pins, products) for row in table.to_pylist()}


def run(world: Path, **named: object) -> tuple[BoardsResult, dict[str, list[str]]]:
    out = world.parent / "out"
    result = enrich_boards(world, out, engine=ENGINE, overwrite=True, **named)  # type: ignore[arg-type]
    return result, titles_of(out)


def test_the_rank_by_hand(world: World) -> None:
    folder = world(
        boards=boards(
            "Kitchen",  # 0
            "kitchen ",  # 1: the same title; "Kitchen" and "kitchen" are as common, K comes first
            "Copper kitchen",  # 2
            "Copper sink",  # 3
            "sink",  # 4
            "asdf",  # 5: nobody else has the word
            "Stuff",  # 6
            "Garden",  # 7: never saved to, and so not counted
        ),
        saves=saves((0, "p1"), (1, "p1"), (2, "p1"), (3, "p1"), (4, "p1"), (5, "p1"), (6, "p1"), (0, "p1"), (4, "q1")),
    )
    result, titles = run(folder)
    # 6 boards count. Words: kitchen 3/6, copper 2/6, sink 2/6, asdf 1 (one board alone).
    # Kitchen: 3/6 over 2 boards = 0.25; Copper kitchen: (2/6 + 3/6) / 2 = 0.417; Copper sink: 2/6 = 0.333;
    # sink: 2/6 = 0.333, and fewer words than Copper sink; asdf: 1
    assert titles == {"p1": ["Kitchen", "Copper sink", "sink", "Copper kitchen", "asdf"], "p2": [], "q1": ["sink"]}
    assert (result.boards, result.noisy_boards, result.saves) == (8, 1, 9)
    assert result.filled == {"pins": 1, "products": 1}
    assert run(folder, top=2)[1]["p1"] == ["Kitchen", "Copper sink"]


def test_longer_titles_first_and_ten_at_most(world: World) -> None:
    # each word stands on two boards, so that all titles score alike: words, then length, then text decide
    words = ["ant", "bear", "camel", "dog", "eland", "fox"]
    names = [*words, *words, "ant bear", "ant bear camel"]
    folder = world(
        boards=boards(*names),
        saves=saves(*((i, "p1") for i in (*range(6), 12, 13)), *((i, "p2") for i in range(6, 12))),
    )
    _, titles = run(folder)
    # counts of boards: ant 4, bear 4, camel 3, others 2 of 14
    assert titles["p1"] == ["eland", "dog", "fox", "camel", "ant bear camel", "ant bear", "bear", "ant"]
    many = [f"title {i:02} shared" for i in range(15)]
    folder = world(boards=boards(*many), saves=saves(*((i, "p1") for i in range(15))))
    assert len(run(folder)[1]["p1"]) == 10


def test_a_near_duplicate_is_shown_as_most_write_it(world: World) -> None:
    folder = world(
        boards=boards("SINK, copper", "Copper sink", "copper   sink", "Copper sink"),
        saves=saves((0, "p1"), (1, "p2"), (2, "p2"), (3, "q1")),
    )
    assert run(folder)[1] == {"p1": ["Copper sink"], "p2": ["Copper sink"], "q1": ["Copper sink"]}


def test_saves_of_the_held_out_part_don_t_count(world: World) -> None:
    split = TimeSplit(
        development_from=datetime(2024, 3, 10, tzinfo=UTC), test_from=datetime(2024, 3, 20, tzinfo=UTC), gap_days=2
    )
    times = [
        datetime(2024, 3, 7, 23, 59, 59, tzinfo=UTC),
        datetime(2024, 3, 8, tzinfo=UTC),
        datetime(2024, 4, 1, tzinfo=UTC),
        None,
    ]
    table = saves((0, "p1"), (1, "p1"), (2, "p1"), (3, "p1"), timestamp=pa.array(times, pa.timestamp("us", "UTC")))
    result, titles = run(world(split, boards=boards("Early bird", "Gap year", "Late night", "No time"), saves=table))
    assert titles["p1"] == ["Early bird"]
    assert (result.late_saves, result.undated_saves) == (2, 1)
    notes = Dataset.open(result.path).info.notes
    assert "board_titles: 2 saves that are not of the training part were left out" in notes
    # a split by hash holds no save out, and saves without times cannot be told apart, which is said
    _, titles = run(world(HashSplit(), boards=boards("Early bird", "Gap year", "Late night", "No time"), saves=table))
    assert len(titles["p1"]) == 4
    result, titles = run(world(split, boards=boards("Early bird"), saves=saves((0, "p1"))))
    assert titles["p1"] == ["Early bird"]
    assert any("saves carry no times" in note for note in result.notes)


def test_what_is_in_no_table_is_counted(world: World) -> None:
    result, _ = run(world(boards=boards("Kitchen"), saves=saves((0, "p1"), (9, "p1"), (0, "p7"), (0, "q7"))))
    assert (result.unknown_boards, result.unknown_entities) == (1, 2)


def test_inputs_that_are_wrong(world: World, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no table 'boards'"):
        run(world(boards=None))
    with pytest.raises(DataError, match="has neither pins nor products"):
        run(world(pins=None, products=None))
    folder = world()
    pq.write_table(saves((0, "p1")).drop_columns(["entity_type"]), folder / "saves.parquet")
    with pytest.raises(DataError, match=r"saves\.parquet has no column 'entity_type'"):
        run(folder)
    bad = saves((0, "p1"), (0, "p1"))
    with pytest.raises(DataError, match=r"saves\.parquet, row 2: the entity_type is 'Pin', but must be one of pin"):
        run(world(saves=bad.set_column(2, "entity_type", pa.array(["pin", "Pin"]))))
    with pytest.raises(SettingError, match="at least one title"):
        run(world(), top=0)
    assert not (tmp_path / "out").exists()
    run(world())
    with pytest.raises(OutputError, match="exists and is not empty"):
        enrich_boards(tmp_path / "world", tmp_path / "out", engine=ENGINE)
