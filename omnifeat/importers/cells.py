"""Cells as spreadsheets and databases write them: what stands for nothing, and ids in wrappings.

Excel keeps the zeros of `00123` behind an apostrophe or as the formula `="00123"`, and writes long ids as `1E+12`;
MySQL and Hive write null as `\\N`. Nothing of this is part of an id, and no other table writes it so.
"""

import re
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.schema import Column

__all__ = ["LIKELY_NULLS", "ROUNDED", "SURE_NULLS", "holds_ids", "unwrapped", "without_nulls", "words_like_nothing"]

SURE_NULLS = ("\\N",)
# programs write these for nothing, and people for a name: they stay, and are told
LIKELY_NULLS = ("NULL", "null", "NaN", "nan", "<NA>", "None", "NaT", "#N/A", "N/A")
# a spreadsheet's way to write a number of more than eleven digits; those digits are gone
ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2,3}")

# no text begins or ends with these: white space is trimmed beside them
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"
_FORMULA = r'^="([^"]*)"$'
_APOSTROPHE = r"^'([^']+)$"


def holds_ids(column: Column) -> bool:
    """Whether a column holds names of things, and not words or a kind: a query is what was typed."""
    return column.name == "id" or column.name.endswith("_id")


def unwrapped(ids: pa.Array) -> pa.Array:
    """Ids (n texts) without blanks around them, Excel's apostrophe before them, or its formula around them."""
    found = pc.utf8_trim_whitespace(pc.utf8_trim(pc.utf8_trim_whitespace(ids), _INVISIBLE))
    for pattern in (_FORMULA, _APOSTROPHE):
        if pc.any(pc.match_substring_regex(found, pattern)).as_py():
            found = pc.utf8_trim_whitespace(pc.replace_substring_regex(found, pattern, r"\1"))
    return found


def without_nulls(texts: pa.Array, words: Sequence[str]) -> tuple[pa.Array, Counter[str]]:
    """Texts (n) with null where a text is one of the words, blanks around it aside, and how many each word was."""
    stands = pc.is_in(pc.utf8_trim_whitespace(texts), pa.array(words, pa.string()))
    if not pc.any(stands).as_py():
        return texts, Counter()
    return pc.if_else(stands, pa.scalar(None, texts.type), texts), _counted(texts.filter(stands))


def words_like_nothing(texts: pa.Array) -> Counter[str]:
    """How many of some texts (n) are each of the words that programs write for nothing."""
    return _counted(texts.filter(pc.is_in(texts, pa.array(LIKELY_NULLS, pa.string()))))


def _counted(texts: pa.Array) -> Counter[str]:
    if not len(texts):
        return Counter()
    found = pc.value_counts(pc.utf8_trim_whitespace(texts))
    return Counter({item["values"].as_py(): item["counts"].as_py() for item in found})
