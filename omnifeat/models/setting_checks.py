"""What all groups of settings share: JSON and back, and checks that name the setting."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from omnifeat.errors import SettingError

__all__ = ["Settings", "check", "check_share", "is_int"]


def check(condition: bool, name: str, must_be: str, value: object) -> None:
    """Raise `SettingError` with the name and the value unless the condition holds."""
    if not condition:
        raise SettingError(f"The '{name}' setting must be {must_be}; got {value!r} instead.")


def is_int(value: object, least: int) -> bool:
    """Whether a value is a whole number, not a truth value, of at least so much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


class Settings:
    """JSON round trip shared by the dataclasses below."""

    def to_dict(self) -> dict[str, Any]:
        """Settings as JSON values (tuples become lists, integer keys text)."""
        return {f.name: _to_json(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Settings from JSON values; a key that is missing takes its default.

        Raises
        ------
        SettingError
            A key is unknown, or a value is not what the setting must be.
        """
        if not isinstance(values, Mapping):
            raise SettingError(f"{cls.__name__} must be given as a mapping of settings; got {values!r} instead.")
        known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in known:
                raise SettingError(f"{cls.__name__} has no setting {key!r}; the settings are {', '.join(known)}.")
        return cls(**{key: cls._from_json(key, value) for key, value in values.items()})

    @classmethod
    def _from_json(cls, key: str, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


def _to_json(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.to_dict()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    return value


def check_share(name: str, value: object) -> None:
    """Check a share that may not be whole, as of dropout."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    check(is_number and 0 <= float(value) < 1, name, "a number from 0 up to, not including, 1", value)  # type: ignore[arg-type]
