"""Every model is one declared change of the base, and tables ask for what the data can give."""

import itertools

import pytest

from evaluation.reproduction.paper import PAPER, PAPER_RELATIVE
from evaluation.reproduction.systems import EXISTING
from evaluation.reproduction.tables import plan_of
from evaluation.reproduction.variations import BASE, TABLES, VARIATIONS, text_read, variations_of
from omnifeat.errors import SettingError
from omnifeat.models.config import preset
from omnifeat.training.settings import train_preset

TASKS = (
    "pins/entity",
    "pins/pinsage",
    "products/entity",
    "products/itemsage",
    "products_offsite/entity",
    "queries/query",
)


def test_the_papers_tables_need_ten_models() -> None:
    names = [variation.name for variation in variations_of(("2", "3", "4", "5", "6"), preset("tiny"), TASKS)]
    assert names == [
        BASE, "searchsage", "native-text", "captions", "continuous", "board-titles", "pin-only", "product-only",
        "query-only", "no-compatibility",
    ]  # fmt: skip


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_variation_changes_what_it_names_and_nothing_else(name: str) -> None:
    tables = [key for key, names in TABLES.items() if name in names]
    (variation,) = [found for found in variations_of(tables, preset("tiny"), TASKS) if found.name == name]
    config, settings = variation.apply(preset("tiny"), train_preset("tiny"))
    before = {**flat(preset("tiny").to_dict()), **flat(train_preset("tiny").to_dict())}
    after = {**flat(config.to_dict()), **flat(settings.to_dict())}
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed == {key for key in changed if any(key.startswith(named) for named in variation.changes())}
    assert bool(changed) == (name != BASE)


def flat(values: dict, before: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in values.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def test_what_the_data_lacks_is_left_out() -> None:
    tasks = ("pins/entity", "queries/query")
    found = {variation.name: variation for variation in variations_of(("2", "5", "6"), preset("tiny"), tasks)}
    assert "searchsage" not in found
    assert "product-only" not in found
    assert found["pin-only"].training["tasks"] == ("pins/*",)
    assert found["no-compatibility"].training["tasks"] == ("*/entity", "*/query")


def test_an_unknown_table() -> None:
    with pytest.raises(SettingError, match="There is no table '9'; choose from 2, 3, 4, 5, 6, matryoshka"):
        variations_of(("9",), preset("tiny"), TASKS)


def test_the_papers_figures_are_of_models_that_are_declared() -> None:
    for figures in (PAPER, PAPER_RELATIVE):
        for table, systems in figures.items():
            for system, of_questions in systems.items():
                assert system.removesuffix(EXISTING) in TABLES[table]
                assert all(0 <= value <= 1 for value in of_questions.values())


def test_the_papers_gains_follow_from_its_figures() -> None:
    """Table 4 prints gains over the row above; whole percents, so that half of one is rounding."""
    rows = ("continuous", "captions", "board-titles", BASE)
    for above, row in itertools.pairwise(rows):
        for question, gain in PAPER_RELATIVE["4"][row].items():
            before, after = PAPER["4"][above][question], PAPER["4"][row][question]
            # both figures are rounded to two decimals
            assert (after - 0.005) / (before + 0.005) - 1.005 <= gain <= (after + 0.005) / (before - 0.005) - 0.995


def test_models_that_would_read_the_same_are_left_out() -> None:
    """Emoji have titles and engaged queries alone, and no vectors."""
    tables = ("2", "3", "4")
    found = variations_of(tables, preset("tiny"), ("pins/entity",), ("title", "engaged_queries"), vectors=False)
    assert [variation.name for variation in found] == [BASE, "captions"]
    assert plan_of("4", (), [variation.name for variation in found]).compared == {"captions": None, BASE: "captions"}
    found = variations_of(tables, preset("tiny"), ("pins/entity",), ("title",), vectors=True)
    assert [variation.name for variation in found] == [BASE, "continuous"]


def test_rows_of_table_four_are_named_by_what_they_add() -> None:
    config, trained = preset("tiny"), TABLES["4"]

    def labels(fields: set[str]) -> dict[str, str]:
        found = variations_of(("4",), config, ["pins/entity"], fields)
        texts = {one.name: text_read(one, config, fields) for one in found}
        return dict(plan_of("4", (), list(texts), texts=texts).labels or {})

    whole = labels({"title", "description", "caption", "board_titles", "engaged_queries"})
    assert list(whole) == list(trained)
    assert list(whole.values()) == [
        "Continuous features only", "Adding title, description and captions", "Adding board titles",
        "Adding engaged queries",
    ]  # fmt: skip
    # a catalogue without engaged queries: what its base adds is other text
    assert labels({"title", "description"}) == {
        "continuous": "Continuous features only", BASE: "Adding title and description"
    }  # fmt: skip
    assert labels({"engaged_queries"})[BASE] == "Adding engaged queries"
