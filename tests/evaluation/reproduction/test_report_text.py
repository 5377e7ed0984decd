"""Numbers and anyone's text, as a report writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.reproduction.report_text import (
    clean,
    duration,
    figure,
    interval,
    memory,
    paper_figure,
    paper_signed,
    relative,
    shorten,
    signed,
    slug,
)


@pytest.mark.parametrize(
    ("value", "unit", "plain", "with_sign"),
    [
        (0.4816, "share", "0.482", "+0.482"),
        (-0.0314, "share", "−0.031", "−0.031"),
        (-0.0004, "share", "0.000", "0.000"),
        (1.0, "share", "1.000", "+1.000"),
        (2.5, "plain", "2.500", "+2.500"),
        (-42.123, "plain", "−42.1", "−42.1"),
        (1406.2, "plain", "1,406", "+1,406"),
        (float("nan"), "share", "–", "–"),
        (None, "plain", "–", "–"),
    ],
)
def test_figures(value: float | None, unit: str, plain: str, with_sign: str) -> None:
    assert figure(value, unit) == plain
    assert signed(value, unit) == with_sign


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.667, "+67%"),
        (0.043, "+4.3%"),
        (-0.094, "−9.4%"),
        (-0.2, "−20%"),
        (0.0, "0%"),
        (12.5, "+1,250%"),
        (None, "–"),
    ],
)
def test_relative(value: float | None, text: str) -> None:
    assert relative(value) == text


def test_the_paper_prints_two_decimals() -> None:
    assert [paper_figure(value) for value in (0.65, 0.7, 0.125, None)] == ["0.65", "0.70", "0.125", "–"]
    assert [paper_signed(value) for value in (0.65 - 0.39, 0.39 - 0.65, 0.0)] == ["+0.26", "−0.26", "0.00"]


def test_intervals() -> None:
    assert interval(0.3, 0.34) == "[0.300, 0.340]"
    assert interval(-0.03, 0.02, sign=True) == "[−0.030, +0.020]"
    assert interval(None, 0.2) == interval(float("nan"), 0.2) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.7, "1 min 0 s"),
        (298.4, "4 min 58 s"),
        (4320, "1 h 12 min"),
        (3599.8, "1 h 0 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_memory() -> None:
    assert [memory(size) for size in (None, 512 * 2**20, 3 * 2**29)] == ["–", "512 MiB", "1.5 GiB"]


def test_clean_keeps_scripts_and_drops_tricks() -> None:
    assert clean(" שלום\n 🎂 x\ty ") == "שלום 🎂 x y"
    assert clean("a\x00b\u202ec\u2066\ufffe") == "a\ufffdb\ufffdc\ufffd\ufffd"


def test_shorten_counts_wide_characters_twice() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
    assert shorten("組組組組", 6) == "組組…"


def test_slug() -> None:
    assert [slug(text) for text in ("Table 2!", "組", "--A--")] == ["table-2", "x", "a"]


@given(st.text())
def test_clean_text_is_one_line_and_stays_so(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert len(once.splitlines()) <= 1
    once.encode("utf-8")


@given(st.floats(-1, 1))
def test_a_figure_is_within_its_rounding(value: float) -> None:
    read = float(figure(value).replace("−", "-"))
    assert abs(read - value) <= 0.0005 + 1e-9
    assert float(signed(value).replace("−", "-")) == read
