"""Text as publishers hold it, made plain: HTML taken out, white space collapsed.

Only what is an element of HTML is taken for one: "a < b", "<3", "5<6>4" and "List<String>" are text. The tags are found
by a pattern and not by Python's parser, which drops what follows a "<" that is never closed, in some versions only.
"""

import html
import re
from html.entities import html5

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["HUMAN_TEXT", "collapsed", "plain_text", "plain_texts", "trimmed"]

# columns of the schema that hold text written for people; queries are what was typed, and ids are names
HUMAN_TEXT = frozenset(
    ("title", "description", "caption", "brand", "color", "material", "product_type", "name", "board_titles")
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# elements within a line: their tags stand between letters of one word ("H<sub>2</sub>O") and leave nothing behind
_INLINE = _words(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd mark nobr q rp rt ruby s samp small span "
    "strike strong sub sup time tt u var wbr"
)
_BLOCK = _words(
    "address applet area article aside audio base basefont blockquote body br button canvas caption center col "
    "colgroup dd details dialog dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 "
    "h5 h6 header hgroup hr html iframe img input label legend li link main map menu meta meter nav noscript object ol "
    "optgroup option output p param picture pre progress section select source summary table tbody td textarea tfoot "
    "th thead title tr track ul video xml"
)
# names that a program or a formula may write between angles as well: tags only where the cell holds a sure one too
_UNSURE = _words("a b i q s u em tt del data map code time var object option select source input param")
# attributes without a value; after any other word a name is no tag: "a<b and c>d"
_FLAGS = _words(
    "allowfullscreen async autofocus autoplay checked compact controls default defer disabled download hidden "
    "itemscope loop multiple muted nohref noresize noshade novalidate nowrap open playsinline readonly required "
    "reversed selected"
)
_GONE = re.compile(  # what is no text at all: with its content
    r"<!--.*?(?:-->|\Z)|<!doctype\b[^<>]*>|<\?[a-z][^<>]*\?>"
    r"|<(script|style|svg|template|head)(?:\s[^<>]*)?>.*?(?:</\1\s*>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
_ATTRIBUTE = r"""\s+[A-Za-z_:@][\w:.@-]*(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+))?"""
_TAG = re.compile(rf"<(/?)([A-Za-z][A-Za-z0-9]*|[a-z]{{1,3}}\d?:[a-z]+)((?:{_ATTRIBUTE})*)\s*/?>", re.IGNORECASE)
_FLAG = re.compile(r"""\s+(?:[\w:.@-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+)|(?P<flag>[\w:.@-]+))""")
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SUSPECT = r"<[A-Za-z/!?]|&[#A-Za-z][A-Za-z0-9]*;"
_ROUNDS = 3  # feeds escape their HTML once more: "&lt;p&gt;", "&amp;nbsp;"


def plain_text(text: str | None) -> str | None:
    """Text without the HTML that stands in some descriptions, white space collapsed; None where nothing is left.

    Tags of blocks and `<br>` become a blank, tags within a line nothing; comments, scripts and styles go with their
    content; `&amp;` and the like become the characters that they stand for.
    """
    if text is None:
        return None
    for _ in range(_ROUNDS):
        if "<" not in text and "&" not in text:
            break
        before = text
        text = _REFERENCE.sub(_referred, _without_tags(text))
        if text == before:
            break
    return " ".join(text.split()) or None


def _referred(match: re.Match[str]) -> str:
    """What a reference stands for; a name that HTML does not know with its semicolon stays, as in "&region;"."""
    name = match[0][1:]
    return html.unescape(match[0]) if name[0] == "#" or name in html5 else match[0]


def plain_texts(texts: pa.Array) -> tuple[pa.Array, int]:
    """Texts, or lists of texts, (n) without HTML, and how many cells held any. All others stay as they are."""
    nested = pa.types.is_list(texts.type)
    flat = texts.flatten() if nested else texts
    suspect = pc.fill_null(pc.match_substring_regex(flat, _SUSPECT), False)
    if not pc.any(suspect).as_py():
        return texts, 0
    if nested:
        before = texts.to_pylist()
        after = [row and [plain for plain in map(_without_html, row) if plain is not None] for row in before]
        return pa.array(after, texts.type), sum(one != two for one, two in zip(before, after, strict=True))
    before = texts.filter(suspect).to_pylist()
    after = [_without_html(text) for text in before]
    plain = pc.replace_with_mask(texts, suspect, pa.array(after, texts.type))
    return plain, sum(one != two for one, two in zip(before, after, strict=True))


def _without_html(text: str | None) -> str | None:
    """The plain text, or the text itself where white space is all that would change."""
    plain = plain_text(text)
    return text if text is None or plain == " ".join(text.split()) else plain


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    text = _GONE.sub(" ", text)
    if "<![CDATA[" in text:
        text = _CDATA.sub(" ", text)
    is_html = any(map(_is_sure, _TAG.finditer(text)))

    def replaced(match: re.Match[str]) -> str:
        name = match[2].lower()
        if not _is_tag(match) or (name in _UNSURE and not is_html):
            return match[0]
        return "" if name in _INLINE else " "

    return _TAG.sub(replaced, text)


def _is_tag(match: re.Match[str]) -> bool:
    name = match[2].lower()
    if ":" in name:  # of an office program: <o:p>, <v:shape>
        return name.split(":")[0] in ("o", "v", "w", "m", "st1", "g")
    known = name in _INLINE or name in _BLOCK
    return known and all(not flag or flag.lower() in _FLAGS for flag in _FLAG.findall(match[3]))


def _is_sure(match: re.Match[str]) -> bool:
    """Whether it is a tag and not a word between angles: one that closes, has attributes, or a name of HTML alone."""
    return _is_tag(match) and bool(match[1] or match[3] or match[2].lower() not in _UNSURE)


def trimmed(texts: pa.Array) -> pa.Array:
    """Texts (n) without white space around them; null where nothing is left."""
    texts = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def collapsed(texts: pa.Array) -> pa.Array:
    """Texts (n) trimmed, each run of white space in them one blank; null where nothing is left."""
    return trimmed(pc.replace_substring_regex(texts, r"[\s\p{Z}]+", " "))
