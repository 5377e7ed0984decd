import pyarrow as pa
import pytest

from omnifeat.importers.number_texts import AmbiguousError, NumberForm, currencies


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["49.90 USD", "1,149.00 USD"], [49.9, 1149]),
        (["1.299,00 €", "5 €", "-3,5 €"], [1299, 5, -3.5]),
        (["$1,299.00", "-$5", "US$ 12.99"], [1299, -5, 12.99]),
        (["1'299.00 CHF", "Fr. 3.-"], [1299, 3]),
        (["1 299,00 kr", "49,- kr", "1\u202f299,50 kr"], [1299, 49, 1299.5]),
        (["R$ 5,00", "12.345,6"], [5, 12345.6]),
        (["1,299", "49.90"], [1299, 49.9]),  # the second text settles what the first one means
        (["12.345", "1,5"], [12345, 1.5]),
        (["1,49,900.00"], [149_900]),
        (["1,299,000"], [1_299_000]),
        (["1.299", "2.5"], [1.299, 2.5]),
        (["0,125", "0.5"][:1], [0.125]),
        (["1e3", ".5", "5.", "+7"], [1000, 0.5, 5, 7]),
    ],
)
def test_prices_as_shops_write_them(texts: list[str], numbers: list[float]) -> None:
    form = NumberForm.guessed(pa.array(texts))
    assert [form.read(text, money=True) for text in texts] == numbers


@pytest.mark.parametrize("text", ["1,299", "1.299 €", "EUR 12,345"])
def test_a_number_of_two_readings_is_refused_and_not_guessed_at(text: str) -> None:
    with pytest.raises(AmbiguousError):
        NumberForm.guessed(pa.array([text])).read(text, money=True)
    number = text.strip("€EUR ")
    assert NumberForm(",", sure=True).read(text, money=True) == float(number.replace(".", "").replace(",", "."))
    assert NumberForm(".", sure=True).read(text, money=True) == float(number.replace(",", ""))


@pytest.mark.parametrize(
    "text",
    [
        "from 19.99", "nan", "inf", "12%", "", "-", "1.2.3", "USD", "0x10", "1_000", "٣", "2024-01-01", "5-10",
        "1.50/kg", "12 99", "1,2,3", "$5 USD 3", "$5 €",
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        NumberForm(".", sure=True).read(text, money=True)


def test_a_currency_stands_beside_money_alone() -> None:
    with pytest.raises(ValueError, match="no number"):
        NumberForm().read("5 USD")
    assert currencies(["5 USD", "$3", "4", None, "USD 2"]) == {"USD": 2, "$": 1}
