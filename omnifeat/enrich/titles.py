"""What a board's title says: its words, whether it says anything, and which titles say the same (section 3.2.2)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from omnifeat.data.title_words import title_words

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
    single letters of the Latin alphabet and numbers alone.
    """
    text = " ".join((title or "").split())
    words = title_words(text)
    if not any(_says_something(word) for word in words):
        return None
    return Title(text, " ".join(words), tuple(words))


def _says_something(word: str) -> bool:
    if word in GENERIC_WORDS or not any(unicodedata.category(sign)[0] == "L" for sign in word):
        return False
    return len(word) > 1 or not word.isascii()
