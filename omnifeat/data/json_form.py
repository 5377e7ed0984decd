"""Settings and fitted attributes as JSON values: what every saved model writes beside its numbers."""

from typing import Any

import numpy as np

__all__ = ["json_form"]


def json_form(value: Any) -> Any:
    """JSON form of what settings and fitted attributes may hold beside plain values, for `json.dumps(default=...)`.

    Arrays and numbers of NumPy (a search over settings gives such), tuples, sets, ranges and mappings.

    Raises
    ------
    TypeError
        It is something else.
    """
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | set | range):
        return list(value)
    if hasattr(value, "items"):
        return dict(value)
    raise TypeError(f"a setting of type {type(value).__name__} cannot be saved")
