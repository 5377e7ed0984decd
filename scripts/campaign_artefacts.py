"""Crafted artefacts: of every kind that the toolkit saves, one is made, changed in hundreds of ways, and used.

Each use must end in the same output, in another output where what was changed is the output's own (a weight, with its
check sum), or in one sentence. Bad are a traceback, the end of the process, no end, and anything written outside.

    python scripts/campaign_artefacts.py                       # all kinds, about 40 variants each
    python scripts/campaign_artefacts.py index-graph --each 500 --seed 3

Variants are used in a process of its own with limits of time and memory, many in one; it is begun anew when it ends.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).parent))
from campaign_artefact_kinds import KINDS

__all__ = ["BAD", "Outcome", "run_campaign"]

BAD = ("traceback", "crash", "hang", "wrote outside", "unnoticed")
_SECONDS = 30  # of processor time, and as many of none at all, after which a use has no end
_MEMORY = 3 * 2**30  # bytes beyond what the libraries take
_WORDS = ("../../outside/canary", "/etc/passwd", "", "x" * 5000, "a\0b", "..", "C:\\x", "\ud800")
_VALUES: tuple[Any, ...] = (
    None, True, "7", -1, 0, 10**7, 2**31, 2**63, 10**30, 1e308, -0.5, [], {}, [[]], {"a": {"b": 1}}, *_WORDS,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a use ended: `how` in a word, and the sentence or the error; of the variant its `kind` and what was done."""

    kind: str
    done: str
    how: str
    told: str


# How a folder is changed: each takes it and gives what was done, or None where that cannot be.
Change = Callable[[Path, random.Random], str | None]


def _files(folder: Path, suffixes: tuple[str, ...] = ()) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size and (not suffixes or path.suffix in suffixes)
    )  # fmt: skip


def _field(folder: Path, draw: random.Random) -> str | None:
    """A value of a JSON file missing, of another type, huge, negative, deep, or a path."""
    found = _files(folder, (".json",))
    if not found:
        return None
    path = draw.choice(found)
    values = json.loads(path.read_text(encoding="utf-8"))
    place, key, trail = _place(values, draw)
    if place is None:
        return None
    how = draw.random()
    if how < 0.15 and isinstance(place, dict):
        del place[key]
        said = "missing"
    elif how < 0.25 and isinstance(place, dict):
        place[draw.choice(_WORDS[:4])] = place.pop(key)
        said = "renamed"
    elif how < 0.3:
        place[key] = json.loads("[" * 90 + "]" * 90)
        said = "deep"
    else:
        place[key] = draw.choice(_VALUES)
        said = repr(place[key])[:40]
    path.write_text(json.dumps(values), encoding="utf-8")
    return f"{path.name}: {trail} {said}"


def _place(values: Any, draw: random.Random) -> tuple[Any, Any, str]:
    """A dict or list somewhere in a JSON value, one of its keys, and the way there; shallow ones as often as deep."""
    trail = ""
    while isinstance(values, dict | list) and values:
        key: Any = draw.choice(sorted(values)) if isinstance(values, dict) else draw.randrange(len(values))
        trail = f"{trail}.{key}"
        if not isinstance(values[key], dict | list) or not values[key] or draw.random() < 0.3:
            return values, key, trail
        values = values[key]
    return None, None, trail


def _json_text(folder: Path, draw: random.Random) -> str | None:
    """A JSON file that is no such JSON."""
    found = _files(folder, (".json",))
    if not found:
        return None
    path = draw.choice(found)
    text = path.read_bytes()
    name, content = draw.choice([
        ("deep", b"[" * 200_000), ("deep object", b'{"a":' * 100_000), ("list", b"[]"), ("null", b"null"),
        ("NaN", b'{"format_version": NaN}'), ("number", b"1" * 10_000), ("latin", b'{"a": "\xff"}'),
        ("twice", text.replace(b"{", b'{"format_version": 1, "format_version": 2, ', 1)),
        ("nul", text.replace(b"{", b"{\0", 1)), ("empty object", b"{}"),
    ])  # fmt: skip
    path.write_bytes(content)
    return f"{path.name}: {name}"


def _cut(folder: Path, draw: random.Random) -> str | None:
    path = draw.choice(_files(folder))
    content = path.read_bytes()
    length = draw.choice([0, 1, 7, 8, 9, draw.randrange(len(content)), len(content) - 1])
    path.write_bytes(content[:length])
    return f"{path.name}: cut at {length}"


def _flip(folder: Path, draw: random.Random) -> str | None:
    path = draw.choice(_files(folder))
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 1, 4, 32])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return f"{path.name}: bits flipped"


def _sizes(folder: Path, draw: random.Random) -> str | None:
    """Numbers of a binary file blown up, more often in its head."""
    found = [path for path in _files(folder) if path.suffix not in (".json", ".txt")]
    if not found:
        return None
    path = draw.choice(found)
    content = bytearray(path.read_bytes())
    width = draw.choice([4, 8])
    end = min(len(content), draw.choice([64, 400, len(content)])) - width
    if end < 0:
        return None
    at = draw.randrange(end + 1) // 4 * 4 if draw.random() < 0.7 else draw.randrange(end + 1)
    number = draw.choice([0, 2**31 - 1, 2**62, 2 ** (8 * width) - 1, 10**6, 200])
    content[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
    path.write_bytes(content)
    return f"{path.name}: {number} at {at}"


def _line(folder: Path, draw: random.Random) -> str | None:
    """A line of a text file changed: its numbers huge, negative, fewer; the line missing, twice, or of another name."""
    found = _files(folder, (".txt",))
    if not found:
        return None
    path = draw.choice(found)
    lines = path.read_text(encoding="utf-8").split("\n")
    last = next((place for place, line in enumerate(lines) if line == "end of trees"), len(lines))
    at = draw.randrange(min(len(lines), last + 5) if draw.random() < 0.9 else len(lines))
    name, _, value = lines[at].partition("=")
    words = value.split(" ")
    how = draw.randrange(6)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, lines[at])
    elif how == 2:
        words[draw.randrange(len(words))] = str(
            draw.choice([-1, -7, 0, 1, 2, 3, 99, 2**31 - 1, 10**12, 1e308, "nan", "x"])
        )
        lines[at] = f"{name}={' '.join(words)}"
    elif how == 3:
        lines[at] = f"{name}={' '.join(words[: len(words) // 2])}"
    elif how == 4:
        lines[at] = f"{name}={' '.join(words * 3)}"
    else:
        lines[at] = f"{name}x={value}"
    said = f"{path.name}: line {at + 1} ({name[:20]}) changed by way {how}"
    # the sizes of trees follow, or else none of this would be reached
    text = "\n".join(lines)
    if draw.random() < 0.8:
        body = text.partition("\n\n")[2].partition("end of trees\n")[0]
        sizes = " ".join(str(len(f"Tree={tree}".encode())) for tree in body.split("Tree=")[1:])
        text = "\n".join(f"tree_sizes={sizes}" if line.startswith("tree_sizes=") else line for line in text.split("\n"))
    path.write_text(text, encoding="utf-8")
    return said


def _other(folder: Path, draw: random.Random) -> str | None:
    """A file with the content of another, or of another kind."""
    found = _files(folder)
    path = draw.choice(found)
    content = draw.choice([
        draw.choice(found).read_bytes(), b"PK\x03\x04" + bytes(60), b"\x80\x04N.", b"PAR1" + bytes(50) + b"PAR1",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", bytes(4096), b"tree\n" * 9,
    ])  # fmt: skip
    path.write_bytes(content)
    return f"{path.name}: another content of {len(content)} bytes"


def _member(folder: Path, draw: random.Random) -> str | None:
    """A file or folder of the artefact replaced by a link out, a pipe or a folder, or missing, or one too many."""
    found = sorted(path for path in folder.rglob("*") if path.name != ".")
    path = draw.choice(found)
    outside = folder.parent / "outside"
    how = draw.choice(["link", "link to a file", "pipe", "folder", "missing", "extra", "device"])
    if how == "extra":
        (path.parent / "extra.bin").write_bytes(b"x")
        return f"{path.parent.name}: an extra file"
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if how == "link":
        path.symlink_to(outside, target_is_directory=True)
    elif how == "link to a file":
        path.symlink_to(outside / "canary")
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "device":
        path.symlink_to("/dev/zero")
    return f"{path.name}: {how}"


CHANGES: tuple[Change, ...] = (_field, _field, _field, _json_text, _cut, _flip, _sizes, _line, _other, _member)


class Worker:
    """The process that uses artefacts, with limits; begun anew after it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def use(self, kind: str, folder: Path) -> tuple[str, str]:
        """How the use of a folder ended, and what was told or given."""
        process = self._process or self._begin()
        requests, answers = _pipes(process)
        requests.write(json.dumps({"kind": kind, "folder": str(folder)}) + "\n")
        requests.flush()
        if not self._answers(process, answers):
            self.end()
            return "hang", f"no end within {_SECONDS} s"
        line = answers.readline()
        if not line:
            code = process.wait()
            self._process = None
            return "crash", f"the process ended with {code}"
        found = json.loads(line)
        return found["how"], found["told"]

    @staticmethod
    def _answers(process: "subprocess.Popen[str]", answers: IO[str]) -> bool:
        """Whether an answer comes. On a busy machine only the processor's time tells work from waiting."""
        began = last = _cpu_seconds(process.pid)
        idle = 0
        while not select.select([answers], [], [], 1)[0]:
            now = _cpu_seconds(process.pid)
            idle = idle + 1 if now == last else 0
            last = now
            if now - began > _SECONDS or idle > _SECONDS:
                return False
        return True

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _begin(self) -> "subprocess.Popen[str]":
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        _pipes(self._process)[1].readline()  # libraries are loaded: their time is nobody's
        return self._process


def _pipes(process: "subprocess.Popen[str]") -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the worker has no pipes")
    return process.stdin, process.stdout


def _cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken, its threads' together."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work() -> None:
    """Use what each line of the input names, and answer by a line; what libraries print goes elsewhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for library in ("torch", "faiss", "lightgbm", "fasttext", "pyarrow.parquet"):
        __import__(library)
    from omnifeat.errors import OmnifeatError

    with open("/proc/self/statm", encoding="ascii") as taken:
        limit = int(taken.read().split()[0]) * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            how, told = "used", hashlib.sha256(KINDS[asked["kind"]].use(Path(asked["folder"]))).hexdigest()
        except OmnifeatError as error:
            told = str(error)
            sentence = 0 < len(told) < 1500 and "\n" not in told and told.isprintable()
            how = "sentence" if sentence else "traceback"
        except BaseException as error:  # noqa: BLE001  (what must not occur is what is looked for)
            how, told = "traceback", f"{type(error).__module__}.{type(error).__name__}: {str(error)[:300]}"
        print(json.dumps({"how": how, "told": told}), file=answers, flush=True)


def _state(folder: Path) -> list[tuple[str, str]]:
    """Names, and content of regular files, of what lies outside the artefact."""
    return sorted(
        (str(path), path.read_text() if path.is_file() and not path.is_symlink() else "") for path in folder.rglob("*")
    )


def run_campaign(kinds: list[str], each: int, seed: int, work: Path) -> Iterator[Outcome]:
    """Make one of each kind below `work`, and use `each` variants of it."""
    worker = Worker()
    outside = work / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "canary").write_text("nobody writes here\n", encoding="utf-8")
    before = _state(outside)
    try:
        for kind in kinds:
            whole, variant = work / "whole", work / "variant"
            for place in (whole, variant):
                shutil.rmtree(place, ignore_errors=True)
            KINDS[kind].make(whole)
            shutil.copytree(whole, variant)
            how, expected = worker.use(kind, variant)
            if how != "used":
                raise RuntimeError(f"{kind} cannot be used as it is: {expected}")
            for number in range(each):
                draw = random.Random(f"{seed} {kind} {number}")
                done, sealed = None, False
                while done is None:
                    shutil.rmtree(variant, ignore_errors=True)
                    shutil.rmtree(work / "variant-again", ignore_errors=True)
                    shutil.copytree(whole, variant)
                    change = draw.choice(CHANGES)
                    done = change(variant, draw)
                if draw.random() < 0.7:
                    KINDS[kind].seal(variant)
                    sealed = True
                how, told = worker.use(kind, variant)
                if how == "used":
                    how = "same output" if told == expected else "another output"
                    if how == "another output" and KINDS[kind].summed and not sealed and ".json: " not in done:
                        how = "unnoticed"
                if (now := _state(outside)) != before:
                    how, before = "wrote outside", now
                yield Outcome(kind, done + (", sealed" if sealed else ""), how, told)
    finally:
        worker.end()


def main() -> int:
    """Run the campaign; 1 where anything is bad."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; all if none is named")
    parser.add_argument("--each", type=int, default=40, help="variants of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sentences", action="store_true", help="print every sentence too")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        _work()
        return 0
    kinds = given.kinds or list(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        parser.error(f"there is no kind {unknown[0]!r}")
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-") as work:
        for found in run_campaign(kinds, given.each, given.seed, Path(work)):
            counts[found.kind][found.how] += 1
            if found.how in BAD or given.sentences:
                print(f"{found.how}: {found.kind}: {found.done}: {found.told[:400]}", flush=True)
    total: Counter[str] = sum(counts.values(), Counter())
    for kind, of_kind in [*counts.items(), ("all", total)]:
        told = ", ".join(f"{count} {how}" for how, count in sorted(of_kind.items()))
        print(f"{kind}: {of_kind.total()} variants: {told}")
    print(f"{time.monotonic() - began:.0f} s")
    return int(any(total[how] for how in BAD))


if __name__ == "__main__":
    sys.exit(main())
