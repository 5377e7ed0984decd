"""The exception tree. Everything that a user can put right is an `OmnifeatError`.

    OmnifeatError
    ├── DataError               a table, column, row or id is not what it must be
    ├── SettingError            a setting or an argument is not what it must be
    ├── EncoderError            an encoder folder is missing, incomplete or changed
    │   └── FingerprintError    vectors, tables or models of two encoders were mixed
    ├── OutputError             the result cannot be written where it was asked for
    └── MissingDependencyError  an optional library is not installed

The message is one sentence: what was found where, and what to do. The command line prints it and exits with 2.
"""

import unicodedata

__all__ = [
    "DataError",
    "EncoderError",
    "FingerprintError",
    "MissingDependencyError",
    "OmnifeatError",
    "OutputError",
    "SettingError",
]


_STEERING = frozenset({"Cc", "Cs", "Zl", "Zp"})  # categories of controls, halves of characters and line ends


class OmnifeatError(Exception):
    """Base of every error that is the input's, not the program's.

    The message names columns, ids and files as a stranger wrote them: line ends in them would break the one sentence,
    and controls would steer a terminal. They are shown escaped.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if text.isprintable():
            return text
        return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _STEERING:
        return character
    return character.encode("unicode_escape").decode("ascii")


class DataError(OmnifeatError, ValueError):
    """A file, table, column, row or id is not what it must be."""


class SettingError(OmnifeatError, ValueError):
    """A setting or an argument is not what it must be."""


class EncoderError(OmnifeatError, ValueError):
    """An encoder folder is missing, incomplete or was changed after it was saved."""


class FingerprintError(EncoderError):
    """Two artefacts that must come from one encoder come from two."""


class OutputError(OmnifeatError, OSError):
    """The result cannot be written where it was asked for."""


class MissingDependencyError(OmnifeatError, ImportError):
    """An optional library is not installed; the message carries the command that installs it."""
