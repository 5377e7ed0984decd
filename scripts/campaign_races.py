"""Two or three runs at once into one output: it must be whole and of one of them, and the others must say why not.

In a race with a reader, one run replaces an output while others read it: each of them must end as it does after the
writer or before it, or say in a sentence that the data changed or were not whole.

    python scripts/campaign_races.py WORK [--races 50] [--seed 0]

The inputs are those of `campaign_kills.py`. Each race begins its runs within a second of each other.
"""

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import forked_runs
from campaign_kills import Campaign, files_of, same_file

REFUSALS = ("exists already", "is there already", "another run (", "not empty", "holds checkpoints")


@dataclass(frozen=True)
class Race:
    """Commands that are begun at about the same time. `killed` of them is killed before its end."""

    lines: tuple[str, ...]
    out: tuple[str, ...] = ("out",)
    overwrite: bool = False
    killed: int | None = None


@dataclass(frozen=True)
class ReadRace:
    """`before` makes what stands at first, `after` replaces it, and `reader` reads it meanwhile into `out`."""

    before: str
    after: str
    reader: str
    out: tuple[str, ...] = ("read.parquet",)


EMBED = "embed --entities world --encoder {} --part-rows 50 -o out.parquet"
BOARDS = "enrich boards world -o out --top {}"
RACES = {
    "boards": Race((BOARDS.format(1), BOARDS.format(10), BOARDS.format(3))),
    "boards, overwritten": Race((BOARDS.format(1), BOARDS.format(10)), overwrite=True),
    "boards, one killed": Race((BOARDS.format(1), BOARDS.format(10)), overwrite=True, killed=0),
    "simulate": Race(("simulate --scale tiny --seed 1 -o out", "simulate --scale tiny --seed 2 -o out")),
    "two encoders": Race((EMBED.format("enc"), EMBED.format("enc2")), ("out.parquet",)),
    "two encoders, overwritten": Race((EMBED.format("enc"), EMBED.format("enc2")), ("out.parquet",), overwrite=True),
    "two encoders, one killed": Race((EMBED.format("enc"), EMBED.format("enc2")), ("out.parquet",), True, killed=0),
    "state": Race(("enrich queries world -o out --state state", "enrich queries world -o out --state state"),
                  ("out",)),
    "train": Race(("train world --preset tiny --steps 10 --threads 1 -o out",
                   "train world --preset tiny --steps 10 --seed 5 --threads 1 -o out")),
    "indexes": Race(("index build entities.parquet -o out", "index build entities.parquet -o out --entity-type pin")),
    "rankers": Race(("rank train features.parquet --label grade -o out --trees 5 --threads 1",
                     "rank train features.parquet --label grade -o out --trees 9 --threads 1"), overwrite=True),
    "features": Race(("featurize world/judgments.parquet --encoder enc --entities world -o out.parquet",
                      "featurize world/judgments.parquet --encoder enc2 --entities world -o out.parquet"),
                     ("out.parquet",)),
}  # fmt: skip
READ_RACES = {
    "a reader of a folder": ReadRace(BOARDS.format(1), BOARDS.format(10),
                                     "embed --entities out --encoder enc -o read.parquet"),
    "a reader of a table": ReadRace(EMBED.format("enc"), EMBED.format("enc") + " --entity-type pin",
                                    "featurize world/judgments.parquet --encoder enc --embeddings out.parquet "
                                    "-o read.parquet"),
    "a reader of a ranker": ReadRace(
        "rank train features.parquet --label grade -o out --trees 5 --threads 1",
        "rank train features.parquet --label grade -o out --trees 9 --threads 1",
        "rank predict features.parquet --ranker out -o read.parquet"),
}  # fmt: skip
# what a reader may say: what it read was replaced meanwhile
CHANGED = ("changed while it was", "was changed after it was saved", "has no file", "There is no", "cannot be")
# files that are never twice the same: times of measurement stand in them
_VARYING = ("config.json", "README.md", "results.json")


class Races(Campaign):
    """Campaign of races; a reference of each command alone tells whose output it is."""

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self._alone: dict[str, dict[str, Path]] = {}

    def alone(self, line: str, out: tuple[str, ...]) -> dict[str, Path]:
        """What a command makes alone."""
        if line not in self._alone:
            place = self.place(f"alone-{len(self._alone)}")
            status, said, _ = self.run(line, place)
            if status:
                raise SystemExit(f"{line}: {status}\n{said}")
            self._alone[line] = files_of(place, out)
        return self._alone[line]

    def race(self, name: str, draw: random.Random) -> None:
        """One race, and what came of it."""
        race = RACES[name]
        place = self.place("race")
        lines = [f"{line} --overwrite" if race.overwrite else line for line in race.lines]
        order = draw.sample(range(len(lines)), len(lines))
        runs = {}
        for number in order:
            runs[number] = forked_runs.start(lines[number], place, self.work / f"race-{number}.log", self._temporary())
            time.sleep(draw.choice((0.0, 0.05, 0.3, 1.0)) * draw.random())
        if race.killed is not None:
            time.sleep(draw.random() * 2)
            runs.pop(race.killed).kill()
        ended = {number: (run.wait(), run.text()) for number, run in runs.items()}
        self.counts["races"] += 1
        self.counts["runs that were refused"] += sum(status == 2 for status, _ in ended.values())
        for number, (status, said) in ended.items():
            fair = status == 0 or (status == 2 and any(words in said for words in REFUSALS))
            if not fair or "Traceback" in said:
                self.fault(f"{name}: {lines[number]} ended with {status}: {said.strip()[-300:]}")
        if not any(status == 0 for status, _ in ended.values()) and race.killed is None:
            self.fault(f"{name}: no run came to its end")
        if not race.overwrite and sum(status == 0 for status, _ in ended.values()) > 1 and len(set(lines)) > 1:
            self.fault(f"{name}: two runs took one place without --overwrite")
        if not (place / race.out[0]).exists():
            if race.killed is None:
                self.fault(f"{name}: there is no output")
            return
        owners = [line for line in race.lines if self._is_of(files_of(place, race.out), self.alone(line, race.out))]
        if not owners:
            self.fault(f"{name}: the output is of none of the runs, or not whole")
        if race.killed is None:
            litter = [path.name for path in place.iterdir() if path.name.startswith(".")]
            litter += [path.name for path in self._temporary().iterdir() if path.name.startswith("omnifeat")]
            if litter:
                self.fault(f"{name}: left behind: {litter}")
        else:
            shutil.rmtree(self._temporary())

    def read_race(self, name: str, draw: random.Random) -> None:
        """One writer that replaces an output, two readers that read it meanwhile, and what came of it."""
        race = READ_RACES[name]
        made = tuple({race.before.split(" -o ")[1].split()[0]})
        wanted = []
        for number, line in enumerate((race.before, race.after)):
            place = self.work / "places" / f"read-{name.replace(' ', '-')}-{number}"
            if not place.exists():  # what a reader makes of each of the two
                place = self.place(place.name)
                for step in (line, race.reader):
                    status, said, _ = self.run(step, place)
                    if status:
                        raise SystemExit(f"{step}: {status}\n{said}")
            wanted.append(place)
        place = self.place("race")
        for one in made:
            kept = wanted[0] / one
            (shutil.copytree if kept.is_dir() else shutil.copy)(kept, place / one)
        readers = []
        writer = forked_runs.start(f"{race.after} --overwrite", place, self.work / "race-writer.log", self._temporary())
        for number in range(2):
            time.sleep(2.0 * draw.random())
            line = race.reader.replace("read.parquet", f"read-{number}.parquet")
            readers.append(forked_runs.start(line, place, self.work / f"race-{number}.log", self._temporary()))
        self.counts["races"] += 1
        status = writer.wait()
        if status:
            self.fault(f"{name}: the writer ended with {status}: {writer.text().strip()[-300:]}")
        for number, reader in enumerate(readers):
            status, said = reader.wait(), reader.text()
            if status == 0:
                found = place / f"read-{number}.parquet"
                if not any(same_file(found, one / race.out[0]) for one in wanted):
                    self.fault(f"{name}: what was read is neither what stood there nor what came")
            elif status != 2 or "Traceback" in said or not any(words in said for words in CHANGED):
                self.fault(f"{name}: the reader ended with {status}: {said.strip()[-300:]}")
            else:
                self.counts["readers that were refused"] += 1

    def _is_of(self, found: dict[str, Path], reference: dict[str, Path]) -> bool:
        if set(found) != set(reference):
            return False
        return all(same_file(path, reference[key]) for key, path in found.items() if path.name not in _VARYING)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=sorted({**RACES, **READ_RACES}))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    races = Races(arguments.work)
    draw, names = random.Random(arguments.seed), arguments.only or [*RACES, *READ_RACES]
    lines = [line for name in names if name in RACES for line in RACES[name].lines]
    lines += [line for name in names if name in READ_RACES
              for line in (READ_RACES[name].before, READ_RACES[name].reader)]  # fmt: skip
    forked_runs.prepare(lines)
    races.set_up([f"world {line}" for line in lines])
    if any("enc2" in line for line in lines) and not (races.inputs / "enc2").exists():
        races.run("train world --preset tiny --epochs 1 --seed 7 --threads 1 -o enc2", races.inputs)
    seen: Counter[str] = Counter()
    for number in range(arguments.races):
        name = names[number % len(names)]
        (races.race if name in RACES else races.read_race)(name, draw)
        seen[name] += 1
        print(f"{number + 1} {name}: faults so far {len(races.faults)}", flush=True)
    print(json.dumps({**races.counts, "kinds": len(seen), "faults": len(races.faults)}))
    return 1 if races.faults else 0


if __name__ == "__main__":
    sys.exit(main())
