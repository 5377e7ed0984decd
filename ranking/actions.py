"""What people did, as grades that a ranker can learn: each action has a gain, and gains in order are grades."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from omnifeat.errors import DataError, SettingError
from ranking.groups import to_numpy

__all__ = ["ACTION_GAINS", "action_gains", "check_action_gains", "grades_from_actions", "read_actions"]

# What an action is worth beside a click. A choice to start from, not a measured one: set your own.
ACTION_GAINS: Mapping[str, float] = {
    "click": 1.0,
    "long_click": 3.0,
    "save": 4.0,
    "add_to_cart": 5.0,
    "checkout": 8.0,
}


def check_action_gains(gains: Mapping[str, float] | None) -> dict[str, float]:
    """The gains as a dict, smallest first; None takes `ACTION_GAINS`.

    Raises
    ------
    SettingError
        No action, a gain that is negative or no number, or none above zero.
    """
    chosen = dict(ACTION_GAINS if gains is None else gains)
    for action, gain in chosen.items():
        if isinstance(gain, bool) or not isinstance(gain, int | float) or not math.isfinite(gain) or gain < 0:
            raise SettingError(f"The gain of action {action!r} must be a number from 0; got {gain!r}.")
    if not any(gain > 0 for gain in chosen.values()):
        raise SettingError("No action has a gain above 0; give at least one, such as {'click': 1}.")
    return dict(sorted(chosen.items(), key=lambda item: (item[1], item[0])))


def read_actions(actions: Any, rows: int, known: Mapping[str, float], what: str = "action") -> npt.NDArray[np.int64]:
    """Place in `known` of each row's action, int64 (rows,); -1 where nothing was done (null or empty text).

    Raises
    ------
    DataError
        Another number of actions than rows, or one that `known` does not have.
    """
    found = np.asarray(to_numpy(actions), dtype=object)
    if found.ndim != 1 or len(found) != rows:
        raise DataError(f"There must be one {what} for each of the {rows} rows; got shape {found.shape} instead.")
    nothing = pd.isna(found) | (found == "")
    places = pd.Index(list(known)).get_indexer(pd.Index(found, dtype=object))
    unknown = (places < 0) & ~nothing
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise DataError(
            f"The {what} of row {row + 1} is {found[row]!r}, which has no gain; the actions are {', '.join(known)}: "
            "name it among the gains, or make it null."
        )
    return np.where(nothing, -1, places).astype(np.int64)


def action_gains(actions: Any, rows: int, gains: Mapping[str, float] | None = None) -> npt.NDArray[np.float64]:
    """Gain of each row's action, float64 (rows,); 0 where nothing was done. Raises as `read_actions`."""
    known = check_action_gains(gains)
    return np.array([*known.values(), 0.0])[read_actions(actions, rows, known)]


def grades_from_actions(
    actions: Any, rows: int, gains: Mapping[str, float] | None = None, what: str = "action"
) -> tuple[npt.NDArray[np.int64], list[float]]:
    """Grades int64 (rows,) and the gain of each grade; grade 0 is no action or an action of gain 0.

    Actions of one gain share a grade. Grades don't depend on which actions the rows hold. Raises as `read_actions`.
    """
    known = check_action_gains(gains)
    levels = sorted({0.0, *known.values()})
    grade_of = np.array([*(levels.index(gain) for gain in known.values()), 0], dtype=np.int64)
    return grade_of[read_actions(actions, rows, known, what)], levels
