"""What a board's title says: its words, whether it says anything, and which titles say the same (section 3.2.2)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from omnifeat.data.splits import split_key

__all__ = ["GENERIC_WORDS", "Title", "read_title"]

_GENERIC = """
    a an and at for from i in it me mine more my of on or other others our some that the this to with you your
    all any anything assorted board boards collection cool cute default everything fav fave faves favorite favorites
    favourite favourites favs fun funny general great idea ideas inspiration inspo interesting later like likes liked
    list lol love loved loves lovely misc miscellaneous new nice old pin pins pinned random save saved saves secret
    something stuff temp test thing things untitled various want wants wish wishes wishlist wow yes quick
    allerlei alles andere anderes das dein der die dies dinge diverses ein eine für gemischt ich ideen inspirationen
    mein meine neu neues nur pinnwand sachen schön schöne sonstiges toll und verschiedenes wunschliste zeug
    au autre autres aux beau belle ce ces choses coup coups de des divers du en et favoris idée idées jaime jolie
    la le les ma mes mon nouveau nouvelle pour que qui sur tableau tous tout toute toutes truc trucs un une vrac à
"""
# A title of these alone says nothing about what is on the board. Beside words that do say something they do no harm.
GENERIC_WORDS = frozenset(_GENERIC.split())
_MARK_OF_EMOJI = "\u20e3"


@dataclass(frozen=True)
class Title:
    """A title that says something.

    Attributes
    ----------
    text
        The title with its white space collapsed.
    key
        Its distinct words, sorted: titles with one key are the same title in another dress.
    words
        Its distinct words, folded (NFKC, case), sorted.
    """

    text: str
    key: str
    words: tuple[str, ...]


def read_title(title: str | None) -> Title | None:
    """Read a title; None for noise.

    Noise is a title that is missing, without any letter (emoji, numbers or signs alone), or made of `GENERIC_WORDS`,
    single letters of the Latin alphabet and numbers alone. Words are runs of letters, numbers and marks; all else
    (emoji, punctuation) parts them.
    """
    text = " ".join((title or "").split())
    words = sorted(set(_words(split_key(text))))
    if not any(_says_something(word) for word in words):
        return None
    return Title(text, " ".join(words), tuple(words))


def _words(text: str) -> list[str]:
    plain = "".join(sign if _in_word(sign) else " " for sign in text.replace("'", "").replace("\u2019", ""))
    # a mark that stands alone was an emoji's
    return [word for word in plain.split() if any(sign.isalnum() for sign in word)]


def _in_word(sign: str) -> bool:
    if sign == _MARK_OF_EMOJI or "\ufe00" <= sign <= "\ufe0f" or "\U000e0100" <= sign <= "\U000e01ef":
        return False  # marks by their category, but signs that choose how an emoji looks
    return unicodedata.category(sign)[0] in "LNM"


def _says_something(word: str) -> bool:
    if word in GENERIC_WORDS or not any(unicodedata.category(sign)[0] == "L" for sign in word):
        return False
    return len(word) > 1 or not word.isascii()
