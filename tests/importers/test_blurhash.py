import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnifeat.importers.blurhash import decode_blurhashes

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"


def base83(value: int, length: int) -> str:
    return "".join(DIGITS[value // 83**place % 83] for place in reversed(range(length)))


def written(nx: int, ny: int, largest: int, mean: int, others: list[int]) -> str:
    return base83(nx - 1 + 9 * (ny - 1), 1) + base83(largest, 1) + base83(mean, 4) + "".join(
        base83(other, 2) for other in others
    )  # fmt: skip


def plain(text: str, width: int, height: int) -> list[float]:
    """The description of the format, word for word: a pixel, a component and a colour at a time."""
    numbers = [DIGITS.index(character) for character in text]
    nx, ny = numbers[0] % 9 + 1, numbers[0] // 9 + 1
    largest = (numbers[1] + 1) / 166
    mean = 0
    for digit in numbers[2:6]:
        mean = mean * 83 + digit
    colours = []
    for shift in (16, 8, 0):
        value = (mean >> shift & 255) / 255
        colours.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    components = [colours]
    for place in range(6, len(numbers), 2):
        value = numbers[place] * 83 + numbers[place + 1]
        steps = [(value // 19**power % 19 - 9) / 9 for power in (2, 1, 0)]
        components.append([math.copysign(step * step, step) * largest for step in steps])
    found = []
    for y in range(height):
        for x in range(width):
            for colour in range(3):
                linear = 0.0
                for j in range(ny):
                    for i in range(nx):
                        basis = math.cos(math.pi * x / width * i) * math.cos(math.pi * y / height * j)
                        linear += components[j * nx + i][colour] * basis
                linear = min(max(linear, 0), 1)
                found.append(12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)
    return found


def test_a_mean_colour_by_hand() -> None:
    # red, 0xFF0000 = 16,711,680 = 29 * 83^3 + 18 * 83^2 + 70 * 83 + 45, and digits 29, 18, 70, 45 are T, I, :, j
    pictures, valid = decode_blurhashes(["00TI:j"], 2, 3)
    assert valid.tolist() == [True]
    assert pictures.shape == (1, 2 * 3 * 3)
    assert pictures.dtype == np.float32
    np.testing.assert_allclose(pictures[0], [1, 0, 0] * 6, atol=1e-7)


def test_two_components_by_hand() -> None:
    # 1: two along x. ~ is 82: the largest is 83 / 166 = 0.5. Eyb[ is 0x808080, in linear light 0.215861.
    # ~q is 82 * 83 + 52 = 6858 = 18 * 361 + 18 * 19 + 18: each colour is ((18 - 9) / 9)^2 * 0.5 = 0.5.
    # At x = 0 the light is 0.715861, in sRGB 1.055 * 0.715861^(1 / 2.4) - 0.055 = 0.862834; at x = 1/2 the cosine is 0.
    pictures, _ = decode_blurhashes(["1~Eyb[~q"], 2, 1)
    np.testing.assert_allclose(pictures[0], [0.862834] * 3 + [128 / 255] * 3, atol=1e-5)


def test_the_published_example() -> None:
    pictures, valid = decode_blurhashes(["LlMF%n00%#MwS|WCWEM{R*bbWBbH"], 4, 4)
    assert valid.all()
    np.testing.assert_allclose(pictures[0], plain("LlMF%n00%#MwS|WCWEM{R*bbWBbH", 4, 4), atol=1e-6)


@st.composite
def hashes(draw: st.DrawFn) -> str:
    nx, ny = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    others = draw(st.lists(st.integers(0, 19**3 - 1), min_size=nx * ny - 1, max_size=nx * ny - 1))
    return written(nx, ny, draw(st.integers(0, 82)), draw(st.integers(0, 2**24 - 1)), others)


@given(st.lists(st.one_of(hashes(), st.none(), st.text(max_size=9)), max_size=6), st.integers(1, 5), st.integers(1, 5))
def test_as_the_plain_decoder(texts: list[str | None], width: int, height: int) -> None:
    pictures, valid = decode_blurhashes(texts, width, height)
    assert np.isfinite(pictures).all()
    assert ((pictures >= 0) & (pictures <= 1.000001)).all()
    for text, picture, sound in zip(texts, pictures, valid, strict=True):
        if sound:
            assert text is not None
            np.testing.assert_allclose(picture, plain(text, width, height), atol=1e-5)
        else:
            assert not picture.any()


@given(hashes())
def test_every_written_hash_is_sound_and_a_cut_one_is_not(text: str) -> None:
    _, valid = decode_blurhashes([text, text[:-1], text + "0"])
    assert valid.tolist() == [True, False, False]


@given(st.integers(0, 2**24 - 1), st.integers(1, 4), st.integers(1, 4), st.integers(0, 82))
def test_without_components_a_picture_is_its_mean_colour(mean: int, nx: int, ny: int, largest: int) -> None:
    zero = 9 * 361 + 9 * 19 + 9
    pictures, _ = decode_blurhashes([written(nx, ny, largest, mean, [zero] * (nx * ny - 1))], 3, 2)
    colour = [(mean >> shift & 255) / 255 for shift in (16, 8, 0)]
    np.testing.assert_allclose(pictures[0], colour * 6, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    ["", "0", "00TI:", "00TI:jj", "00TI:é", "0 TI:j", "~~~~~~", "00~~~~", written(2, 1, 0, 0, [83**2 - 1]), '0"TI:j'],
)
def test_what_is_no_hash(text: str) -> None:
    pictures, valid = decode_blurhashes([text])
    assert not valid.any()
    assert not pictures.any()


def test_nothing_at_all() -> None:
    pictures, valid = decode_blurhashes([], 4, 4)
    assert pictures.shape == (0, 48)
    assert valid.shape == (0,)
