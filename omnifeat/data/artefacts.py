"""Files of an artefact (encoder, ranker, classifier, index, checkpoint, study) that may come from a stranger.

A name that stands in a file is no path until `member` has checked it, a file is read by `read_bytes` (a regular file of
limited size), JSON by `read_object`, and what the object holds is taken for granted only after `checked`.

Each function takes the class of error to raise and a remedy, the end of the sentence: "train the model again".
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from omnifeat.errors import DataError, OmnifeatError

__all__ = [
    "LibraryCall",
    "check_version",
    "checked",
    "member",
    "parse_json",
    "read_bytes",
    "read_list",
    "read_object",
    "refuse_lfs_pointer",
    "regular_file",
    "shown",
]

_REMEDY = "fetch or make it again"
_JSON_BYTES = 64 * 2**20
_DEEPEST = 100
_LONGEST_NAME = 1024
_LONGEST_PART = 200
_SHOWN = 80
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# What a hub's cache calls the folder of a repository: its snapshots are links to the blobs beside them.
_CACHED_REPOSITORY = re.compile(r"(models|datasets|spaces)--.+")

Error = type[OmnifeatError]
T = TypeVar("T")


def member(folder: str | os.PathLike[str], name: object, *, error: Error = DataError, remedy: str = _REMEDY) -> Path:
    """The place in an artefact's folder of a name that came from a file; it need not exist.

    Links inside the folder may lead to other places in it. Those of a snapshot in the hub's cache may lead to the blobs
    of the same repository, which is how the hub stores them.

    Parameters
    ----------
    folder
        The artefact's folder; it may itself be reached by a link.
    name
        Parts joined by "/", as every system writes them here.

    Raises
    ------
    error
        The name is no text, empty, too long, absolute, has a drive, a backslash, a control character or `..`, or a link
        leads out of the folder.
    """
    fault = _fault_of_name(name)
    if fault is not None:
        raise error(f"'{folder}' names the file {shown(name)}, which {fault}; {remedy}.")
    place = Path(folder) / str(name)
    root = os.path.realpath(folder)
    inside = [root, *_blobs_beside(root)]
    real = os.path.realpath(place)
    if not any(os.path.commonpath([real, allowed]) == allowed for allowed in inside):
        raise error(f"'{place}' is a link that leads out of '{folder}'; put the file itself there, or {remedy}.")
    return place


def _fault_of_name(name: object) -> str | None:
    if not isinstance(name, str) or not name:
        return "is no name"
    if len(name) > _LONGEST_NAME or any(
        len(part.encode("utf-8", "replace")) > _LONGEST_PART for part in name.split("/")
    ):
        return "is too long for a name"
    if not name.isprintable():
        return "has a character that no name here has"
    if name.startswith(("/", "~")) or "\\" in name or ":" in name:
        return "is a place of its own and no name in the folder"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "leads out of the folder or around in it"
    return None


def _blobs_beside(root: str) -> list[str]:
    """Where the hub's cache keeps what a snapshot's links lead to; nothing for any other folder."""
    for place in (Path(root), *Path(root).parents):  # a snapshot, or a folder in it
        repository = place.parent.parent
        if place.parent.name == "snapshots" and _CACHED_REPOSITORY.fullmatch(repository.name):
            return [os.path.join(repository, "blobs")]
    return []


def regular_file(path: Path, *, error: Error = DataError, remedy: str = _REMEDY) -> int:
    """Size in bytes of a regular file; a pipe or a device in its place would never end.

    Raises
    ------
    error
        There is none, it is something else, or it cannot be reached.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise error(f"'{path.parent}' has no file '{path.name}'; {remedy}.") from None
    except (OSError, ValueError) as fault:
        raise error(f"'{path}' cannot be reached ({_reason(fault)}); {remedy}.") from fault
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a socket or a device"
        raise error(f"'{path}' is {kind} where a file must be; {remedy}.")
    return found.st_size


def read_bytes(path: Path, *, limit: int, error: Error = DataError, remedy: str = _REMEDY) -> bytes:
    """Content of a regular file of at most `limit` bytes.

    Raises
    ------
    error
        As in `regular_file`; or it is larger, cannot be read, or is a Git LFS pointer.
    """
    size = regular_file(path, error=error, remedy=remedy)
    if size > limit:
        raise error(f"'{path}' has {size} bytes, more than the {limit} that such a file may have; {remedy}.")
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise error(f"'{path}' cannot be read ({_reason(fault)}); {remedy}.") from fault
    if content.startswith(_LFS_POINTER):
        raise _pointer(path, error)
    return content


def refuse_lfs_pointer(path: Path, *, error: Error = DataError, remedy: str = _REMEDY) -> None:
    """Refuse a file that only points at what Git LFS stores elsewhere; raises as `regular_file`, too."""
    regular_file(path, error=error, remedy=remedy)
    try:
        with path.open("rb") as file:
            begins = file.read(len(_LFS_POINTER))
    except OSError as fault:
        raise error(f"'{path}' cannot be read ({_reason(fault)}); {remedy}.") from fault
    if begins == _LFS_POINTER:
        raise _pointer(path, error)


def _pointer(path: Path, error: Error) -> OmnifeatError:
    return error(
        f"'{path}' is a Git LFS pointer and not the file itself; fetch it with `git lfs pull` in the folder that was "
        "cloned, or download the file."
    )


def read_object(
    path: Path, *, limit: int = _JSON_BYTES, error: Error = DataError, remedy: str = _REMEDY
) -> dict[str, Any]:
    """A file's JSON object.

    Raises
    ------
    error
        As in `read_bytes`; or it is not UTF-8 or no JSON, has a key twice, a number that is not finite, half a
        surrogate pair or very deep nesting, or is no object.
    """
    return _read_json(dict, path, limit, error, remedy)


def read_list(path: Path, *, limit: int = _JSON_BYTES, error: Error = DataError, remedy: str = _REMEDY) -> list[Any]:
    """A file's JSON list; raises as `read_object`."""
    return _read_json(list, path, limit, error, remedy)


def _read_json(kind: type[T], path: Path, limit: int, error: Error, remedy: str) -> T:
    value = parse_json(
        read_bytes(path, limit=limit, error=error, remedy=remedy), where=path, error=error, remedy=remedy
    )
    if not isinstance(value, kind):
        wanted = "an object" if kind is dict else "a list"
        raise error(f"'{path}' must hold {wanted} in JSON, and holds {_kind(value)}; {remedy}.")
    return value


def parse_json(
    content: bytes, *, where: str | os.PathLike[str], error: Error = DataError, remedy: str = _REMEDY
) -> Any:
    """The value of a JSON text, such as a table keeps in its metadata.

    Raises
    ------
    error
        It is not UTF-8 or no JSON, or what `read_object` refuses; `where` is named.
    """
    try:
        text = content.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_finite, parse_float=_finite)
        _check_depth(value)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as fault:
        reason = "it is nested too deeply" if isinstance(fault, RecursionError) else _reason(fault)
        raise error(f"'{where}' is not JSON as it should be ({reason}); {remedy}.") from fault
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shown(twice)} stands twice")
    return values


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is no number that is finite")
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        below = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [inner for items in below for inner in items if isinstance(inner, dict | list)]
        if not level:
            return
    raise RecursionError


def check_version(
    values: Mapping[str, Any], version: int, what: str, *, error: Error = DataError, remedy: str = _REMEDY
) -> None:
    """Raise `error` where the `format_version` of an artefact's JSON is another than the one that is read here.

    `what` begins the sentence: "Model 'folder'".
    """
    found = values.get("format_version")
    if type(found) is not int or found != version:
        raise error(
            f"{what} is of format version {shown(found)}, this program reads version {version}; {remedy}, or use the "
            "version of omnifeat that wrote it."
        )


def checked(
    kind: type[T], values: object, *, where: str | os.PathLike[str], error: Error = DataError, remedy: str = _REMEDY
) -> T:
    """JSON values as what they must be: a pydantic model, dataclass or plain type, and nothing else.

    Types are strict: true is no 1, "1" is no number. Whether unknown keys are refused is the model's to say
    (`ConfigDict(extra="forbid")`).

    Parameters
    ----------
    where
        The file, and the place in it where need be, for the sentence.

    Raises
    ------
    error
        Something is missing or is not what it must be; the sentence names the first such place, as in `a.b.0`.
    """
    hashable: Any = kind
    try:
        # By way of JSON text, so that lists may become tuples though types are strict.
        return _adapter(hashable).validate_json(json.dumps(values), strict=True)
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "its content"
        if first["type"] == "missing":
            raise error(f"'{where}' lacks {shown(place)}; {remedy}.") from fault
        found = "" if isinstance(first["input"], dict | list) else f", got {shown(first['input'])}"
        raise error(f"'{where}' is wrong at {shown(place)} ({_reason(first['msg'])}{found}); {remedy}.") from fault
    except (TypeError, ValueError, RecursionError) as fault:
        raise error(f"'{where}' holds what JSON does not ({_reason(fault)}); {remedy}.") from fault


class LibraryCall:
    """`with LibraryCall("...", ...):` around the one call in which a library parses a stranger's file.

    What it raises becomes one sentence. For libraries that raise whatever occurs (`tokenizers` a plain `Exception`, and
    Rust's panics, which derive from `BaseException`; `transformers` any), where no list of classes would be whole.
    Errors of our own, and what a user's Ctrl-C raises, pass.

    Parameters
    ----------
    failed
        Begins the sentence: "No tokenizer can be loaded from 'folder'".
    remedy
        Ends it.
    """

    def __init__(self, failed: str, *, error: Error = DataError, remedy: str = _REMEDY) -> None:
        self._failed, self._error, self._remedy = failed, error, remedy

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if fault is None or isinstance(fault, OmnifeatError):
            return
        if isinstance(fault, Exception) or type(fault).__name__ == "PanicException":
            lines = str(fault).strip().splitlines() or [type(fault).__name__]
            reason = "".join(c if c.isprintable() else "?" for c in _reason(lines[0]).rstrip(":"))
            raise self._error(f"{self._failed} ({reason}); {self._remedy}.") from fault


@lru_cache(maxsize=128)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _reason(fault: BaseException | str) -> str:
    if isinstance(fault, OSError):
        fault = fault.strerror or os.strerror(fault.errno or errno.EIO)
    return " ".join(str(fault).split()).rstrip(".")[:300]


def shown(value: object) -> str:
    """A value of a stranger's file, in a sentence: short, and nothing that steers a terminal."""
    text = repr(value) if isinstance(value, str) else str(value)
    safe = "".join(character if character.isprintable() else "?" for character in text)
    return safe if len(safe) <= _SHOWN else f"{safe[:_SHOWN]}…"
