"""What an error says is one line, whatever a stranger wrote into the names that it shows."""

import pytest

from omnifeat.errors import DataError, EncoderError, FingerprintError, OmnifeatError, OutputError, SettingError


@pytest.mark.parametrize("kind", [DataError, SettingError, EncoderError, FingerprintError, OutputError])
def test_line_ends_and_controls_in_names_are_escaped(kind: type[OmnifeatError]) -> None:
    error = kind("p.csv, column 'a\nb\x1b[31m\u2028\ud83d' is not text: mend it")
    assert str(error) == "p.csv, column 'a\\nb\\x1b[31m\\u2028\\ud83d' is not text: mend it"
    assert str(error).splitlines() == [str(error)]


def test_what_people_write_stays_as_it_is() -> None:
    for text in ("Käse", "👩\u200d🍳", "می\u200cخواهم", "a\u00a0b", ""):
        assert str(DataError(text)) == text
