import pytest

from omnifeat.simulator.lexicon import LEAVES_PER_THING, LOCALES, lexicon, parse_words


def test_four_levels() -> None:
    words = lexicon()
    assert len(words.domains) == 24
    assert 140 <= len(words.topics) <= 160
    assert 560 <= len(words.things) <= 640
    assert [thing.topic for thing in words.things] == sorted(thing.topic for thing in words.things)
    assert [topic.domain for topic in words.topics] == sorted(topic.domain for topic in words.topics)
    assert {thing.topic for thing in words.things} == set(range(len(words.topics)))
    for thing in words.things:
        assert len(set(thing.leaves)) == LEAVES_PER_THING
        kinds = {words.attributes[value].kind for value in thing.leaves}
        assert kinds == {words.topics[thing.topic].kinds[0]}


def test_attributes() -> None:
    words = lexicon()
    assert len(words.attributes) >= 80
    kinds = {attribute.kind for attribute in words.attributes}
    assert kinds >= {"colour", "material", "style", "room", "season", "occasion"}
    for topic in words.topics:
        assert len(set(topic.kinds)) == 3
        assert set(topic.kinds) <= kinds
        assert topic.price > 0


def test_words_are_plain_in_every_locale_and_the_usual_one_stands_for_one_thing() -> None:
    words = lexicon()
    meanings = [*words.domains, *(row.words for row in (*words.topics, *words.things, *words.attributes))]
    for of_locales in meanings:
        assert len(of_locales) == len(LOCALES)
        for of_locale in of_locales:
            assert len(set(of_locale)) == len(of_locale)
            for word in of_locale:
                assert word == " ".join(word.lower().split()) != ""
    for locale in range(len(LOCALES)):
        usual = [thing.words[locale][0] for thing in words.things]
        assert len(set(usual)) == len(usual)


def test_meanings_have_other_words_in_other_places() -> None:
    """Vocabulary mismatch is in the words themselves: synonyms, British words, two more languages."""
    words = lexicon()
    american, british, french, german = zip(*(thing.words for thing in words.things), strict=True)
    assert sum(len(of_locale) > 1 for of_locale in american) > len(words.things) / 3
    assert sum(one[0] != other[0] for one, other in zip(american, british, strict=True)) > 80
    for other in (french, german):
        assert sum(not set(one) & set(two) for one, two in zip(american, other, strict=True)) > 0.8 * len(words.things)


def test_phrases_have_one_form_a_locale() -> None:
    for use, lines in lexicon().phrases.items():
        for line in lines:
            assert len(line) == len(LOCALES)
            assert all(("{}" in form) == (use == "board") for form in line)


def test_parse_words() -> None:
    assert parse_words("sink, basin / basin = lavabo, vasque = waschbecken") == (
        ("sink", "basin"), ("basin",), ("lavabo", "vasque"), ("waschbecken",),
    )  # fmt: skip
    assert parse_words("oak = chêne = eiche")[:2] == (("oak",), ("oak",))
    with pytest.raises(ValueError, match="a language is missing in 'oak = eiche'"):
        parse_words("oak = eiche")
    with pytest.raises(ValueError, match="a word is missing"):
        parse_words("oak, = chêne = eiche")
