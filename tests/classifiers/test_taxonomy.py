import pyarrow as pa
import pytest

from classifiers.taxonomy import Taxonomy
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
        (interests(("a", "b", None), ("b", "c", None), ("c", "a", None)), "'a' in row 0 .* stands below itself"),
        (interests(("a", "a", None)), "stands below itself"),
        (interests(("a", None, None), ("b", "gone", None)), "'b' in table interests has the parent 'gone'"),
        (interests(("a", None, 1), ("a", None, 1)), "'a' stands twice in table interests, again in row 1"),
        (interests((None, None, 1)), "no interest_id in row 0"),
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
