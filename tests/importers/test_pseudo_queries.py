from hypothesis import given, settings
from hypothesis import strategies as st

from omnifeat.importers.pseudo_queries import (
    CatalogueText,
    TypePhrases,
    _words,
    find_type_phrases,
    product_queries,
)


def _catalogue() -> list[CatalogueText]:
    brands = ("Acme", "Bolt", "Crest")
    texts = [
        CatalogueText(f"{brand}-{number}", f"{brand} X{number}00 laser printer 20 ppm", None, brand, ("Black",))
        for brand in brands
        for number in range(3)
    ]
    # one brand's own name for its products; a word that only ever modifies
    texts += [CatalogueText(f"z-{number}", f"Acme Zoomster {number}0 lamp", None, "Acme") for number in range(6)]
    return texts


def test_type_phrases_are_frequent_and_of_several_brands() -> None:
    # "laser printer" stands in 9 titles of 3 brands and ends before "20"; "printer" and "laser" stand only inside it;
    # "zoomster" and "lamp" are of one brand; "acme" is a brand
    assert find_type_phrases(_catalogue()).brands_of == {"laser printer": 3}


def test_too_rare_a_phrase_is_no_type() -> None:
    assert find_type_phrases(_catalogue(), min_products=10).brands_of == {}
    assert find_type_phrases(_catalogue(), min_brands=4).brands_of == {}


def test_a_word_that_always_stands_before_others_is_no_type() -> None:
    # "thin client" ends each title, "thin lens" too: "thin" itself never does
    texts = [
        CatalogueText(f"{brand}-{kind}-{number}", f"{brand} {number} thin {kind}", None, brand)
        for brand in ("A1", "B2", "C3")
        for kind in ("client", "lens")
        for number in range(3)
    ]
    assert set(find_type_phrases(texts).brands_of) == {"thin client", "thin lens"}


def test_queries_of_a_product() -> None:
    product = _catalogue()[0]
    types = find_type_phrases(_catalogue())
    queries = product_queries(product, types, number=30, seed=0)
    assert {"laser printer", "acme laser printer", "black laser printer", "acme"} <= set(queries)
    assert "laser printers" in {
        query for seed in range(30) for query in product_queries(product, types, number=6, seed=seed)
    }
    # a piece of the title, with a model number in it
    assert "acme x000 laser" in queries or "x000 laser printer" in queries


def test_the_same_seed_gives_the_same_queries_whatever_stands_around() -> None:
    types = find_type_phrases(_catalogue())
    alone = product_queries(_catalogue()[4], types, number=5, seed=3)
    after_others = [product_queries(product, types, number=5, seed=3) for product in reversed(_catalogue())]
    assert alone in after_others
    assert alone != product_queries(_catalogue()[4], types, number=5, seed=4)


def test_types_come_from_the_description_where_the_title_has_none() -> None:
    types = TypePhrases({"toner cartridge": 5})
    product = CatalogueText("1", "006R90321", "A toner cartridge for copiers", None)
    assert product_queries(product, types, number=1, seed=0)[0].startswith("toner cartridge")


def test_nothing_to_say() -> None:
    assert product_queries(CatalogueText("1", "!!!"), TypePhrases({}), number=5, seed=0) == []


@settings(deadline=None, max_examples=60)
@given(
    title=st.text(max_size=60),
    brand=st.none() | st.text(max_size=12),
    attributes=st.lists(st.text(max_size=12), max_size=3),
    number=st.integers(1, 8),
    seed=st.integers(0, 5),
)
def test_any_text_gives_short_distinct_lower_case_queries(
    title: str, brand: str | None, attributes: list[str], number: int, seed: int
) -> None:
    product = CatalogueText("1", title, None, brand, tuple(attributes))
    types = find_type_phrases([product], min_products=1, min_brands=1)
    queries = product_queries(product, types, number=number, seed=seed)
    assert len(queries) == len(set(queries)) <= number
    for query in queries:
        assert 1 <= len(query.split()) <= 4
        assert query == " ".join(query.split())
        assert query == query.lower()


def test_what_heads_a_run_of_words_names_the_thing() -> None:
    types = TypePhrases(
        {"notebook": 9, "case": 9, "notebook case": 5, "dock/port replicator": 4, "cable": 9, "monitor": 9}
    )
    heads = {
        'Targus TEV001EU notebook case 39.1 cm (15.4")': ["notebook case", "case"],
        "HP EQ773AA notebook dock/port replicator Black": ["dock/port replicator"],
        "HP Compaq 6730s Notebook PC": ["notebook"],
        "Privacy filter for 19 inch monitor": [],  # the monitor is another thing
        "Monitor cable with notebook": ["cable"],
        "notebook only hardware support": [],
    }
    assert {title: types.heading(_words(title)) for title in heads} == heads


def test_a_word_of_a_brand_may_still_name_a_type() -> None:
    brands = ("Targus", "Acme", "Case Logic", "Kensington") * 3
    bags = [CatalogueText(str(n), f"{brand} {n} bag", None, brand) for n, brand in enumerate(brands)]
    cases = [CatalogueText(f"c{n}", f"{brand} {n} case", None, brand) for n, brand in enumerate(brands)]
    assert set(find_type_phrases([*bags, *cases]).brands_of) == {"bag", "case"}  # not "targus", not "logic"
