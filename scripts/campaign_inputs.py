"""Read tens of thousands of damaged and odd tables, and count what comes of it.

    python scripts/campaign_inputs.py --count 100000 --seed 0 -o /tmp/campaign

Each input is made from its number and the seed alone: a small table in some format, changed at random places or in its
structure. It is read by the readers, by `validate` or by `import table`, in a worker process that is started anew when
it crashes or takes too long. An input must be read (unchanged cells with the same values) or refused by an
`OmnifeatError` in one line. Everything else is a failure: it is kept under `-o`, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnifeat.data.dialects import guess_dialect
from omnifeat.data.files import count_rows, iter_batches, read_table
from omnifeat.data.locations import file_format, locate
from omnifeat.data.validate import validate
from omnifeat.errors import OmnifeatError
from omnifeat.importers.tables import import_table

GOOD = ("read", "read unchanged", "refused")
LIMIT = 20.0  # seconds for one input
START_UP = 60.0  # and for the worker to start
TEXT_SUFFIXES = ("csv", "tsv", "jsonl", "json", "csv.gz", "jsonl.gz", "jsonl.zst")
SUFFIXES = (*TEXT_SUFFIXES, "parquet", "arrow")
TABLES = ("products", "engagements")
COLUMNS = {
    "products": ("id", "title", "price", "board_titles", "sku", "n"),
    "engagements": ("query", "entity_id", "entity_type", "action", "timestamp", "f_x"),
}
ODD_TEXTS = (
    "", " ", '"', '""', '"a', 'a"', "a,b", "a\nb", "a\r\nb", "\t", ";", "\\", '\\"', "'", "null", "NaN", "nan", "None",
    "NA", "true", "TRUE", "0", "-0", "007", "1e5", "1e400", "1.0", "9007199254740993", "18446744073709551616", "12,5",
    "1,234", "49.90 USD", "12%", "=1+1", "\u2028", "\u0000", "\ufeff", "\u200b", "caf\u00e9", "\U0001f600", "[]", "{}",
    '["a"]', "[1,", '{"$oid": "a"}', "2024-03-01", "20240301", "2024-03-01T24:00", "0000-00-00", "9999-12-31",
    "x" * 3000,
)  # fmt: skip
ODD_JSON: tuple[Any, ...] = (
    None, True, 0, -1, 1.0, 1.5, 1e16, 1e300, float("nan"), float("inf"), 2**53 + 1, 2**63, 2**64, [], {}, [None],
    ["a"], [["a"]], [1, "a"], {"a": 1}, {"$oid": "a"}, {"$date": 1}, {"$date": {"$numberLong": "1"}}, "\ud83d",
    "a\u0000",
)  # fmt: skip
ODD_BYTES = (
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"\n", b"\r", b"\n\n", b",", b";", b"\t", b"\\", b"{", b"}", b"[",
    b"]" * 3, b"[" * 500, b"null\n", b"NaN", b":", b"\xff", b"\x80", b"\xed\xa0\x80", b"PAR1", b"sep=;\n",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One input: what lies in `folder`, and the rows that must be read from it where nothing was damaged."""

    folder: Path
    path: Path
    table: str
    rows: list[dict[str, Any]] | None
    what: str


def plain_rows(chance: random.Random, table: str) -> list[dict[str, Any]]:
    """A few rows of text and numbers, as every format can hold them."""
    rows: list[dict[str, Any]] = []
    for number in range(chance.randint(1, 8)):
        if table == "products":
            row = (f"p{number}", f"Cup {number}", 1.5 * number, ["a", "b"], f"00{number}", number)
        else:
            moment = f"2024-03-0{number % 9 + 1}T12:00:00Z"
            row = (f"cup {number % 3}", f"p{number}", "product", "click", moment, 0.5)
        rows.append(dict(zip(COLUMNS[table], row, strict=True)))
    return rows


def text_bytes(rows: list[dict[str, Any]], suffix: str, chance: random.Random) -> bytes:
    """Rows as a tool of another kind than this project's writer writes them."""
    kind, _, compression = suffix.partition(".")
    if kind in ("csv", "tsv"):
        text = io.StringIO(newline="")
        quoting = csv.QUOTE_ALL if kind == "tsv" or chance.random() < 0.3 else csv.QUOTE_MINIMAL
        writer = csv.writer(
            text,
            delimiter="," if kind == "csv" else "\t",
            quoting=quoting,
            lineterminator=chance.choice(["\n", "\r\n"]),
        )
        writer.writerow(rows[0])
        for row in rows:
            writer.writerow([json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in row.values()])
        data = text.getvalue().encode("utf-8", "surrogatepass")
    else:
        if kind == "json" and chance.random() < 0.5:
            text_ = json.dumps(rows, indent=chance.choice([None, 2]), ensure_ascii=True)
        else:
            text_ = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)
        data = text_.encode()
    if compression == "gz":
        return gzip.compress(data, mtime=0)
    return pa.Codec("zstd").compress(data, asbytes=True) if compression == "zst" else data


def arrow_bytes(rows: list[dict[str, Any]], suffix: str, folder: Path) -> bytes:
    """Rows in a format with types; what has no common type becomes text."""
    arrays = {}
    for name in rows[0]:
        values = [row.get(name) for row in rows]
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
            arrays[name] = pa.array([ascii(value) for value in values])
    path = folder / f"made.{suffix}"
    if suffix == "parquet":  # which knows no objects without a field
        arrays = {
            name: array if "struct<>" not in str(array.type) else pa.array([ascii(row.get(name)) for row in rows])
            for name, array in arrays.items()
        }
        pq.write_table(pa.table(arrays), path)
    else:
        with pa.ipc.new_file(path, pa.table(arrays).schema) as writer:
            writer.write_table(pa.table(arrays))
    data = path.read_bytes()
    path.unlink()
    return data


def as_bytes(rows: list[dict[str, Any]], suffix: str, folder: Path, chance: random.Random) -> bytes:
    """A file of these rows."""
    return text_bytes(rows, suffix, chance) if suffix in TEXT_SUFFIXES else arrow_bytes(rows, suffix, folder)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed at one to four places."""
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        end = min(len(data), place + chance.choice([1, 1, 1, 4, 50]))
        match chance.randrange(6):
            case 0:
                data = data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
            case 1:
                data = data[:place] + chance.choice(ODD_BYTES) + data[place:]
            case 2:
                data = data[:place] + data[end:]
            case 3:
                data = data[:place] if chance.random() < 0.3 else data
            case 4:
                data = data[:place] + data[chance.randrange(len(data) + 1) :][:200] + data[place:]
            case _:
                data = data[:place] + chance.choice(ODD_BYTES) + data[end:]
    return data


def odd_rows(rows: list[dict[str, Any]], suffix: str, chance: random.Random) -> list[dict[str, Any]]:
    """Rows with cells swapped for odd values, columns renamed, dropped, or of another type."""
    odd = ODD_TEXTS + (ODD_JSON if not suffix.startswith(("csv", "tsv")) else ())
    rows = [dict(row) for row in rows]
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(list(rows[0]) or ["id"])
        match chance.randrange(5):
            case 0 | 1:
                chance.choice(rows)[name] = chance.choice(odd)
            case 2:
                value = chance.choice(odd)
                rows = [row | {name: value} for row in rows]
            case 3:
                other = chance.choice(["", "id ", "Id", "title", "a\0b", "x" * 300, '"q"', "f_x", "price"])
                rows = [{other if key == name else key: value for key, value in row.items()} for row in rows]
            case _:
                rows = [{key: value for key, value in row.items() if key != name} or {"x": 1} for row in rows]
    return rows


def odd_texts(rows: list[dict[str, Any]], table: str, suffix: str, chance: random.Random) -> list[dict[str, Any]]:
    """Rows with odd texts where any text is a value, so that they must be read as they are."""
    name = "title" if table == "products" else "query"
    found = []
    for row in rows:
        text = "".join(chance.choice(ODD_TEXTS) for _ in range(2)) + "x"
        if suffix.startswith(("csv", "tsv")):  # a row end or NUL is told apart by tests of their own
            text = text.replace("\0", "").replace("\r", "").replace("\n", "")
        found.append(row | {name: text})
    return found


def make(seed: int, number: int, work: Path) -> Case:
    """The input of this number."""
    chance = random.Random(f"{seed}:{number}")
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table, suffix = chance.choice(TABLES), chance.choice(SUFFIXES)
    rows = plain_rows(chance, table)
    path = folder / f"{table}.{suffix}"
    form = chance.choice(("bytes", "bytes", "cells", "cells", "texts", "parts", "doubled"))
    expected = None
    if form == "parts":
        path = folder / table
        path.mkdir()
        for part in range(chance.randint(2, 3)):
            inner = path / f"dt=2024-03-0{part + 1}" if number % 2 else path
            inner.mkdir(exist_ok=True)
            some = odd_rows(rows, suffix, chance) if chance.random() < 0.5 else rows
            data = as_bytes(some, suffix, folder, chance) if chance.random() < 0.85 else b""
            (inner / f"part-{part}.{suffix}").write_bytes(damaged(data, chance) if chance.random() < 0.2 else data)
    elif form == "texts":
        rows = odd_texts(rows, table, suffix, chance)
        expected = rows
        path.write_bytes(as_bytes(rows, suffix, folder, chance))
    elif form == "doubled" and suffix in ("csv", "tsv"):
        names = list(rows[0])
        header = [chance.choice(names) for _ in range(chance.randint(2, 8))]
        sign = "," if suffix == "csv" else "\t"
        lines = [sign.join(chance.choice(ODD_TEXTS) for _ in header) for _ in rows]
        path.write_bytes("\n".join([sign.join(header), *lines]).encode())
    else:
        if form != "bytes":
            rows = odd_rows(rows, suffix, chance)
        data = as_bytes(rows, suffix, folder, chance)
        path.write_bytes(damaged(data, chance) if form == "bytes" else data)
    (folder / "dataset.json").write_text('{"name": "campaign"}')
    return Case(folder, path, table, expected, f"{form} {suffix}")


def _read(case: Case) -> str:
    """Read by the readers, in the schema's types and as the file stands; the outcome."""
    table = read_table(case.path, allow_empty=True)
    if count_rows(case.path) != table.num_rows:
        return f"{table.num_rows} rows read, {count_rows(case.path)} counted"
    plain = sum(batch.num_rows for batch in iter_batches(case.path, by_name=False, allow_empty=True))
    if plain != table.num_rows:
        return f"{table.num_rows} rows read, {plain} as they stand"
    if case.rows is None:
        return "read"
    name = "title" if case.table == "products" else "query"
    found, expected = table[name].to_pylist(), [row[name] for row in case.rows]
    return "read unchanged" if found == expected else f"{expected} is read as {found}"


def _validate(case: Case) -> str:
    validate(case.folder)
    return "read"


def _import(case: Case) -> str:
    out = case.folder / "out"
    path = case.path
    if path.is_file() and file_format(path.name).kind == "csv":
        guess_dialect(locate(path), file_format(path.name))
    import_table({case.table: str(path)}, out)
    return "read"


def outcome(case: Case, number: int) -> str:
    """What comes of an input: one of `GOOD`, or what is wrong in a few words."""
    act: Callable[[Case], str] = (_read, _read, _validate, _import)[number % 4]
    try:
        return act(case)
    except OmnifeatError as error:
        message = str(error)
        if "\n" in message.strip() or not message.strip():
            return f"a message of several lines: {message!r}"
        if case.rows is not None and act is _read:
            return f"refused, though sound: {message}"
        return "refused"
    except Exception:  # noqa: BLE001 - that nothing else gets out is what is tried here
        return "traceback: " + traceback.format_exc()


def work(seed: int, start: int, count: int, folder: Path) -> None:
    """A worker: says each number before it is tried, and its outcome after."""
    warnings.simplefilter("error")
    for number in range(start, start + count):
        print(json.dumps(["try", number]), flush=True)
        case = make(seed, number, folder)
        print(json.dumps(["done", number, case.what, outcome(case, number)]), flush=True)


def tried(seed: int, start: int, count: int, limit: float) -> Iterator[tuple[int, str, str]]:
    """Number, form and outcome of each input, whatever becomes of the worker."""
    end = start + count
    while start < end:
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            command = [sys.executable, __file__, "--worker", folder, "--seed", str(seed)]
            command += ["--start", str(start), "--count", str(end - start)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
                for number, what, result in _heard(worker, start, end, limit):
                    start = number + 1
                    yield number, what, result


def _heard(worker: Any, start: int, end: int, limit: float) -> Iterator[tuple[int, str, str]]:
    at = start
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        while at < end:
            if not selector.select(limit + (START_UP if at == start else 0)):  # the first waits for the imports too
                worker.kill()
                yield at, "", f"hang: more than {limit:.0f} s"
                return
            line = worker.stdout.readline()
            if not line:
                yield at, "", f"crash: the process ended with {worker.wait()}"
                return
            said = json.loads(line)
            if said[0] == "done":
                at = said[1] + 1
                yield said[1], said[2], said[3]


def campaign(seed: int, start: int, count: int, folder: Path, limit: float = LIMIT) -> Counter[str]:
    """Counts by form and outcome; what fails is kept in the folder."""
    counts: Counter[str] = Counter()
    for number, what, result in tried(seed, start, count, limit):
        kind = result if result in GOOD else "FAILED"
        counts[f"{kind} ({what})" if what else kind] += 1
        if kind == "FAILED":
            kept = folder / f"{seed}-{number}"
            make(seed, number, kept)
            (kept / "result.txt").write_text(result, encoding="utf-8", errors="backslashreplace")
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("campaign-inputs"))
    given = parser.parse_args()
    if given.worker is not None:
        work(given.seed, given.start, given.count, given.worker)
        return 0
    began = time.monotonic()
    counts = campaign(given.seed, given.start, given.count, given.output)
    for name, count in sorted(counts.items()):
        print(f"{count:8,}  {name}")
    failed = sum(count for name, count in counts.items() if name.startswith("FAILED"))
    print(f"{counts.total():,} inputs in {time.monotonic() - began:.0f} s, {failed:,} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
