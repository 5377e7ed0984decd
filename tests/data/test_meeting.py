"""Ids and queries that never meet."""

import pytest

from omnifeat.data.meeting import nothing_shared, other_writing


@pytest.mark.parametrize(
    ("some", "others", "pair", "difference"),
    [
        (["11.0", "12.0"], ["12", "13"], ("12.0", "12"), "whole numbers"),
        (["1e+16"], ["10000000000000000"], ("1e+16", "10000000000000000"), "whole numbers"),
        (["007"], ["7"], ("007", "7"), "whole numbers"),
        (["9007199254740993.0"], ["9007199254740993"], ("9007199254740993.0", "9007199254740993"), "whole numbers"),
        (["Red Mug "], ["red mug"], ("Red Mug ", "red mug"), "letter case or white space"),
        (["product:11"], ["11"], ("product:11", "11"), "before or behind"),
        (["gid://shop/Product/11"], ["sku-11"], ("gid://shop/Product/11", "sku-11"), "before or behind"),
    ],
)
def test_two_ways_of_writing_one_id_are_named(
    some: list[str], others: list[str], pair: tuple[str, str], difference: str
) -> None:
    found = other_writing(some, others)
    assert found is not None
    assert found[:2] == pair
    assert difference in found[2]
    sentence = nothing_shared("entity_id", "run.csv", some, "products", others)
    assert f"no entity_id of run.csv stands in products: the former writes {pair[0]!r}" in sentence
    assert f"the latter writes {pair[1]!r}; they differ in {found[2]}" in sentence


def test_sets_of_other_ids_show_one_of_each() -> None:
    assert other_writing(["a"], ["b"]) is None
    assert other_writing(["", "--"], ["//"]) is None
    sentence = nothing_shared("query", "the run", ["a", "c"], "the judgments", [])
    assert sentence == (
        "no query of the run stands in the judgments: the former writes 'a', the latter has none; "
        "check that both are of the same catalogue and written alike"
    )
