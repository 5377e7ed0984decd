"""Reading User Behavior Insights logs: one JSON object a line, of queries and of events, in any mixture of files.

A line is a record, a search hit that holds one as `_source`, or the action line of a bulk request, which is passed by.
An event is told from a query by its `action_name`, which the schema requires of events and queries have not.
"""

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from omnifeat.data.locations import json_reason
from omnifeat.data.times import likely_unit, look_of, odd_times, parse_times
from omnifeat.errors import DataError
from omnifeat.importers.plain_text import plain_text

__all__ = ["Event", "Query", "log_files", "read_records"]

SUFFIXES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
_LONGEST_LINE = 64 << 20
_QUERY_FIELDS = ("user_query", "query_response_hit_ids", "query_response_id", "query_attributes", "query")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MILLISECONDS = (631_152_000_000, 1_893_456_000_000)  # from 1990 to 2030: read without a second look


@dataclass(frozen=True)
class Query:
    """A search: `time` in microseconds since 1970, `hits` in the order in which they were shown."""

    query_id: str | None
    text: str | None
    client: str | None
    time: int | None
    hits: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """What was done: `position` counts from 1."""

    query_id: str | None
    action: str
    object_id: str | None
    user: str | None
    time: int | None
    position: int | None
    name: str | None
    description: str | None
    # what else makes two events two
    client: str | None
    session: str | None


def log_files(source: str | Path) -> list[Path]:
    """The files of a folder that end in `.ndjson` or `.jsonl`, perhaps `.gz`, sorted by name; or the file itself.

    Raises `DataError` where there is none.
    """
    path = Path(source)
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise DataError(
                f"{path} must end in one of {', '.join(SUFFIXES)}; give the logs as JSON, one object a line."
            )
        return [path]
    if not path.exists():
        raise DataError(f"The source {path} does not exist; give the file or folder of the logs.")
    files = sorted(entry for entry in path.iterdir() if entry.is_file() and entry.name.endswith(SUFFIXES))
    if not files:
        raise DataError(f"{path} holds no file that ends in one of {', '.join(SUFFIXES)}; give the folder of the logs.")
    return files


def read_records(files: Sequence[Path]) -> Iterator[tuple[str, Query | Event]]:
    """File and line of each record, and the record.

    Raises
    ------
    DataError
        For a file that is damaged, text that is not UTF-8, a line that is no JSON object, or neither a query nor an
        event, a field of a wrong type, a time that is none.
    """
    for path in files:
        name = str(path)
        for line, content in _lines(path):
            place = f"{name}, line {line}"
            value = _object(content, place)
            if value.keys() in ({"index"}, {"create"}) and isinstance(next(iter(value.values())), dict):
                continue
            if isinstance(value.get("_source"), dict):
                value = value["_source"]
            if "action_name" in value:
                yield place, _event(value, place)
            elif any(name in value for name in _QUERY_FIELDS):
                yield place, _query(value, place)
            else:
                raise DataError(f"{place} is neither a query (user_query) nor an event (action_name); remove the line.")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            number = 0
            while content := stream.readline(_LONGEST_LINE):
                number += 1
                if len(content) == _LONGEST_LINE:
                    raise DataError(
                        f"{path}, line {number} is longer than {_LONGEST_LINE >> 20} MiB; give one JSON object a line."
                    )
                content = content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content
                if content.strip():
                    yield number, content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); fetch it again.") from error
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the file.") from error


def _object(content: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8"))
        if b"\\ud" in content or b"\\uD" in content:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except UnicodeEncodeError as error:
        raise DataError(f"{place} holds half a surrogate pair, as of an emoji cut in two; correct the text.") from error
    except UnicodeError as error:
        raise DataError(f"{place} is not UTF-8 text; save the file as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place} is not JSON ({json_reason(error)} at character {error.pos + 1}); correct it."
        ) from error
    except ValueError as error:  # Python reads no whole number of more than 4,300 digits
        raise DataError(f"{place} holds a number that is too long; correct it.") from error
    except RecursionError as error:
        raise DataError(f"{place} is nested too deep to be a record; remove it.") from error
    if not isinstance(value, dict):
        raise DataError(f"{place} must be a JSON object but is a {type(value).__name__}; correct it.")
    return value


def _query(value: dict[str, Any], place: str) -> Query:
    hits = value.get("query_response_hit_ids")
    if hits is None:
        hits = []
    elif not isinstance(hits, list):
        hits = [hits]  # a field of one value comes without brackets
    found = (_text({"query_response_hit_ids": hit}, "query_response_hit_ids", place) for hit in hits)
    return Query(
        query_id=_text(value, "query_id", place),
        text=_text(value, "user_query", place),
        client=_text(value, "client_id", place),
        time=_time(value, place),
        hits=tuple(hit for hit in found if hit is not None),
    )


def _event(value: dict[str, Any], place: str) -> Event:
    attributes = _part(value, "event_attributes", place)
    thing = _part(attributes, "object", place)
    position = _part(attributes, "position", place)
    action = _text(value, "action_name", place)
    if action is None:
        raise DataError(f"{place}: 'action_name' is empty; give the event's action.")
    ordinal = _whole(position, "ordinal", place)
    if ordinal is None:
        rank = _whole(attributes, "rank", place)  # as OpenSearch's own generator of samples writes it, from 0
        ordinal = None if rank is None else rank + 1
    return Event(
        query_id=_text(value, "query_id", place),
        action=action,
        object_id=_text(thing, "object_id", place),
        user=_text(value, "user_id", place),
        time=_time(value, place),
        position=ordinal,
        name=plain_text(_text(thing, "name", place)),
        description=plain_text(_text(thing, "description", place)),
        client=_text(value, "client_id", place),
        session=_text(value, "session_id", place),
    )


def _part(value: dict[str, Any], field: str, place: str) -> dict[str, Any]:
    part = value.get(field)
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise DataError(f"{place}: '{field}' must be an object but is {_shown(part)}; correct it.")
    return part


def _text(value: dict[str, Any], field: str, place: str) -> str | None:
    """Text, or a whole number as text; white space collapsed, None where nothing is left."""
    found = value.get(field)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise DataError(f"{place}: '{field}' must be text but is {_shown(found)}; correct it.")
    return " ".join(str(found).split()) or None


def _whole(value: dict[str, Any], field: str, place: str) -> int | None:
    found = value.get(field)
    if found is None:
        return None
    if isinstance(found, str) and found.strip().isdecimal() and len(found) < 20:
        found = int(found)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**31 - 1:
        raise DataError(f"{place}: '{field}' must be a whole number but is {_shown(found)}; correct it.")
    return found


def _time(value: dict[str, Any], place: str) -> int | None:
    """Microseconds since 1970 of a time of any form that `parse_times` reads, or of milliseconds since 1970.

    A number that no log has as milliseconds and that is of these years as seconds (or micro- or nanoseconds) is read
    so: other writers of such logs count those.
    """
    found = value.get("timestamp")
    if found is None or found == "":
        return None
    number = found
    if isinstance(found, str) and found.strip().lstrip("-").isdecimal() and len(found) < 20:
        number = int(found)
    if (
        isinstance(number, int | float)
        and not isinstance(number, bool)
        and _MILLISECONDS[0] < number < _MILLISECONDS[1]
    ):
        return int(number * 1_000)
    if isinstance(number, str):
        with contextlib.suppress(ValueError):  # the usual form, quickly
            moment = datetime.fromisoformat(number.strip())
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            return (moment - _EPOCH) // _MICROSECOND

    def wrong(_: int, __: Any) -> DataError:
        return DataError(
            f"{place}: 'timestamp' must be a time such as 2024-05-01T12:30:00Z, or milliseconds, but is "
            f"{_shown(found)}; correct it."
        )

    try:
        values = pa.array([number])
        numeric = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        unit = (likely_unit(values) if numeric else None) or "ms"
        times = parse_times(values, wrong, unit)
        look = look_of(number) if odd_times(times) is not None else None
        if look is not None:
            raise DataError(f"{place}: 'timestamp' is {_shown(found)}, which looks like {look}.")
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise wrong(0, found) from error
    microseconds: int | None = times.cast(pa.int64())[0].as_py()
    return microseconds


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
