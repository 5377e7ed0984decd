"""Text as publishers hold it, made plain: HTML taken out, white space collapsed."""

import html
import re

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["collapsed", "plain_text", "trimmed"]

_TAG = re.compile(r"<[A-Za-z/!][^<>]*>")


def plain_text(text: str | None) -> str | None:
    """Text without the HTML that stands in some descriptions, white space collapsed; None where nothing is left."""
    if text is None:
        return None
    return " ".join(html.unescape(_TAG.sub(" ", text)).split()) or None


def trimmed(texts: pa.Array) -> pa.Array:
    """Texts (n) without white space around them; null where nothing is left."""
    texts = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def collapsed(texts: pa.Array) -> pa.Array:
    """Texts (n) trimmed, each run of white space in them one blank; null where nothing is left."""
    return trimmed(pc.replace_substring_regex(texts, r"[\s\p{Z}]+", " "))
