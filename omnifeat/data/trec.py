"""TREC's text files: judgments (qrels), runs and topics, read into Arrow tables and written from them.

    qrels:  query-id  iteration  entity-id  grade            q1 0 d1 2
    run:    query-id  Q0  entity-id  rank  score  tag        q1 Q0 d1 1 9.5 bm25
    topics: query-id <TAB> text                              q1<TAB>red mug

Fields of qrels and runs stand between blanks or tabs, and ids hold none. A run's order is that of its scores, as
`trec_eval` has it: its rank column is not read. A file may end in `.gz`.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, cast

import pyarrow as pa

from omnifeat.data.locations import PathLike, locate, one_line
from omnifeat.data.writing import output_error, replace_when_whole
from omnifeat.errors import DataError, SettingError

__all__ = ["is_trec_file", "read_qrels", "read_run", "read_topics", "write_qrels", "write_run"]

_SUFFIXES = (".trec", ".qrels", ".qrel", ".run", ".txt", ".res")
_WHOLE = re.compile(r"[-+]?[0-9]{1,15}", re.ASCII)
_QRELS_FORM = "four fields, 'query-id 0 entity-id grade'"
_RUN_FORM = "six fields, 'query-id Q0 entity-id rank score tag'"


def is_trec_file(path: PathLike) -> bool:
    """Whether a name ends as TREC's files do (`.trec`, `.qrels`, `.run`, `.txt`, ... perhaps `.gz`)."""
    return str(path).lower().removesuffix(".gz").endswith(_SUFFIXES)


def read_qrels(path: PathLike) -> pa.Table:
    """Judgments: `query_id` and `entity_id` (text), `grade` (int64), in the order of the file.

    BEIR's judgments, three fields below the header `query-id corpus-id score`, are read too.

    Raises
    ------
    DataError
        The file is missing, damaged, empty or not UTF-8; a line has not its four (or three) fields; a grade is no whole
        number; a pair is judged twice.
    """
    queries: list[str] = []
    entities: list[str] = []
    grades: list[int] = []
    seen = _Pairs(path)
    for line, fields in _qrels_fields(path):
        query, *_, entity, grade = fields
        if not _WHOLE.fullmatch(grade):
            raise DataError(f"{path}, line {line}: the grade {grade!r} is not a whole number; correct it.")
        seen.add(query, entity, line)
        queries.append(query)
        entities.append(entity)
        grades.append(int(grade))
    return pa.table(
        {
            "query_id": pa.array(queries, pa.string()),
            "entity_id": pa.array(entities, pa.string()),
            "grade": pa.array(grades, pa.int64()),
        }
    )


def read_run(path: PathLike) -> pa.Table:
    """A ranking: `query_id` and `entity_id` (text), `score` (float64), in the order of the file.

    Raises
    ------
    DataError
        The file is missing, damaged, empty or not UTF-8; a line has not six fields; a score is no finite number; a pair
        stands twice.
    """
    queries: list[str] = []
    entities: list[str] = []
    scores: list[float] = []
    seen = _Pairs(path)
    for line, fields in _fields(path, 6, _RUN_FORM):
        query, _, entity, _, score, _ = fields
        number = _finite(score)
        if number is None:
            raise DataError(f"{path}, line {line}: the score {score!r} is not a finite number; correct it.")
        seen.add(query, entity, line)
        queries.append(query)
        entities.append(entity)
        scores.append(number)
    return pa.table(
        {
            "query_id": pa.array(queries, pa.string()),
            "entity_id": pa.array(entities, pa.string()),
            "score": pa.array(scores, pa.float64()),
        }
    )


def read_topics(path: PathLike) -> dict[str, str]:
    """Texts of queries by their ids, from lines `query-id <TAB> text`, white space in texts collapsed.

    A `.jsonl` file is read as BEIR's: objects with `_id` and `text`.

    Raises
    ------
    DataError
        The file is missing, damaged, empty or not UTF-8; a line has no tab or more than one; an id or a text is empty;
        an id stands twice.
    """
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    is_json = str(path).lower().removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    for number, line in _lines(path):
        query, text = _json_topic(line) if is_json else _topic(line)
        if not is_json and line.strip().count("\t") > 1:
            raise DataError(
                f"{path}, line {number} has {line.strip().count(chr(9)) + 1} columns, but a line reads 'query-id, tab, "
                f"text of the query': {_shown(line)}; leave out what is no part of the query."
            )
        if not query or not text:
            form = "a JSON object with '_id' and 'text'" if is_json else "'query-id, tab, text of the query'"
            raise DataError(f"{path}, line {number} does not read {form} but {_shown(line)}; write one query a line.")
        if query in texts:
            raise DataError(f"{path}, line {number}: the query {query!r} stands in line {lines[query]} too; keep one.")
        texts[query], lines[query] = text, number
    return texts


def write_qrels(path: PathLike, judgments: pa.Table) -> None:
    """Write `query_id`, `entity_id` and whole-numbered `grade` as TREC judgments; `.gz` is compressed.

    Raises
    ------
    DataError
        An id is null, empty or holds white space, or a grade is null or no whole number.
    OutputError
        The file cannot be written.
    """

    def lines() -> Iterator[str]:
        for row, (query, entity, grade) in enumerate(_rows(judgments, "query_id", "entity_id", "grade"), start=1):
            _check_ids(row, query, entity)
            if grade is None or grade != int(grade):
                raise DataError(f"Row {row} of the judgments has the grade {grade!r}; TREC takes whole numbers.")
            yield f"{query} 0 {entity} {int(grade)}\n"

    _write(path, lines())


def write_run(path: PathLike, run: pa.Table, *, score: str = "score", tag: str = "omnifeat") -> None:
    """Write `query_id`, `entity_id` and a column of scores as a TREC run, best first within each query.

    Equal scores are ordered by id. Queries stand in the order in which they come first. Rows without a score are left
    out: TREC has no way to say them.

    Parameters
    ----------
    score
        The column of scores.
    tag
        The run's name, the last field of each line.

    Raises
    ------
    DataError
        An id is null, empty or holds white space, or a score is not finite.
    SettingError
        The tag is empty or holds white space.
    OutputError
        The file cannot be written.
    """
    if not tag or len(tag.split()) != 1 or tag != tag.strip():
        raise SettingError(f"The tag {tag!r} of a TREC run is one word; give one without blanks.")
    by_query: dict[str, list[tuple[float, str]]] = {}
    for row, (query, entity, value) in enumerate(_rows(run, "query_id", "entity_id", score), start=1):
        _check_ids(row, query, entity)
        if value is None:
            continue
        if not math.isfinite(value):
            raise DataError(f"Row {row} of the run has the score {value!r}; TREC takes finite numbers.")
        by_query.setdefault(query, []).append((-float(value), entity))

    def lines() -> Iterator[str]:
        for query, found in by_query.items():
            for rank, (negative, entity) in enumerate(sorted(found), start=1):
                yield f"{query} Q0 {entity} {rank} {-negative!r} {tag}\n"

    _write(path, lines())


class _Pairs:
    """Pairs of a query and an entity that were read, so that none counts twice."""

    def __init__(self, path: PathLike) -> None:
        self._path = path
        self._lines: dict[tuple[str, str], int] = {}

    def add(self, query: str, entity: str, line: int) -> None:
        first = self._lines.setdefault((query, entity), line)
        if first != line:
            raise DataError(
                f"{self._path}, line {line} repeats the query {query!r} and the entity {entity!r} of line {first}; "
                "keep one line for each pair."
            )


def _topic(line: str) -> tuple[str, str]:
    query, _, text = line.partition("\t")
    return query.strip(), " ".join(text.split())


def _json_topic(line: str) -> tuple[str, str]:
    """Id and text of one of BEIR's queries; empty where the line has none."""
    try:
        value = json.loads(line)
        query, text = value["_id"], value["text"]
        if isinstance(query, int) and not isinstance(query, bool):
            query = str(query)
        text.encode(), query.encode()  # half a surrogate pair is no text
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", ""
    return query.strip(), " ".join(text.split())


def _qrels_fields(path: PathLike) -> Iterator[tuple[int, list[str]]]:
    first = next(_lines(path))[1].split()
    if first[:1] != ["query-id"]:
        yield from _fields(path, 4, _QRELS_FORM)
        return
    rows = _fields(path, 3, "three fields below BEIR's header, 'query-id entity-id grade'")
    next(rows)
    yield from rows


def _fields(path: PathLike, count: int, form: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in _lines(path):
        fields = line.split()
        if len(fields) != count:
            raise DataError(
                f"{path}, line {number} has {len(fields)} fields, but a line has {form}: {_shown(line)}; correct it."
            )
        yield number, fields


def _lines(path: PathLike) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    some = False
    number = 0
    try:
        with locate(path).open_stream("gzip" if str(path).lower().endswith(".gz") else None) as stream:
            # line ends are \n and \r\n alone: an id may hold what Unicode calls a line end
            for number, raw in enumerate(io.BufferedReader(_Readable(stream)), start=1):
                text = (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).decode("utf-8")
                if text.strip():
                    some = True
                    yield number, text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line {number} is not UTF-8 text; save the file as UTF-8.") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path} is truncated or corrupt ({one_line(error)}); write it again.") from error
    if not some:
        raise DataError(f"{path} has no lines; give a file with at least one.")


class _Readable(io.RawIOBase):
    """An Arrow stream as Python's, whose lines can be iterated."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    # Python also reads 1_000, which no other program does
    return number if math.isfinite(number) and "_" not in text else None


def _rows(table: pa.Table, *columns: str) -> Iterator[tuple[Any, ...]]:
    for batch in table.select(list(columns)).to_batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _check_ids(row: int, *ids: str | None) -> None:
    for identifier in ids:
        if not identifier or len(identifier.split()) != 1 or identifier != identifier.strip():
            raise DataError(
                f"Row {row} has the id {identifier!r}; ids in TREC's files are words without blanks: give such ids."
            )


def _write(path: PathLike, lines: Iterator[str]) -> None:
    with replace_when_whole(path) as partial:
        try:
            with ExitStack() as stack:
                sink: Any = stack.enter_context(partial.open("wb"))
                if str(path).lower().endswith(".gz"):
                    sink = stack.enter_context(
                        cast("Any", gzip.GzipFile(filename="", fileobj=sink, mode="wb", mtime=0))
                    )
                for line in lines:
                    sink.write(line.encode())
        except OSError as error:
            raise output_error(path, error) from error


def _shown(line: str) -> str:
    text = repr(line.rstrip("\r\n"))
    return text if len(text) <= 60 else f"{text[:57]}..."
