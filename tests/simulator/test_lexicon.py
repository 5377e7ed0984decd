from omnifeat.simulator.lexicon import ATTRIBUTES, TOPICS, words_of


def test_counts() -> None:
    assert len({topic.domain for topic in TOPICS}) == 6
    assert len(TOPICS) == len({topic.name for topic in TOPICS}) == 24
    assert [len(topic.things) for topic in TOPICS] == [6] * 24


def test_every_kind_of_attribute_has_values() -> None:
    kinds = {attribute.kind for attribute in ATTRIBUTES}
    for topic in TOPICS:
        assert len(topic.kinds) == len(set(topic.kinds)) == 3
        assert set(topic.kinds) <= kinds
        assert topic.price > 0


def test_words_are_plain_and_stand_for_one_thing() -> None:
    assert words_of(" sink|basin ") == ("sink", "basin")
    things = [word for topic in TOPICS for thing in topic.things for word in thing.words]
    assert len(things) == len(set(things))
    values = [word for attribute in ATTRIBUTES for word in attribute.words]
    assert len(values) == len(set(values))
    for word in [*things, *values]:
        assert word == " ".join(word.lower().split())
        assert word
