import pyarrow as pa
import pytest

from omnifeat.errors import DataError
from omnifeat.training.tasks import Catalogue, PairSet, build_pair_sets, tasks_of

IDS = {"pin": pa.array(["p0", "p1", "p2"]), "product": pa.array(["r0", "r1"])}


def engagements(*rows: tuple[str, str, str, str]) -> pa.Table:
    names = ("query", "entity_id", "entity_type", "action")
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})


def as_text(catalogue: Catalogue, pairs: PairSet) -> set[tuple[str, str]]:
    ids = catalogue.queries if pairs.entity_type == "query" else catalogue.ids[pairs.entity_type]
    return {
        (catalogue.queries[int(q)].as_py(), ids[int(e)].as_py())
        for q, e in zip(pairs.queries, pairs.entities, strict=True)
    }


def test_sets_by_entity_type_and_group_of_actions() -> None:
    catalogue, sets = build_pair_sets(
        engagements(
            ("shoes", "p1", "pin", "save"),
            ("shoes", "p1", "pin", "long_click"),  # the same pair, once more
            ("cake", "p2", "pin", "click"),
            ("shoes", "r0", "product", "long_click"),
            ("shoes", "r0", "product", "checkout"),
            ("cake", "r1", "product", "add_to_cart"),
            ("shoes", "red shoes", "query", "click"),
            ("shoes", "shoes", "query", "click"),  # no suggestion
        ),
        IDS,
    )
    assert {pairs.name: as_text(catalogue, pairs) for pairs in sets} == {
        "pins": {("shoes", "p1"), ("cake", "p2")},
        "products": {("shoes", "r0")},
        "products_offsite": {("shoes", "r0"), ("cake", "r1")},
        "queries": {("shoes", "red shoes")},
    }
    assert all(len(pairs) == len(as_text(catalogue, pairs)) for pairs in sets)
    assert catalogue.size("query") == 3
    assert catalogue.size("pin") == 3


def test_tasks_share_the_pairs_of_their_set() -> None:
    _, sets = build_pair_sets(
        engagements(("a", "p0", "pin", "save"), ("a", "r0", "product", "checkout"), ("a", "b", "query", "click")), IDS
    )
    tasks = tasks_of(sets, {"pin": ["pinsage"], "product": ["itemsage"]})
    assert [task.name for task in tasks] == [
        "pins/entity",
        "pins/pinsage",
        "products_offsite/entity",
        "products_offsite/itemsage",
        "queries/query",
    ]


def test_an_entity_that_is_in_no_table_is_named() -> None:
    with pytest.raises(DataError, match="has the pin 'p9', which is not in table 'pins'"):
        build_pair_sets(engagements(("a", "p9", "pin", "save")), IDS)
    with pytest.raises(DataError, match="entities of type 'product' but the dataset has no table 'products'"):
        build_pair_sets(engagements(("a", "r0", "product", "save")), {"pin": IDS["pin"]})


def test_no_engagements_make_no_sets() -> None:
    _, sets = build_pair_sets(engagements(("a", "p0", "pin", "save")).slice(0, 0), IDS)
    assert sets == []
