"""Columns of a file that are most likely a table's, but for how their names are written."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

__all__ = ["folded", "nearly", "same_but_for_case"]

_NEAR = 0.8  # "titel" and "title"; "caption" and "option" are further apart
_SHORTEST = 4


def folded(name: str) -> str:
    """A name without letter case, blanks at its ends, and the kind of sign between its words."""
    return re.sub(r"[\s_-]+", "_", name.strip("\ufeff\u200b \t\r\n\u00a0").casefold())


def same_but_for_case(name: str, there: Sequence[str]) -> list[str]:
    """Names that are this one but for letter case, blanks and signs between words: `Entity ID` for `entity_id`."""
    wanted = folded(name)
    return [other for other in there if other != name and folded(other) == wanted]


def nearly(name: str, there: Collection[str]) -> str | None:
    """The name that is this one but for a letter or two; None where none is, or the name is too short to tell."""
    if len(name) < _SHORTEST:
        return None
    by_form = {folded(other): other for other in there}
    found = difflib.get_close_matches(folded(name), by_form, n=1, cutoff=_NEAR)
    return by_form[found[0]] if found else None
