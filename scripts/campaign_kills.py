"""Kill every command at many moments, run it again, and compare with a run that nobody killed.

    python scripts/campaign_kills.py WORK [--kills 200] [--seed 0] [--only NAME]

Each command runs twice whole: the second time tells which files are never twice the same (times of measurement stand
in them); those must be there, and everything else must be equal: tables by their values, floats to 1e-6, files by
their bytes. Then it is killed hard at seeded moments spread over its time, mostly once, every fifth time twice, and
run again with `--resume` where it has that. Nothing may be left beside the output, nor in `TMPDIR`.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import forked_runs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SETUP = """
simulate --scale tiny --seed 0 -o world
train world --preset tiny --epochs 1 --threads 1 -o enc
embed --entities world --encoder enc -o entities.parquet
embed --queries world --encoder enc -o queries.parquet
index build entities.parquet -o index
rank features world --judgments -o features.parquet
rank train features.parquet --label grade -o ranker --trees 10 --threads 1
classify train world --encoder enc -o classifier --threads 1
"""


TEXT = "--model model --part-texts 50 --dtype float32 --threads 1"
# in a process of its own: nothing may have computed with torch where runs are forked
MAKE_MODEL = """
import sys
from pathlib import Path
from tests.tiny_transformer import write_transformer
write_transformer(Path(sys.argv[1]), [chr(97 + place) for place in range(26)])
"""


@dataclass(frozen=True)
class Command:
    """A command to kill. `again` is what runs after a kill, where that is another; `out` is what it makes."""

    line: str
    out: tuple[str, ...] = ("out",)
    again: str | None = None


COMMANDS = {
    "simulate": Command("simulate --scale tiny --seed 0 -o out"),
    "enrich boards": Command("enrich boards world -o out"),
    "enrich queries": Command("enrich queries world -o out --state state", ("out", "state"),
                              "enrich queries world -o out --state state --overwrite"),
    "enrich graph": Command("enrich graph world -o out --threads 1 --replace --width 16"),
    "enrich text": Command(f"enrich text world -o out {TEXT}"),
    "enrich text, with a state": Command(f"enrich text world -o out --state state {TEXT}", ("out", "state"),
                                         f"enrich text world -o out --state state --overwrite {TEXT}"),
    "pairs": Command("pairs world -o out"),
    "train": Command("train world --preset tiny --steps 40 --checkpoint-every 10 --threads 1 -o out", ("out",),
                     "train world --preset tiny --steps 40 --checkpoint-every 10 --threads 1 -o out --resume"),
    "embed entities": Command("embed --entities world --encoder enc --part-rows 100 -o out.parquet", ("out.parquet",)),
    "embed queries": Command("embed --queries world --encoder enc --part-rows 100 -o out.parquet", ("out.parquet",)),
    "featurize": Command("featurize world/judgments.parquet --encoder enc --entities world -o out.parquet",
                         ("out.parquet",)),
    "index build": Command("index build entities.parquet -o out"),
    "index search": Command("index search index --queries queries.parquet -o out.parquet", ("out.parquet",)),
    "evaluate recall": Command("evaluate recall world --encoder enc -o out --bootstrap 50"),
    "evaluate relevance": Command("evaluate relevance world --run scores.csv -o out --bootstrap 50"),
    "evaluate agreement": Command("evaluate agreement world -o out"),
    "rank features": Command("rank features world --judgments -o out.parquet", ("out.parquet", "out.manifest.json")),
    "rank train": Command("rank train features.parquet --label grade -o out --trees 10 --threads 1"),
    "rank predict": Command("rank predict features.parquet --ranker ranker -o out.parquet", ("out.parquet",)),
    "rank tune": Command("rank tune features.parquet --label grade -o out --trials 2 --threads 1"),
    "rank cross-validate": Command("rank cross-validate features.parquet --label grade -o out --trees 5 --folds 2 "
                                   "--threads 1 --feature-set 'all=*words,bm25*'"),
    "classify train": Command("classify train world --encoder enc -o out --threads 1"),
    "classify predict": Command("classify predict world/queries.parquet --classifier classifier --encoder enc "
                                "-o out.parquet", ("out.parquet",)),
    "classify compare": Command("classify compare world --encoder enc -o out --keep kept --threads 1 --curve-levels '' "
                                "--classifiers interest-classifier,tfidf-logistic --reference tfidf-logistic"),
    # two trainings and their measures, each of which is done once
    "reproduce": Command("reproduce --data world --tables 2 --preset tiny --steps 5 --baselines random --bootstrap 20 "
                         "--threads 1 -o out"),
}  # fmt: skip


def same_table(one: Path, other: Path) -> bool:
    """Whether two tables hold the same, floats to 1e-6."""
    first, second = pq.read_table(one), pq.read_table(other)
    if first.schema != second.schema or first.num_rows != second.num_rows:
        return False
    if "counts" in one.parts:  # of a state, whose rows stand in no order
        order = [(name, "ascending") for name in first.schema.names]
        first, second = first.sort_by(order), second.sort_by(order)
    return first.equals(second) or all(_near(a, b) for a, b in zip(first.columns, second.columns, strict=True))


def _near(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    if one.equals(other):
        return True
    first, second = one.combine_chunks(), other.combine_chunks()
    while pa.types.is_nested(first.type) and hasattr(first, "flatten"):
        first, second = first.flatten(), second.flatten()
    if not pa.types.is_floating(first.type) or len(first) != len(second):
        return False
    values = first.to_numpy(zero_copy_only=False), second.to_numpy(zero_copy_only=False)
    return bool(np.allclose(*values, rtol=0, atol=1e-6, equal_nan=True))


def same_file(one: Path, other: Path) -> bool:
    """Whether two files hold the same."""
    if one.read_bytes() == other.read_bytes():
        return True
    return one.suffix == ".parquet" and same_table(one, other)


def files_of(place: Path, outputs: tuple[str, ...]) -> dict[str, Path]:
    """All files that a command has made, hidden ones too, by their names below the place.

    TensorBoard's events are not among them: their names hold the time and the process, and a run that goes on adds one.
    """
    found = {}
    for output in outputs:
        whole = place / output
        for path in [whole] if whole.is_file() else sorted(whole.rglob("*")):
            if path.is_file() and path.parent.name != "tensorboard":
                found[str(path.relative_to(place))] = path
    return found


class Campaign:
    """A folder of work: the inputs, a reference for each command, and what was counted."""

    def __init__(self, work: Path) -> None:
        self.work, self.inputs = work.absolute(), work.absolute() / "inputs"
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def run(self, line: str, place: Path, name: str = "run") -> tuple[int, str, float]:
        """Run a command to its end."""
        begun = time.monotonic()
        run = forked_runs.start(line, place, self.work / f"{name}.log", self._temporary())
        status = run.wait()
        return status, run.text(), time.monotonic() - begun

    def _temporary(self) -> Path:
        folder = self.work / "tmp"
        folder.mkdir(exist_ok=True)
        return folder

    def fault(self, text: str) -> None:
        """Note what did not hold."""
        self.faults.append(text)
        print("FAULT", text, flush=True)

    def set_up(self, lines: list[str]) -> None:
        """The inputs of these commands."""
        self.inputs.mkdir(parents=True, exist_ok=True)
        steps = {line.split(" -o ")[1].split()[0]: line for line in SETUP.strip().splitlines()}
        words = {word.split("/")[0] for line in lines for word in line.split()}
        for out in reversed(steps):  # what a step reads is made by one before it
            words |= {*steps[out].split()} if out in words else set()
        for out, line in steps.items():
            if out in words and not (self.inputs / out).exists():
                status, said, _ = self.run(line, self.inputs)
                if status:
                    raise SystemExit(f"{line}: {status}\n{said}")
        if "model" in words and not (self.inputs / "model").exists():
            root = Path(__file__).parent.parent
            subprocess.run([sys.executable, "-c", MAKE_MODEL, self.inputs / "model"], cwd=root, check=True)
        if "scores.csv" in words and not (self.inputs / "scores.csv").exists():
            judged = pq.read_table(self.inputs / "world" / "judgments.parquet").to_pandas()
            judged["score"] = np.arange(len(judged)) % 97
            judged[["query", "entity_id", "entity_type", "score"]].drop_duplicates(
                ["query", "entity_id", "entity_type"]
            ).to_csv(self.inputs / "scores.csv", index=False)

    def place(self, name: str) -> Path:
        """A folder with links to the inputs, for one run."""
        place = self.work / "places" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for path in self.inputs.iterdir():
            (place / path.name).symlink_to(path)
        return place

    def kill_all(self, names: list[str], kills: int, seed: int) -> None:
        """Kill each command in turn, so that all have about as many kills."""
        draw = random.Random(seed)
        each = -(-kills // len(names))
        for name in names:
            command, slug = COMMANDS[name], name.replace(" ", "-")
            references, seconds = [], 0.0
            for number in range(2):
                place = self.place(f"{slug}-{number}")
                status, said, seconds = self.run(command.line, place, f"{slug}-{number}")
                if status:
                    self.fault(f"{name}: cannot be run whole: {status} {said.strip()[-300:]}")
                    break
                references.append(files_of(place, command.out))
            if len(references) < 2:
                continue
            varying = {key for key, path in references[0].items()
                       if key not in references[1] or not same_file(path, references[1][key])}  # fmt: skip
            for number in range(each):
                moment = seconds * (number + draw.random()) / each
                self.kill_once(name, command, moment, 2 if number % 5 == 4 else 1, references[0], varying)
            print(f"{name}: {seconds:.1f} s, {each} kills, never twice the same: {sorted(varying) or 'nothing'}; "
                  f"faults so far {len(self.faults)}", flush=True)  # fmt: skip

    def kill_once(
        self, name: str, command: Command, moment: float, times: int, reference: dict[str, Path], varying: set[str]
    ) -> None:
        """Kill a run at a moment, run again, and compare."""
        slug = name.replace(" ", "-")
        place = self.place(f"{slug}-killed")
        for number in range(times):
            # what is killed twice is killed while it goes on
            line = command.line if number == 0 or command.again is None else command.again
            run = forked_runs.start(line, place, self.work / f"{slug}-killed.log", self._temporary())
            time.sleep(moment)
            run.kill()
            self.counts["kills"] += 1
        whole = all((place / output).exists() for output in command.out)
        self.counts["killed after the output stood"] += whole
        again = command.line if command.again is None else command.again
        status, said, _ = self.run(again, place, f"{slug}-again")
        if status == 2 and whole and ("exists" in said or "is there already" in said or "not empty" in said):
            status, said, _ = self.run(f"{command.line} --overwrite", place, f"{slug}-again")
        where = f"{name}, killed {times} times after {moment:.2f} s"
        if status:
            self.fault(f"{where}: run again, it ends with {status}: {said.strip()[-300:]}")
            return
        found = files_of(place, command.out)
        if set(found) != set(reference):
            self.fault(f"{where}: other files: {sorted(set(found) ^ set(reference))}")
        other = [key for key in found if key in reference and key not in varying
                 and not same_file(found[key], reference[key])]  # fmt: skip
        if other:
            self.fault(f"{where}: files are not the same: {other}")
        litter = [path.name for path in place.iterdir() if path.name.startswith(".")]
        litter += [path.name for path in self._temporary().iterdir() if path.name.startswith("omnifeat")]
        if litter:
            self.fault(f"{where}: left behind: {litter}")
        self.counts["equal"] += not (other or litter or set(found) != set(reference))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=sorted(COMMANDS))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(arguments.work)
    names = arguments.only or list(COMMANDS)
    forked_runs.prepare([COMMANDS[name].line for name in names])
    campaign.set_up([f"world {COMMANDS[name].line}" for name in names])
    campaign.kill_all(names, arguments.kills, arguments.seed)
    print(json.dumps({"commands": len(names), **campaign.counts, "faults": len(campaign.faults)}))
    return 1 if campaign.faults else 0


if __name__ == "__main__":
    sys.exit(main())
