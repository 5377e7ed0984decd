"""Two columns that should share values and share none: said in one sentence, with how each writes them.

Ids that are `11.0` in one table and `11` in the other never meet, nor do queries that differ in case alone. Figures
made of such tables are zeros, and zeros look like results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

__all__ = ["case_and_space", "nothing_shared", "other_writing"]


def case_and_space(text: str) -> str:
    """A text without letter case and without white space at its ends or in runs."""
    return " ".join(text.casefold().split())


def _as_whole(text: str) -> str:
    """`11` of `11.0`, `1.1E1` and `011`; what is no whole number stays."""
    if re.fullmatch(r"[+-]?\d+(\.0*)?", text.strip()):
        return str(int(float(text))) if len(text) < 16 else text.strip().split(".")[0]
    if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE]\+?\d{1,2}", text.strip()) and float(text).is_integer():
        return str(int(float(text)))
    return text


def _last_part(text: str) -> str:
    """`11` of `sku-11`, `product:11` and `gid://shop/Product/11`."""
    return re.split(r"[^0-9A-Za-z]+", text.strip().rstrip("/"))[-1]


# What two ways of writing may differ in -> how a text looks without it; the first that makes them meet is said.
_DIFFERENCES: dict[str, Callable[[str], str]] = {
    "letter case or white space": case_and_space,
    "how whole numbers are written ('11.0' is no '11'): write the column as text or as whole numbers": _as_whole,
    "what stands before or behind the id": _last_part,
}


def other_writing(some: Iterable[str], others: Iterable[str], *, bare: bool = False) -> tuple[str, str, str] | None:
    """A text of each side that would be the same but for how it is written, and in what they differ; None if none.

    With `bare`, for sides that meet in part, what stands before or behind an id counts only where the other side has
    none of it: `hat-12` is then another writing of `12`, and not of `shoe-12`.
    """
    ones, rest = list(dict.fromkeys(some)), list(dict.fromkeys(others))
    for difference, form in _DIFFERENCES.items():
        forms = {form(text): text for text in reversed(rest)}
        for text in ones:
            found = forms.get(form(text))
            if bare and form is _last_part and form(text) not in (text, found):
                continue
            if found is not None and found != text and form(text):
                return text, found, difference
    return None


def nothing_shared(what: str, here: str, some: Iterable[str], there: str, others: Iterable[str]) -> str:
    """The sentence for two sets of ids or queries that have nothing in common.

    Parameters
    ----------
    what
        What they are: "entity_id" or "query".
    here, there
        The tables that they stand in, as messages call them.
    some, others
        Values of each; enough of them are looked at to find in what they differ, if it is how they are written.
    """
    ones, rest = list(dict.fromkeys(some)), list(dict.fromkeys(others))
    found = other_writing(ones, rest)
    one, other = (found[0], found[1]) if found else (next(iter(ones), None), next(iter(rest), None))
    shown = f"no {what} of {here} stands in {there}: {_example(one, 'the former')}, {_example(other, 'the latter')}"
    if found:
        return f"{shown}; they differ in {found[2]}"
    return f"{shown}; check that both are of the same catalogue and written alike"


def _example(text: str | None, side: str) -> str:
    return f"{side} has none" if text is None else f"{side} writes {text!r}"
