"""Settings of an encoder changed one by one, as `entity.trigrams=0` on a command line."""

import json
from collections.abc import Sequence
from typing import Any

from omnifeat.errors import SettingError
from omnifeat.models.config import EncoderConfig

__all__ = ["with_overrides"]


def with_overrides(config: EncoderConfig, assignments: Sequence[str]) -> EncoderConfig:
    """The settings with some of them changed.

    Parameters
    ----------
    config
        Settings to start from; they stay as they are.
    assignments
        `name=value`, where the name is dotted (`entity.text_pooling`, `query.max_length`, `dim`) and the value is JSON,
        or text as it stands where it is not JSON.

    Raises
    ------
    SettingError
        An assignment has no `=`, a name is no setting, or a value is not what the setting must be.
    """
    values = config.to_dict()
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise SettingError(f"A setting must be given as name=value. Got {assignment!r} instead.")
        *groups, last = name.split(".")
        place: Any = values
        for group in groups:
            place = place.get(group) if isinstance(place, dict) else None
        if not isinstance(place, dict) or (last not in place and not _is_open(groups)):
            raise SettingError(f"There is no setting {name!r}; name one of {', '.join(_names(config.to_dict()))}.")
        try:
            place[last] = json.loads(text)
        except json.JSONDecodeError:
            place[last] = text
    return EncoderConfig.from_dict(values)


def _is_open(groups: Sequence[str]) -> bool:
    """Whether the group holds names of the user's own: widths of vectors and of prefixes, shares of blocks."""
    return bool(groups) and groups[-1] in ("continuous", "matryoshka", "compatibility_widths", "block_weights")


def _names(values: dict[str, Any], before: str = "") -> list[str]:
    names: list[str] = []
    for name, value in values.items():
        names += _names(value, f"{before}{name}.") if isinstance(value, dict) and value else [f"{before}{name}"]
    return names
