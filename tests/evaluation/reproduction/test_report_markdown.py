"""The Markdown: the same as the page holds, with its pictures, and no text of anyone's read as markup."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from evaluation.reproduction.report_markdown import markdown_report, markdown_text
from evaluation.reproduction.report_text import clean
from tests.evaluation.reproduction.studies import bare, whole

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
MARKUP = st.text(alphabet="#*_`~|[](){}<>!\\-+=.:&;$@1a \nhtps/w\"'^", max_size=20) | st.text(max_size=20)


def _inline(source: str) -> list[str]:
    """Kinds and contents of the inline tokens of a source."""
    return [
        f"{child.type} {child.content}".rstrip()
        for token in READER.parse(source)
        if token.type == "inline"
        for child in token.children or []
    ]


@given(MARKUP)
def test_any_text_is_text(text: str) -> None:
    said = clean(text)
    written = markdown_text(text)
    expected = [f"text {said}".rstrip()] if said else []
    assert _inline(written) == expected
    assert [token.type for token in READER.parse(written)] == (
        ["paragraph_open", "inline", "paragraph_close"] if said else []
    )
    assert _inline(f"- {written}" if said else "") == expected
    # in a table, between other cells
    cells = _inline(f"| a | b | c |\n| --- | --- | --- |\n| x | {written} | y |")
    assert cells == ["text a", "text b", "text c", "text x", *expected, "text y"]


def test_no_address_becomes_a_link() -> None:
    assert markdown_text("see http://a.b, WWW.c.d or e@f.g") == r"see http\://a.b, WWW\.c.d or e\@f.g"


def test_everything_stands_in_the_text() -> None:
    text, pictures = markdown_report(whole())
    results = whole()
    read = "\n".join(_inline(text))
    for claim in results.claims:
        assert claim.text in read
        assert claim.evidence in read
        assert claim.verdict in read
    lines = text.splitlines()
    assert "|  | less SearchSage | ▲ +0.160 (+50%) [+0.140, +0.180] | ≈ −0.004 (−0.8%) [−0.030, +0.020] |" in lines
    assert "| **OmniSearchSage** | here | 0.480 [0.460, 0.500] | 0.496 [0.460, 0.520] |" in lines
    assert "|  | paper’s gain | +0.26 (+67%) | – |" in lines
    assert "| 1 | ★ Grey sofa (pin p1, 0.910, grade 3) | – |" in lines
    assert "| pins | 100,000 |" in lines
    assert "`omnifeat reproduce --data world`" in lines
    for part in (
        "Human relevance",
        "Three judgements a pair.",
        "abcdef01",
        "wohnzimmer ideen",
        "4 min 58 s",
        "1.5 GiB",
    ):
        assert part in text
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert shown == list(pictures)
    assert len(shown) == 6


def test_pictures_are_svg_that_fetch_nothing() -> None:
    for path, svg in markdown_report(whole())[1].items():
        assert re.fullmatch(r"images/[a-z0-9-]+\.svg", path)
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].text
        assert root[1].text
        assert "var(" not in svg
        assert re.search(r"#0[0-9a]0[0-9]0[0-9]", svg) is None  # every colour has been given its own
        for element in root.iter():
            assert element.tag.rsplit("}")[-1] not in ("script", "image", "style", "foreignObject")
            assert all(value.startswith("#") for name, value in element.attrib.items() if name.endswith("href"))


def test_what_is_missing_leaves_no_heading() -> None:
    text, pictures = markdown_report(bare())
    assert pictures == {}
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# A bare study",
        "## Summary",
        "## How it was made",
        "### Machine and versions",
    ]


def test_the_same_results_are_the_same_bytes() -> None:
    assert markdown_report(whole()) == markdown_report(whole())
