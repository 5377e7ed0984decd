from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.taxonomy import Taxonomy
from classifiers.taxonomy_plot import draw_taxonomy
from omnifeat.errors import DataError


def interests(*rows: tuple[str | None, str | None, int | None]) -> pa.Table:
    ids, parents, levels = zip(*rows, strict=True)
    return pa.table(
        {
            "interest_id": pa.array(ids, pa.string()),
            "name": pa.array([None if one is None else one.upper() for one in ids], pa.string()),
            "parent_id": pa.array(parents, pa.string()),
            "level": pa.array(levels, pa.int32()),
        }
    )


GOOD = interests(("birds", "animals", 2), ("animals", None, 1), ("owls", "birds", 3), ("food", None, 1))


def test_paths_levels_and_children() -> None:
    tree = Taxonomy.from_table(GOOD)
    assert tree.path("owls") == ("animals", "birds", "owls")
    assert (tree.level("animals"), tree.level("owls"), tree.depth) == (0, 2, 3)
    assert tree.children(None) == ("animals", "food")
    assert tree.children("animals") == ("birds",)
    assert tree.names["owls"] == "OWLS"
    with pytest.raises(DataError, match="'cats' is not in table interests"):
        tree.path("cats")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (interests(("a", "b", None), ("b", "c", None), ("c", "a", None)), "'a' in row 1 .* stands below itself"),
        (interests(("a", "a", None)), "stands below itself"),
        # c hangs from the cycle of a and b and is not in it: cutting it off would mend nothing
        (
            interests(("c", "a", None), ("a", "b", None), ("b", "a", None)),
            "'a' in row 2 .* stands below itself, by 'b'",
        ),
        (pa.table({"interest_id": [["a"]], "parent_id": ["b"]}), "'interest_id' of table interests holds list"),
        (pa.table({"interest_id": [b"\xff"], "parent_id": ["b"]}), "'interest_id' of table interests holds binary"),
        (
            pa.table({"interest_id": ["a"], "parent_id": [None], "level": ["top"]}),
            "'level' of table interests holds str",
        ),
        (interests(("a", None, None), ("b", "gone", None)), "'b' in table interests has the parent 'gone'"),
        (interests(("a", None, 1), ("a", None, 1)), "'a' stands twice in table interests, again in row 2"),
        (interests((None, None, 1)), "no interest_id in row 1"),
        (interests(("a", None, 1), ("b", "a", 3)), "'b' .* of level 3 and its parent 'a' of level 1"),
        (GOOD.slice(0, 0), "is empty"),
        (GOOD.drop_columns(["parent_id"]), "no column 'parent_id'"),
    ],
)
def test_what_is_no_tree_is_refused(table: pa.Table, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        Taxonomy.from_table(table)


def test_a_deep_tree_is_read() -> None:
    deep = interests(*((f"i{level}", f"i{level - 1}" if level else None, level) for level in range(300)))
    assert Taxonomy.from_table(deep).depth == 300


def test_a_file_of_paths() -> None:
    tree = Taxonomy.from_paths(["# comment", "", "animals >  birds > owls", "food>other", "animals > other "])
    assert tree.children(None) == ("animals", "food")
    assert tree.path("animals > birds > owls") == ("animals", "animals > birds", "animals > birds > owls")
    assert tree.names["food > other"] == tree.names["animals > other"] == "other"
    assert tree.counts() == [2, 3, 1]
    assert tree.leaves() == ["animals > birds > owls", "animals > other", "food > other"]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["a > b", "a > > c"], "Line 2 of the paths has an empty name in 'a > > c'"),
        (["a > b", "a > c", "a>b"], "Line 3 of the paths repeats 'a > b' of line 1"),
        (["", "# a"], "There is no path in the paths"),
    ],
)
def test_lines_that_are_no_paths_are_refused(lines: list[str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        Taxonomy.from_paths(lines)


def test_ids_with_parents() -> None:
    tree = Taxonomy.from_parents({"2": "1", "1": None, "3": ""}, {"1": "animals"})
    assert (tree.path("2"), tree.children(None), tree.names["1"]) == (("1", "2"), ("1", "3"), "animals")
    for parents, sentence in (
        ({"a": "b", "b": "a", "c": None}, "'a' in row 1 of the ids stands below itself, by 'b'"),
        ({"a": "z"}, "'a' in the ids has the parent 'z', which is no interest"),
        ({}, "There are no interests"),
        ({"": None}, "empty id"),
    ):
        with pytest.raises(DataError, match=sentence):
            Taxonomy.from_parents(parents)
    with pytest.raises(DataError, match="'x' and 'y' in the ids have one parent and one name, 'other'"):
        Taxonomy.from_parents({"a": None, "x": "a", "y": "a"}, {"x": "other", "y": "other"})
    with pytest.raises(DataError, match="There is a name for 'b', which is no interest"):
        Taxonomy.from_parents({"a": None}, {"b": "B"})


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), st.text("abc", max_size=2), min_size=1, max_size=9))
def test_whatever_is_read_is_a_tree(parents: dict[str, str | None]) -> None:
    try:
        tree = Taxonomy.from_parents(parents)
    except DataError:
        return  # a cycle or a parent that is not there
    walked = [interest for interest, _ in tree.walk()]
    assert sorted(walked) == sorted(parents)
    assert sum(tree.counts()) == len(parents)
    for interest, level in tree.walk():
        assert len(tree.path(interest)) == level
    assert len(list(tree.as_text())) == len(parents)


def test_a_tree_as_text() -> None:
    tree = Taxonomy.from_paths(["a > b > c", "a > d", "e", "a > f", "a > g > h"])
    assert list(tree.as_text()) == ["a", "├── b", "│   └── c", "├── d", "├── f", "└── g", "    └── h", "e"]
    assert list(tree.as_text(2)) == ["a", "├── b", "│   └── c", "├── d", "└── ... 3 more", "e"]
    assert list(Taxonomy.from_parents({"7": None}, {"7": "birds"}).as_text()) == ["birds (7)"]


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "tree.txt").write_text("a > b\n", encoding="utf-8")
    assert Taxonomy.read(tmp_path / "tree.txt").depth == 2
    pacsv.write_csv(pa.table({"category_id": ["1", "2"], "parent": ["", "1"], "x": [1, 2]}), tmp_path / "tree.csv")
    assert Taxonomy.read(tmp_path / "tree.csv").path("2") == ("1", "2")
    pacsv.write_csv(pa.table({"id": ["1", "2"]}), tmp_path / "flat.csv")
    with pytest.raises(DataError, match=r"no column 'parent_id' \(nor parent, parent_category_id\); it has id"):
        Taxonomy.read(tmp_path / "flat.csv")
    with pytest.raises(DataError, match="There is no file"):
        Taxonomy.read(tmp_path / "absent.txt")


def test_pictures(tmp_path: Path) -> None:
    tree = Taxonomy.from_paths([f"root > {name} > <leaf & $of {name}" for name in "abcdef"])
    assert draw_taxonomy(tree, tmp_path / "tree", kind=".svg", counts={"root": 5}) == 13
    text = (tmp_path / "tree").read_text()
    assert text.count("$of") == 6
    assert "&lt;leaf &amp; $of" in text
    draw_taxonomy(tree, tmp_path / "again", kind=".svg", counts={"root": 5})
    assert (tmp_path / "again").read_text() == text
    assert draw_taxonomy(tree, tmp_path / "small", kind=".png", most=2) == 6  # root, a, b, their leaves, 8 more
    assert (tmp_path / "small").read_bytes().startswith(b"\x89PNG")


def test_a_large_tree_is_drawn_without_its_deepest_levels(tmp_path: Path) -> None:
    tree = Taxonomy.from_paths(
        [f"{one} > {two} > {three}" for one in range(5) for two in range(9) for three in range(9)]
    )
    assert draw_taxonomy(tree, tmp_path / "tree", kind=".svg") == 50
    assert "(9 below)" in (tmp_path / "tree").read_text()


GOOGLE = """# Google_Product_Taxonomy_Version: 2021-09-21
1 - Animals & Pet Supplies
3237 - Animals & Pet Supplies > Live Animals
166 - Apparel & Accessories
1604 - Apparel & Accessories > Clothing
5 - Apparel & Accessories > Clothing > 24 - Hour Wear
"""


def test_ids_in_front_of_googles_paths_are_the_ids(tmp_path: Path) -> None:
    (tmp_path / "taxonomy-with-ids.txt").write_text(GOOGLE, newline="\r\n")
    tree = Taxonomy.read(tmp_path / "taxonomy-with-ids.txt")
    assert tree.parents == {"1": None, "3237": "1", "166": None, "1604": "166", "5": "1604"}
    assert tree.names["1"] == "Animals & Pet Supplies"
    assert tree.names["5"] == "24 - Hour Wear"
    plain = Taxonomy.from_paths(["24 - Hour Wear", "Animals", "Animals > Birds"])
    assert plain.children(None) == ("24 - Hour Wear", "Animals")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Furniture", "Line 7 of google, 'Furniture', does not begin with an id as most lines do"),
        ("7 - Furniture > Beds", "Line 7 of google lies below 'Furniture', which has no line"),
        ("1 - Furniture", "Line 7 of google repeats the id 1 of line 2"),
        ("8 - Apparel & Accessories", "Line 7 of google repeats 'Apparel & Accessories' of line 4"),
        ("8 - Animals & Pet Supplies > ", "Line 7 of google has an empty name"),
    ],
)
def test_wrong_lines_with_ids_are_named(line: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Taxonomy.from_paths([*GOOGLE.splitlines(), line], "google")
