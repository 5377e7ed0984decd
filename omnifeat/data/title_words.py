"""The words of a board's title, by which titles that differ in dress alone are one (section 3.2.2)."""

import unicodedata

from omnifeat.data.splits import split_key

__all__ = ["title_key", "title_words"]

_MARK_OF_EMOJI = "\u20e3"


def title_words(title: str) -> list[str]:
    """The distinct words of a title, folded (NFKC, case), sorted.

    Words are runs of letters, numbers and marks; all else (emoji, punctuation) parts them.
    """
    folded = split_key(" ".join(title.split())).replace("'", "").replace("\u2019", "")
    plain = "".join(sign if _in_word(sign) else " " for sign in folded)
    # a mark that stands alone was an emoji's
    return sorted({word for word in plain.split() if any(sign.isalnum() for sign in word)})


def title_key(title: str) -> str:
    """Titles with one key are the same title in another dress; one without words is told by its signs."""
    return " ".join(title_words(title)) or split_key(title)


def _in_word(sign: str) -> bool:
    if sign == _MARK_OF_EMOJI or "\ufe00" <= sign <= "\ufe0f" or "\U000e0100" <= sign <= "\U000e01ef":
        return False  # marks by their category, but signs that choose how an emoji looks
    return unicodedata.category(sign)[0] in "LNM"
