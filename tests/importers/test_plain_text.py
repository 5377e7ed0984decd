import time

import pyarrow as pa
import pytest

from omnifeat.importers.plain_text import plain_text, plain_texts


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<p>Breathable <strong>linen</strong>&nbsp;&amp; light</p>", "Breathable linen & light"),
        ('<div style="color:red">Solid oak</div>', "Solid oak"),
        ("one<br>two<BR/>three", "one two three"),
        ("H<sub>2</sub>O", "H2O"),
        ("<p>first<p>second", "first second"),
        ("<script>let a = '<p>'</script>cup<style>p{}</style><!-- <b>note</b> -->", "cup"),
        ("<![CDATA[<b>red</b> mug]]>", "red mug"),
        ("<a href='x>y' target=_blank>link</a>", "link"),
        ("<input disabled>cup<o:p></o:p>", "cup"),
        ("&lt;p&gt;Oak &amp;amp; ash&lt;/p&gt;", "Oak & ash"),  # a feed that escapes its HTML
        ("caf&eacute; &#128512;&#x41;", "café 😀A"),
        ("<p>&nbsp;</p>", None),
        (" a  b\n", "a b"),
        (None, None),
    ],
)
def test_html_is_taken_out(text: str | None, plain: str | None) -> None:
    assert plain_text(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "a < b", "I <3 mugs", "5<6>4", "List<String>", "Map<String, List<Integer>>", "vector<a>", "a<b and c>d",
        "for (i<n; i>0)", "5 <b 6", "x <- y -> z", "AT&T", "R&D;", "a&copy=1", "&bogus;", "<ann@shop.example>",
        "<unknown-tag>", "&region;", "&notit;", "&copyright;", "M<8 & L>9",
    ],
)  # fmt: skip
def test_what_only_looks_like_html_is_kept(text: str) -> None:
    assert plain_text(text) == text


def test_columns_without_html_stay_as_they_are_and_cells_are_counted() -> None:
    texts = pa.array(["a  b", None, "", "I <3  it", "<p>x</p>"])
    plain, count = plain_texts(texts)
    assert (plain.to_pylist(), count) == (["a  b", None, "", "I <3  it", "x"], 1)
    assert plain_texts(texts.slice(0, 4))[0].equals(texts.slice(0, 4))
    lists = pa.array([["a &amp; b", "<p></p>"], None, [], ["c"]], pa.list_(pa.string()))
    plain, count = plain_texts(lists.slice(0, 4))
    assert (plain.to_pylist(), count) == ([["a & b"], None, [], ["c"]], 1)
    assert plain_texts(lists.slice(1))[0].to_pylist() == [None, [], ["c"]]
    assert plain_texts(pa.array([], pa.string()))[1] == 0


@pytest.mark.parametrize(
    "text", ["<", "<p a=", '<p a="', "<p x ", "<script>", "<!--", "<![CDATA[", "&#", "<p" + " x" * 40, "]]>", "<?x"]
)
def test_crafted_text_takes_no_longer_than_its_length(text: str) -> None:
    begun = time.process_time()
    plain_text(text * (200_000 // len(text)))
    assert time.process_time() - begun < 3
