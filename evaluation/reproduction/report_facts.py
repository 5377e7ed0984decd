"""What the page and the Markdown both say besides tables and plots: the summary, counts, settings, trainings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evaluation.reproduction.report_text import ABSENT, clean, count, counted, duration, figure, finite, memory
from evaluation.reproduction.results import Query, Retrieved, StudyResults, Trained

__all__ = [
    "TRAINING_HEADS",
    "data_rows",
    "fact_rows",
    "grade_text",
    "machine_rows",
    "marked",
    "summary_sentences",
    "system_note",
    "training_numbers",
]

TRAINING_HEADS = ("seed", "steps", "batch", "pairs seen", "time", "memory", "last loss")

_SPOKEN = {
    "shown": "shown here beyond noise",
    "not shown": "not shown",
    "contrary": "contrary",
    "not measured": "not measured",
}

Rows = list[tuple[str, str]]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def summary_sentences(results: StudyResults) -> list[str]:
    """What was compared, on what, and how many of the paper's directions were found."""
    sentences = []
    tables = [f"table {clean(table.key)}" for table in results.tables if table.key.isdigit()]
    others = [clean(table.title) for table in results.tables if not table.key.isdigit()]
    parts = (
        [f"{'tables' if len(tables) > 1 else 'table'} {_listed([name[6:] for name in tables])} of the paper"]
        if tables
        else []
    )
    parts += [f"{counted(len(others), 'comparison')} that the paper has not"] if others and tables else []
    parts += [counted(len(others), "comparison")] if others and not tables else []
    made = counted(len(results.trained), "training")
    what = f"{_listed(parts)}: " if parts else ""
    preset, data = clean(results.preset), clean(results.dataset)
    opening = f"{what}{made} with the preset {preset} on {data}"
    sentences.append(f"{opening[0].upper()}{opening[1:]}, in {duration(results.seconds)}.")
    found = Counter[str](claim.verdict for claim in results.claims)
    if results.claims:
        verdicts = []
        for verdict, words in _SPOKEN.items():
            if found[verdict]:
                verdicts.append(f"{count(found[verdict])} {'is' if found[verdict] == 1 else 'are'} {words}")
        whole = counted(len(results.claims), "direction")
        sentences.append(f"Of {whole} that the paper finds, {_listed(verdicts)}.")
    return sentences


def fact_rows(results: StudyResults) -> Rows:
    """The lines under the title."""
    rows = [
        ("data", clean(results.dataset)),
        ("preset", clean(results.preset)),
        ("seed" if len(results.seeds) == 1 else "seeds", ", ".join(map(str, results.seeds)) or "–"),
        ("trainings", count(len(results.trained))),
        ("time in all", duration(results.seconds)),
        ("finished", clean(results.finished).replace("T", " ")),
    ]
    return [(name, text) for name, text in rows if text]


def data_rows(results: StudyResults) -> Rows:
    """Names and numbers of the data's counts."""
    return [(clean(name), count(number)) for name, number in results.data.items()]


def machine_rows(results: StudyResults) -> Rows:
    """The machine, the time and memory of the whole, and versions."""
    machine = results.machine
    rows = [
        ("cores, threads", f"{count(machine.cores)}, {count(machine.threads)}"),
        ("memory", f"{machine.memory_gib:.1f} GiB"),
        ("accelerator", clean(machine.accelerator) if machine.accelerator else "none"),
        ("system", clean(machine.system)),
        ("time in all", duration(results.seconds)),
    ]
    if results.peak_memory is not None:
        rows.append(("largest memory while measuring", memory(results.peak_memory)))
    return rows + [(clean(name), clean(text)) for name, text in machine.versions.items()]


def training_numbers(one: Trained) -> tuple[str, ...]:
    """The cells under `TRAINING_HEADS`."""
    return (
        str(one.seed),
        count(one.steps),
        count(one.batch_size),
        count(one.pairs_seen),
        duration(one.seconds),
        memory(one.peak_memory),
        figure(one.final_loss),
    )


def grade_text(grade: float) -> str:
    """A grade as judges write it: whole ones without decimals."""
    return f"{grade:g}" if finite(grade) is not None else ABSENT


def system_note(found: Sequence[Retrieved]) -> str:
    """How a system did on a query of the gallery: entities engaged with, and the mean of the grades."""
    parts = []
    engaged = sum(one.engaged for one in found)
    if engaged:
        parts.append(f"{count(engaged)} engaged")
    grades = [grade for one in found if (grade := finite(one.grade)) is not None]
    if grades:
        parts.append(f"{count(len(grades))} judged, mean grade {sum(grades) / len(grades):.1f}")
    return ", ".join(parts)


def marked(query: Query) -> bool:
    """Whether any entity of the query was engaged with or has a grade."""
    return any(one.engaged or one.grade is not None for found in query.systems.values() for one in found)
