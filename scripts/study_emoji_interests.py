"""emojibase tags to group and subgroup, 18 languages, tags split by hash: FastText and ours, in all and by language.

    python scripts/study_emoji_interests.py DATA ENCODER OUT_DIR [--embeddings TABLE]

DATA is the dataset folder of `omnifeat import emojibase`; ENCODER a frozen encoder; the table, if given, holds its
embeddings of the tags. A tag is a curated search word, and the group of the picture that it finds its interest; many
tags have several. One classifier of each kind for all languages; precision then by the language of the test tag, where
each tag counts once in every language that has it.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from classifiers.examples import InterestExamples, interest_examples
from classifiers.fasttext_tuning import GRID, STEPS
from evaluation.interests.comparison import ComparisonSettings, compare
from evaluation.interests.plots import interval_of
from evaluation.interests.report import write_comparison
from evaluation.interests.systems import OURS, Choice, Examples
from evaluation.ratios import Ratios
from evaluation.tables import difference_cell, interval_cell, json_interval, markdown_table
from omnifeat.cores import thread_count
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import replace_when_whole
from omnifeat.frozen import FrozenEncoder
from omnifeat.known_queries import KnownQueries

SYSTEMS = ("fasttext", OURS)


def languages_of(dataset: Dataset) -> dict[str, set[str]]:
    """Languages that each tag stands in."""
    table = dataset.read("queries")
    rows = zip(table["query"].to_pylist(), table["languages"].to_pylist(), strict=True)
    return {query: set(languages) for query, languages in rows}


def thinned(examples: InterestExamples, most: int | None, seed: int) -> InterestExamples:
    if most is None or len(examples.queries) <= most:
        return examples
    rows = sorted(np.random.default_rng(seed).permutation(len(examples.queries))[:most].tolist())
    return InterestExamples(tuple(examples.queries[row] for row in rows), tuple(examples.paths[row] for row in rows))


def by_language(answers: dict, languages: list[set[str]], resamples: int, seed: int) -> dict:
    found: dict[str, dict] = {}
    for language in sorted(set().union(*languages)):
        member = np.array([language in own for own in languages], dtype=np.float64)
        levels = []
        for level in range(len(answers[OURS])):
            wanted = member * answers[OURS][level].wanted
            sums = np.column_stack([answers[name][level].hit * wanted for name in SYSTEMS]).astype(np.float64)
            ratios = Ratios.make(sums, np.column_stack([wanted, wanted]), resamples=resamples, seed=seed)
            levels.append(
                {
                    "tags": int(wanted.sum()),
                    **dict(zip(SYSTEMS, map(json_interval, ratios.intervals()), strict=True)),
                    "gain": json_interval(ratios.less(0).intervals()[1]),
                }
            )
        found[language] = {"levels": levels}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("encoder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--embeddings", action="append", default=[])
    parser.add_argument("--fasttext-trials", type=int, default=None)
    parser.add_argument("--most", type=int, default=None, help="at most so many training tags, drawn by the seed")
    parser.add_argument("--head", default="auto")
    parser.add_argument("--inverse-regularisation", type=float, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    dataset = Dataset.open(arguments.data)
    encoder = FrozenEncoder.from_pretrained(arguments.encoder, threads=arguments.threads)
    embed = KnownQueries(encoder, arguments.embeddings).encode_queries
    parts = {part: interest_examples(dataset, part) for part in ("train", "development", "test")}
    parts["train"] = thinned(parts["train"], arguments.most, arguments.seed)
    sets = {part: Examples.make(one, {"vectors": embed}) for part, one in parts.items()}
    trials = arguments.fasttext_trials
    grid, steps = (GRID, STEPS) if trials is None else (GRID[:trials], ())
    ours = {"threads": arguments.threads, "head": arguments.head}
    if arguments.inverse_regularisation is not None:
        ours["inverse_regularisation"] = arguments.inverse_regularisation
    at_once = thread_count(arguments.threads)
    choice = Choice(grid=grid, steps=steps, ours=ours, seed=arguments.seed, trials_at_once=at_once)
    settings = ComparisonSettings(systems=SYSTEMS, seed=arguments.seed)
    answers: dict = {}

    def keep(name: str, found: list) -> None:
        answers[name] = found

    found = compare(
        sets["train"],
        sets["development"],
        sets["test"],
        settings,
        choice,
        say=lambda line: print(line, flush=True),
        on_answers=lambda system: keep(system.name, list(system.levels)),
    )
    found = {"about": {"dataset": dataset.info.name, "encoder": encoder.fingerprint}, **found}
    write_comparison(arguments.out / "all", found)
    known = languages_of(dataset)
    languages = [known.get(query, set()) for query in sets["test"].queries]
    groups = by_language(answers, languages, settings.resamples, settings.seed)
    rows = []
    for language, one in groups.items():
        cells: list[object] = [language, f"{one['levels'][0]['tags']:,}"]
        for level in one["levels"]:
            cells += [interval_cell(interval_of(level[name])) for name in SYSTEMS]
            cells.append(difference_cell(interval_of(level["gain"])))
        rows.append(cells)
    heads = [f"{kind}: {what}" for kind in ("group", "subgroup") for what in (*SYSTEMS, "gain")]
    table = markdown_table(["language", "test tags", *heads], rows)
    with replace_when_whole(arguments.out / "by_language") as folder:
        folder.mkdir(parents=True)
        (folder / "by_language.json").write_text(json.dumps(groups, indent=1) + "\n")
        (folder / "by_language.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
