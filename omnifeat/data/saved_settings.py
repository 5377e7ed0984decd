"""Settings of a saved estimator, held against the types of its class before it is made."""

import inspect
import os
import typing
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from omnifeat.data.artefacts import checked
from omnifeat.errors import DataError

__all__ = ["saved_settings"]


def saved_settings(
    estimator: type[Any], values: object, *, where: str | os.PathLike[str], remedy: str
) -> dict[str, Any]:
    """Settings from a file as `estimator(**settings)` takes them; one that is not there keeps its default.

    Raises
    ------
    DataError
        A setting that the class has not, or one of another type than its annotation; the sentence names it.
    """
    hashable: Any = estimator
    found = checked(_model_of(hashable), values, where=f"{where}, settings", error=DataError, remedy=remedy)
    return {name: getattr(found, name) for name in found.model_fields_set}


@lru_cache(maxsize=64)
def _model_of(estimator: type[Any]) -> type[BaseModel]:
    initial: Any = estimator.__init__
    hints = typing.get_type_hints(initial)
    fields: dict[str, Any] = {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(initial).parameters.items()
        if name != "self"
    }
    configured = ConfigDict(extra="forbid", protected_namespaces=())
    return create_model(f"SettingsOf{estimator.__name__}", __config__=configured, **fields)
