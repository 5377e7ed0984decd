"""The commands that mend leaks: each makes a column anew from what lies before the split."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from omnifeat.data.problems import Problem
from omnifeat.data.provenance import Provenance

__all__ = ["ENRICH_BOARDS", "ENRICH_QUERIES", "mending_steps", "remedy_by_provenance"]

ENRICH_BOARDS, ENRICH_QUERIES, _ENRICH_GRAPH = "enrich boards", "enrich queries", "enrich graph"
_ORDER = (ENRICH_BOARDS, ENRICH_QUERIES, _ENRICH_GRAPH)


def remedy_by_provenance(made: Provenance) -> str | None:
    """What makes a column with this provenance anew from before the split; None where no command does.

    Rows without a time stay undated, so that nothing can tell which of them to leave out.
    """
    if made.made_by != f"omnifeat {_ENRICH_GRAPH}" or made.undated:
        return None
    return f"{_ENRICH_GRAPH} --replace --width {made.settings.get('width', 64)}"


def mending_steps(problems: Sequence[Problem], data: str) -> list[str]:
    """Commands that write the dataset without the leaks that were found beside it, the last of which checks it.

    Leaks that no command mends, such as counts of the user's own, are said in a sentence after them.
    """
    leaks = [problem for problem in problems if problem.kind == "leak"]
    remedies = {problem.remedy for problem in leaks if problem.remedy is not None}
    steps = []
    source, mended = data, _beside(data)
    for remedy in sorted(remedies, key=lambda one: next(n for n, name in enumerate(_ORDER) if one.startswith(name))):
        again = " --overwrite" if source == mended else ""
        steps.append(f"omnifeat {remedy} {shlex.quote(source)} -o {shlex.quote(mended)}{again}")
        source = mended
    if steps:
        steps.append(f"omnifeat validate {shlex.quote(mended)} --leaks")
    own = dict.fromkeys(f"{problem.table}.{problem.column}" for problem in leaks if problem.remedy is None)
    if own:
        steps.append(
            f"no command makes {', '.join(own)} anew: leave {'it' if len(own) == 1 else 'them'} out, or make "
            f"{'it' if len(own) == 1 else 'them'} again from before the split (`omnifeat rank features` counts so)"
        )
    return steps


def _beside(data: str) -> str:
    """A folder that is not there yet: beside the dataset, or, of one elsewhere, in the working folder."""
    whole = data.rstrip("/")
    stem = whole.rsplit("/", 1)[-1] if "://" in whole else whole
    name, number = f"{stem}-mended", 2
    while Path(name).exists():
        name, number = f"{stem}-mended-{number}", number + 1
    return name
