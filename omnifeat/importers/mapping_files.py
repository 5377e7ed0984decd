"""Mapping files: the options of `omnifeat import table` for one kind of export, kept as TOML, and ready ones by name.

    drop-extra = true            # options of the whole import, named as on the command line
    time-unit = "ms"

    [products]                   # what concerns one table
    keep-first = true
    skip-rows-without = ["id"]
    map = { id = "Handle", title = "Title" }
    map-if-there = { brand = ["Vendor", "Brand"] }

A mapping holds no paths: the files are given with each import.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from omnifeat.data.schema import TABLES, did_you_mean
from omnifeat.errors import DataError
from omnifeat.importers.table_plan import Choices

__all__ = ["TableMapping", "merged", "read_mapping", "ready_mappings"]

_MOST_BYTES = 1 << 20
_SUFFIX = ".toml"
# options of the whole import, and what their values are
OPTIONS: dict[str, type] = {
    "drop-extra": bool, "keep-html": bool, "list-separator": str, "time-unit": str, "delimiter": str, "quote": str,
    "escape": str, "encoding": str, "decimal": str, "split": str, "split-column": str, "test": float,
    "development": float, "salt": str, "development-from": str, "test-from": str, "gap-days": float, "name": str,
    "licence": str, "null-words": list,
}  # fmt: skip
_OF_A_TABLE = ("map", "map-if-there", "set", "values", "drop", "skip-rows-without", "empty-if-unreadable", "keep-first")
_WORDS = {bool: "true or false", str: "text", float: "a number", list: "a list of texts"}


@dataclass(frozen=True)
class TableMapping:
    """What a mapping file says.

    Attributes
    ----------
    options
        Options of the whole import by their names on the command line, without dashes before them.
    choices
        What it says of columns, of all tables that it knows.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    choices: Choices = field(default_factory=Choices)


def ready_mappings() -> list[str]:
    """Names of the mappings that come with the package."""
    folder = resources.files("omnifeat.importers") / "mappings"
    return sorted(entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(_SUFFIX))


def read_mapping(name: str, tables: Collection[str]) -> TableMapping:
    """Read a mapping file, or a ready mapping by its name.

    Parameters
    ----------
    name
        One of `ready_mappings`, or the path of a `.toml` file.
    tables
        The tables that are imported; what the mapping says of others is left alone.

    Raises
    ------
    DataError
        There is no such mapping, it is not TOML, or it has a key that is unknown or a value of a wrong type.
    """
    ready = ready_mappings()
    if name in ready:
        content = (resources.files("omnifeat.importers") / "mappings" / f"{name}{_SUFFIX}").read_bytes()
    else:
        content = _content(name, ready)
    try:
        values = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"The mapping {name} is not UTF-8 text; save it as UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"The mapping {name} is not TOML ({str(error).rstrip('.')}); correct it.") from error
    options: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        if key in OPTIONS:
            options[key] = _typed(name, key, value, OPTIONS[key])
        elif key in TABLES and isinstance(value, dict):
            parts[key] = _table(name, key, value)
        else:
            known = [*OPTIONS, *TABLES]
            raise DataError(
                f"The mapping {name} has the key '{key}', which is no option and no table"
                f"{did_you_mean(key, known) or '; write [TABLE] and under it map = { COLUMN = ... }.'}"
            )
    return TableMapping(options, _choices({table: part for table, part in parts.items() if table in tables}))


def merged(mapping: Choices, given: Choices) -> Choices:
    """What the mapping says of columns, and what was given beside it: that wins wherever both speak of one column."""
    settled = {*given.mapping, *given.constants, *given.drop}

    def others(targets: Mapping[str, Any]) -> dict[str, Any]:
        return {target: value for target, value in targets.items() if target not in settled}

    return Choices(
        mapping=others(mapping.mapping) | dict(given.mapping),
        mapping_if_there=others(mapping.mapping_if_there),
        constants=others(mapping.constants) | dict(given.constants),
        values={target: value for target, value in mapping.values.items() if target not in given.constants}
        | dict(given.values),
        drop=[*(target for target in mapping.drop if target not in settled), *given.drop],
        skip_rows_without=[
            *(target for target in mapping.skip_rows_without if target not in given.constants), *given.skip_rows_without
        ],
        empty_if_unreadable=[
            *(target for target in mapping.empty_if_unreadable if target not in settled), *given.empty_if_unreadable
        ],
        keep_first=[*mapping.keep_first, *given.keep_first],
        if_there=mapping.if_there,
    )  # fmt: skip


def _content(name: str, ready: list[str]) -> bytes:
    path = Path(name.replace("\0", ""))
    try:
        if not path.is_file():
            hint = did_you_mean(name, ready).removesuffix("?") or f"; ready ones are: {', '.join(ready)}"
            raise DataError(f"There is no mapping '{name}': give a .toml file or the name of a ready one{hint}.")
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"The mapping {name} is larger than 1 MiB; give a file of options.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"The mapping {name} cannot be read ({error.strerror or error}); check the file.") from error


def _typed(name: str, key: str, value: Any, kind: type) -> Any:
    if kind is str and isinstance(value, date):  # TOML has days: test-from = 2024-03-15
        return value.isoformat()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is list and not _texts(value)):
        raise DataError(f"The mapping {name}: '{key}' must be {_WORDS[kind]} but is {value!r}; correct it.")
    return value


def _table(name: str, table: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a mapping says of one table, checked."""
    part: dict[str, Any] = {}
    for key, value in values.items():
        place = f"{table}.{key}"
        match key:
            case "map" | "set":
                good = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
                wanted = "a table of texts, such as { title = 'Name' }"
            case "map-if-there":
                good = isinstance(value, dict) and all(isinstance(item, str) or _texts(item) for item in value.values())
                wanted = "a table of texts or lists of texts, such as { brand = ['Vendor', 'Brand'] }"
            case "values":
                good = isinstance(value, dict) and all(
                    isinstance(item, dict) and all(isinstance(text, str) for text in item.values())
                    for item in value.values()
                )
                wanted = "a table of columns, such as { action = { select_item = 'click' } }"
            case "drop" | "skip-rows-without" | "empty-if-unreadable":
                good, wanted = _texts(value), "a list of columns, such as ['price']"
            case "keep-first":
                good, wanted = isinstance(value, bool), "true or false"
            case _:
                hint = did_you_mean(key, _OF_A_TABLE) or f"; there are: {', '.join(_OF_A_TABLE)}."
                raise DataError(f"The mapping {name} has the key '{place}', which is unknown{hint}")
        if not good:
            raise DataError(f"The mapping {name}: '{place}' must be {wanted}, but is {value!r}; correct it.")
        part[key] = value
    _check_columns(name, table, part)
    return part


def _check_columns(name: str, table: str, part: Mapping[str, Any]) -> None:
    """Raise where one column is mapped, set and dropped at once."""
    seen: dict[str, str] = {}
    for key in ("map", "map-if-there", "set", "drop"):
        for column in part.get(key, ()):
            if column in seen:
                raise DataError(
                    f"The mapping {name} names '{table}.{column}' under '{seen[column]}' and under '{key}'; keep one."
                )
            seen[column] = key


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _choices(parts: Mapping[str, Mapping[str, Any]]) -> Choices:
    def targets(key: str) -> dict[str, Any]:
        return {
            f"{table}.{column}": value for table, part in parts.items() for column, value in part.get(key, {}).items()
        }

    def listed(key: str) -> list[str]:
        return [f"{table}.{column}" for table, part in parts.items() for column in part.get(key, ())]

    drop, skip, empty = listed("drop"), listed("skip-rows-without"), listed("empty-if-unreadable")
    return Choices(
        mapping=targets("map"),
        mapping_if_there={
            target: [value] if isinstance(value, str) else value for target, value in targets("map-if-there").items()
        },
        constants=targets("set"),
        values=targets("values"),
        drop=drop,
        skip_rows_without=skip,
        empty_if_unreadable=empty,
        keep_first=[table for table, part in parts.items() if part.get("keep-first")],
        if_there=[*drop, *skip, *empty, *targets("values")],
    )
