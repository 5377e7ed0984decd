"""Two or three runs at once into one output: it must be whole and of one of them, and the others must say why not.

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

    def _is_of(self, found: dict[str, Path], reference: dict[str, Path]) -> bool:
        if set(found) != set(reference):
            return False
        return all(same_file(path, reference[key]) for key, path in found.items() if path.name not in _VARYING)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=sorted(RACES))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    forked_runs.prepare()
    races = Races(arguments.work)
    draw, names = random.Random(arguments.seed), arguments.only or list(RACES)
    lines = [line for name in names for line in RACES[name].lines]
    races.set_up([f"world {line}" for line in lines])
    if any("enc2" in line for line in lines) and not (races.inputs / "enc2").exists():
        races.run("train world --preset tiny --epochs 1 --seed 7 --threads 1 -o enc2", races.inputs)
    seen: Counter[str] = Counter()
    for number in range(arguments.races):
        name = names[number % len(names)]
        races.race(name, draw)
        seen[name] += 1
        print(f"{number + 1} {name}: faults so far {len(races.faults)}", flush=True)
    print(json.dumps({**races.counts, "kinds": len(seen), "faults": len(races.faults)}))
    return 1 if races.faults else 0


if __name__ == "__main__":
    sys.exit(main())
