"""BlurHash: a few characters that stand for a blurred picture, decoded to a small picture's numbers.

The format is the one that its authors describe (`woltapp/blurhash`, Algorithm.md). A hash is written in base 83: a
digit for the numbers of cosine components along x and y, a digit for the largest of them, four digits for the mean
colour, and two digits for each other component.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["decode_blurhashes"]

Float32 = npt.NDArray[np.float32]

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_DIGITS = np.full(256, -1, dtype=np.int64)
_DIGITS[np.frombuffer(_ALPHABET, dtype=np.uint8)] = np.arange(83)


def decode_blurhashes(
    texts: Sequence[str | None], width: int = 4, height: int = 4
) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """Decode hashes to pictures.

    Parameters
    ----------
    texts
        Hashes (n); None for none.
    width, height
        Size of a picture in pixels; pixel (x, y) is taken at x / width and y / height of the picture, as the authors'
        decoders do.

    Returns
    -------
    pictures : float32 (n, height * width * 3), sRGB from 0 to 1, row by row, red, green and blue of each pixel; zeros
        for what is no hash
    valid : bool (n), whether the text is a hash: known characters, and as many as its first one says
    """
    pictures = np.zeros((len(texts), height * width * 3), dtype=np.float32)
    valid = np.zeros(len(texts), dtype=np.bool_)
    # hashes of one shape are decoded together
    shapes: dict[tuple[int, int], list[int]] = {}
    for place, text in enumerate(texts):
        if text and text.isascii() and len(text) >= 6:
            flag = int(_DIGITS[ord(text[0])])
            if 0 <= flag < 81:
                nx, ny = flag % 9 + 1, flag // 9 + 1
                if len(text) == 4 + 2 * nx * ny:
                    shapes.setdefault((nx, ny), []).append(place)
    for (nx, ny), places in shapes.items():
        joined = "".join(texts[place] or "" for place in places)
        digits_NL = _DIGITS[np.frombuffer(joined.encode("ascii"), dtype=np.uint8)].reshape(len(places), -1)
        mean_N = digits_NL[:, 2:6] @ np.array([83**3, 83**2, 83, 1])
        others_NK = digits_NL[:, 6::2] * 83 + digits_NL[:, 7::2]
        sound = (digits_NL >= 0).all(axis=1) & (mean_N < 1 << 24) & (others_NK < 19**3).all(axis=1)
        rows = np.array(places)[sound]
        components = _components(digits_NL[sound, 1], mean_N[sound], others_NK[sound], nx, ny)
        pictures[rows] = _pictures(components, width, height).reshape(len(rows), pictures.shape[1])
        valid[rows] = True
    return pictures, valid


def _components(
    largest_N: npt.NDArray[np.int64], mean_N: npt.NDArray[np.int64], others_NK: npt.NDArray[np.int64], nx: int, ny: int
) -> npt.NDArray[np.float64]:
    """The cosine components (N, ny, nx, 3) in linear light."""
    components = np.empty((len(mean_N), ny * nx, 3))
    components[:, 0] = _to_linear(np.stack([mean_N >> 16, (mean_N >> 8) & 255, mean_N & 255], axis=1) / 255)
    levels = np.stack([others_NK // 361, others_NK // 19 % 19, others_NK % 19], axis=2)
    steps = (levels - 9) / 9
    components[:, 1:] = np.sign(steps) * steps**2 * ((largest_N + 1) / 166)[:, None, None]
    return components.reshape(len(mean_N), ny, nx, 3)


def _pictures(components_NJIC: npt.NDArray[np.float64], width: int, height: int) -> Float32:
    """Pictures (N, height, width, 3), sRGB from 0 to 1."""
    _, ny, nx, _ = components_NJIC.shape
    along_x = np.cos(np.pi * np.outer(np.arange(width) / width, np.arange(nx)))
    along_y = np.cos(np.pi * np.outer(np.arange(height) / height, np.arange(ny)))
    linear = np.einsum("hj,wi,njic->nhwc", along_y, along_x, components_NJIC, optimize=True)
    return _to_srgb(np.clip(linear, 0, 1)).astype(np.float32)


def _to_linear(srgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
