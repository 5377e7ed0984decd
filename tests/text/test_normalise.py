import hypothesis.strategies as st
import pyarrow as pa
import pytest
import reference
from awkward_texts import texts
from hypothesis import given, settings

from omnifeat.errors import DataError
from omnifeat.text import normalise
from omnifeat.text.normalise import text_buffers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Hello \t\n World  ", "hello world"),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("e\u0301", "é"),
        ("J\u030c", "ǰ"),  # no composed capital; the small letter composes only after lower-casing
        ("ＡＢ\u00a0½", "ab 1⁄2"),
        ("ΟΔΟΣ", "οδοσ"),  # every sigma alike
        ("İstanbul", "istanbul"),
        ("한국", "한국"),
        ("\u1112\u1161\u11ab", "한"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("x\u0301\u0323", "x\u0323\u0301"),  # marks in canonical order
        ("", ""),
        (None, ""),
    ],
)
def test_normalises(text, expected):
    assert normalise(pa.array([text], pa.string())).to_pylist() == [expected]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.none() | texts(), max_size=8))
def test_equals_the_reference_and_is_idempotent(rows):
    once = normalise(pa.array(rows, pa.string()))
    assert once.to_pylist() == [reference.normalise(text or "") for text in rows]
    assert once.type == pa.string()
    once.validate(full=True)
    assert normalise(once).equals(once)


ROWS = ["Ünï", None, "", "½ x", "日本", "last"]
EXPECTED = ["ünï", "", "", "1⁄2 x", "日本", "last"]


@pytest.mark.parametrize(
    "strings",
    [
        pa.array(ROWS, pa.string()),
        pa.array(ROWS, pa.large_string()),
        pa.array(ROWS, pa.string_view()),
        pa.array(ROWS, pa.string()).dictionary_encode(),
        pa.array(["cut off", *ROWS, "½"], pa.string()).slice(1, 6),
        pa.array(["cut off", *ROWS, "½"], pa.large_string()).slice(1, 6),
        pa.chunked_array([ROWS[:1], [], ROWS[1:4], ROWS[4:]], pa.string()),
        pa.chunked_array([pa.array(["x", *ROWS[:4]]).slice(1), pa.array(ROWS[4:])]),
    ],
    ids=["int32", "int64", "view", "dictionary", "slice", "large slice", "chunks", "sliced chunk"],
)
def test_layouts_of_arrow(strings):
    assert normalise(strings).to_pylist() == EXPECTED


@pytest.mark.parametrize(
    ("strings", "expected"),
    [
        (pa.array([], pa.string()), []),
        (pa.array([], pa.large_string()), []),
        (pa.chunked_array([], pa.string()), []),
        (pa.array(["a"]).slice(1), []),
        (pa.nulls(2), ["", ""]),
        (pa.nulls(2, pa.string()), ["", ""]),
        (pa.array(["", ""]), ["", ""]),
    ],
)
def test_nothing_to_read(strings, expected):
    assert normalise(strings).to_pylist() == expected


def test_bytes_under_a_null_are_not_read():
    # rows "ab", null over "CD", "ef"
    strings = pa.StringArray.from_buffers(
        3,
        pa.py_buffer(b"\x00\x00\x00\x00\x02\x00\x00\x00\x04\x00\x00\x00\x06\x00\x00\x00"),
        pa.py_buffer(b"abCDef"),
        pa.py_buffer(b"\x05"),
    )
    assert normalise(strings).to_pylist() == ["ab", "", "ef"]


@pytest.mark.parametrize(
    "broken",
    ["80", "c0af", "c3", "e282", "e08080", "eda080", "f0808080", "f4908080", "ff"],
)
def test_text_that_is_not_utf8_is_refused_with_its_row(broken):
    good = pa.array([b"fine", "é".encode()], pa.binary())
    bad = pa.array([b"fine", b"caf" + bytes.fromhex(broken)], pa.binary())
    strings = pa.chunked_array([good.view(pa.string()), bad.view(pa.string())])
    with pytest.raises(DataError, match=r"^Row 4 of the text column is not UTF-8; convert"):
        normalise(strings)


def test_a_code_point_cut_off_by_the_end_of_its_string_is_refused():
    # the next string's first byte would complete it: only the offset tells
    strings = pa.array([b"caf\xc3", b"\xa9"], pa.binary()).view(pa.string())
    with pytest.raises(DataError, match="Row 1 "):
        normalise(strings)


def test_a_column_of_numbers_is_refused():
    with pytest.raises(DataError, match=r"holds int64 where text is needed; cast it"):
        normalise(pa.array([1, 2]))


def test_strings_that_need_no_rewriting_are_views():
    strings = pa.array(["Plain text", "日本語", "naïve"])
    (buffers,) = text_buffers(strings)
    assert buffers.data.__array_interface__["data"][0] == strings.buffers()[2].address
    (buffers,) = text_buffers(pa.array(["Plain", "½"]))
    assert bytes(buffers.data) == "Plain1⁄2".encode()


def test_more_rows_than_are_read_at_once():
    rows = [f"Row {i} ½" if i % 5_000 == 0 else f"Row {i}" for i in range(40_000)]
    assert normalise(pa.array(rows)).to_pylist() == [reference.normalise(text) for text in rows]
