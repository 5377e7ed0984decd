from hypothesis import given
from hypothesis import strategies as st

from omnifeat.data.title_words import title_key, title_words


def test_titles_that_differ_in_dress_have_one_key() -> None:
    assert title_key("Swimming \u2764\ufe0f") == title_key("swimming") == "swimming"
    assert title_key("Kitchen & Bath!") == title_key("bath  kitchen") == "bath kitchen"
    assert title_words("Grandma's Grandma\u2019s  Garden") == ["garden", "grandmas"]
    assert title_key("\u2764") != title_key("\u2b50")  # no words: told apart by their signs
    assert title_key("台所") != title_key("庭")


@given(st.text(max_size=30))
def test_words_say_the_same_of_themselves(title: str) -> None:
    words = title_words(title)
    assert words == sorted(set(words))
    assert title_words(" ".join(reversed(words))) == words
