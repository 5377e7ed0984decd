"""Numbers as people and shops write them: `1.299,00 €`, `49.90 USD`, `1'299.00`, `49,-`.

A lone sign before three digits (`1,299`) is a decimal sign in one country and parts thousands in the next. The other
texts of the column settle it (`NumberForm.guessed`); where none does, such a number is refused and never guessed at.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["AmbiguousError", "NumberForm", "currencies", "split_unit"]

_PLAIN = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_SIGNS = {".": ",", ",": "."}  # the decimal sign and what parts thousands beside it
_SPACES = "[ \u00a0\u2009\u202f']|\u2019"  # part thousands in any country
_CURRENCIES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK "
    "HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL "
    "MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RMB "
    "RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS "
    "UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL"
)
_LOCAL = ("kr", "kr.", "zł", "Kč", "Ft", "lei", "Rs", "Rs.", "руб", "руб.", "р.", "TL", "S/", "Fr.", "Euro", "euro")
_SYMBOLS = "$¢£¤¥֏؋৲৳৻૱௹฿៛﷼﹩＄￠￡￥￦" + "".join(map(chr, range(0x20A0, 0x20C1)))
_UNIT = (
    rf"(?:[A-Z]{{0,3}}[{_SYMBOLS}]|(?:{'|'.join(_CURRENCIES.split())})|{'|'.join(re.escape(word) for word in _LOCAL)})"
)
_WITH_UNIT = re.compile(
    rf"(?P<sign>[-+\u2212]?)\s*(?P<front>{_UNIT})?\s*(?P<number>.*?)\s*(?P<back>{_UNIT})?", re.DOTALL
)
_NO_CENTS = re.compile(r"[.,][-\u2012-\u2015]+$")


def split_unit(text: str) -> tuple[str, str | None]:
    """A price without its currency, and the currency as written (None where there is none)."""
    match = _WITH_UNIT.fullmatch(text.strip())
    if match is None or (match["front"] and match["back"] and match["front"] != match["back"]):
        return text.strip(), None
    number = _NO_CENTS.sub("", match["number"])
    return match["sign"].replace("\u2212", "-") + number, match["front"] or match["back"]


class AmbiguousError(ValueError):
    """A text that stands for one of two numbers."""

    def __init__(self, *readings: str) -> None:
        super().__init__(" or ".join(readings))
        self.readings = readings


@dataclass(frozen=True)
class NumberForm:
    """How a column writes numbers.

    Attributes
    ----------
    decimal
        The decimal sign, "." or ",".
    sure
        Whether it was said or shown by the column's texts; otherwise `1,299` is refused.
    plain_points
        Whether `1.299` is what a program writes for a little more than one, where it is not sure. In files with
        semicolons between cells, which stand there because commas are decimal signs, it may be either as well.
    """

    decimal: str = "."
    sure: bool = False
    plain_points: bool = True

    @classmethod
    def guessed(cls, texts: pa.Array, plain_points: bool = True) -> Self:
        """The form that most of some texts show."""
        votes: Counter[str] = Counter()
        for text in pc.unique(texts).drop_null().to_pylist():
            votes[_shown_decimal(split_unit(text)[0])] += 1
        points, commas = votes["."], votes[","]
        return cls("," if commas > points else ".", points + commas > 0, plain_points)

    def read(self, text: str, money: bool = False) -> float:
        """The number that a text stands for.

        Parameters
        ----------
        money
            Whether a currency may stand beside it.

        Raises
        ------
        ValueError
            It is no number in this form; `AmbiguousError` where it might be one of two.
        """
        number, unit = split_unit(text) if money else (text.strip(), None)
        if not number.isascii() and not re.search(_SPACES, number):
            raise ValueError("no number")
        parts = _SIGNS[self.decimal]
        sign, rest = (number[0], number[1:].lstrip()) if number[:1] in ("-", "+") else ("", number)
        # three digits after the only sign: cents are two, and most files write numbers of programs with a point
        lone = re.fullmatch(r"[1-9][0-9]{0,2}([.,])[0-9]{3}", rest)
        if lone and not self.sure and (unit is not None or lone[1] == "," or not self.plain_points):
            raise AmbiguousError(rest.replace(lone[1], ""), rest.replace(",", "."))
        if self.decimal == "." and _PLAIN.fullmatch(number):
            return float(number)
        group = rf"(?:{re.escape(parts)}|{_SPACES})"
        whole = rf"(?:[0-9]+|[0-9]{{1,3}}(?P<part>{group})[0-9]{{2,3}}(?:(?P=part)[0-9]{{2,3}})*(?<=[0-9]{{3}}))"
        match = re.fullmatch(rf"(?P<whole>{whole})?(?:{re.escape(self.decimal)}(?P<fraction>[0-9]*))?", rest)
        if match is None or not (match["whole"] or match["fraction"]):
            raise ValueError("no number")
        return float(f"{sign}{re.sub('[^0-9]', '', match['whole'] or '0')}.{match['fraction'] or '0'}")


def _shown_decimal(number: str) -> str:
    """The decimal sign that a number can only have; empty where it shows none."""
    signs = re.findall(r"[.,]", number)
    if not signs or not re.fullmatch(rf"[-+]?(?:[0-9.,]|{_SPACES})*", number):
        return ""
    if len(set(signs)) == 2:
        return signs[-1] if signs.count(signs[-1]) == 1 else ""
    if len(signs) > 1:
        return _SIGNS[signs[0]]
    digits = len(number) - number.index(signs[0]) - 1
    before = number.lstrip("+-").split(signs[0])[0]
    return "" if digits == 3 and 1 <= len(before) <= 3 and before[0] != "0" else signs[0]


def currencies(texts: Iterable[str | None]) -> Counter[str]:
    """How many prices stand in each currency, as written."""
    found = (split_unit(text)[1] for text in texts if text)
    return Counter(unit for unit in found if unit is not None)
