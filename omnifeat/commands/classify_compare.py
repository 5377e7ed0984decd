"""`omnifeat classify compare`: the interest classifier beside FastText and other baselines, as section 5.4 compares."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from omnifeat.commands.classify_common import DataArgument, EncoderOption, PoolingOption, PrefixOption
from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, check_free, report, result_table


def main(
    data: DataArgument,
    encoder: EncoderOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report.")],
    systems: Annotated[
        str,
        typer.Option(
            "--classifiers",
            help="With commas between: interest-classifier, fasttext, tfidf-logistic, embedding-logistic, hiclass; "
            "with --pretrained pretrained-logistic, interest-classifier-pretrained and interest-classifier-stacked.",
        ),
    ] = "interest-classifier,fasttext",
    reference: Annotated[str, typer.Option("--reference", help="The one that gains are taken from.")] = "fasttext",
    head: Annotated[
        str | None, typer.Option("--head", help="Head of the interest classifier: auto, global or levels.")
    ] = None,
    inverse_regularisation: Annotated[
        float | None,
        typer.Option(
            "--inverse-regularisation", help="Of the interest classifier; chosen on held-out queries if not given."
        ),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option("--pretrained", help="Off-the-shelf encoder to compare with, folder or hub."),
    ] = None,
    pretrained_prefix: PrefixOption = "",
    pretrained_pooling: PoolingOption = "mean",
    embeddings: Annotated[
        list[str] | None,
        typer.Option("--embeddings", help="Table of query embeddings by a frozen encoder; repeat for more."),
    ] = None,
    names_too: Annotated[
        bool, typer.Option("--names/--no-names", help="Learn from the interests' names too, each as one more query.")
    ] = False,
    loss: Annotated[
        str, typer.Option("--fasttext-loss", help="softmax, hierarchical-softmax or one-vs-all.")
    ] = "softmax",
    target: Annotated[
        str, typer.Option("--fasttext-target", help="paths (one model) or levels (one model a level).")
    ] = "paths",
    buckets: Annotated[
        int,
        typer.Option(
            "--fasttext-buckets", min=1, max=2**31 - 1, help="Hash buckets of FastText; each takes 400 bytes and more."
        ),
    ] = 200_000,
    trials: Annotated[
        int | None, typer.Option("--fasttext-trials", min=1, help="Only the first so many trials of the grid.")
    ] = None,
    curve_levels: Annotated[
        str | None,
        typer.Option(
            "--curve-levels",
            help="Levels for learning curves, with commas between; empty for none. The first two if not given.",
        ),
    ] = None,
    curve_sizes: Annotated[
        str, typer.Option("--curve-sizes", help="Most training queries of an interest, with commas between.")
    ] = "5,10,20,50,100,200,500",
    part: Annotated[str, typer.Option("--part", help="Part to measure on: test or development.")] = "test",
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="Bootstrap resamples of the queries.")] = 1000,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Folder that keeps what is fitted, so that a comparison that was cut goes on."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**31 - 1, help="Seed of FastText, of samples and of the resamples.")
    ] = 0,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train classifiers on the training part and write precision level by level, gains, curves and pictures."""
    from classifiers.examples import interest_examples
    from classifiers.fasttext_tuning import GRID, STEPS
    from evaluation.interests.comparison import ComparisonSettings, check_curves, compare
    from evaluation.interests.report import write_comparison
    from evaluation.interests.systems import OURS_OVER, Choice, Examples, check_choice, check_systems
    from evaluation.tables import difference_cell, interval_cell
    from omnifeat.cores import thread_count
    from omnifeat.data.dataset import Dataset
    from omnifeat.data.locks import working_in
    from omnifeat.errors import SettingError
    from omnifeat.query_encoders import open_query_encoder

    check_free(output, overwrite, "comparison.json")
    names = tuple(name.strip() for name in systems.split(",") if name.strip())
    check_systems(names, pretrained is not None)
    if part not in ("test", "development"):
        raise SettingError(f"There is no part {part!r} to measure on; choose test or development.")
    settings = ComparisonSettings(
        systems=names,
        reference=reference,
        curve_levels=_numbers(curve_levels or "", "--curve-levels"),
        curve_sizes=_numbers(curve_sizes, "--curve-sizes"),
        resamples=resamples,
        seed=seed,
    )
    ours: dict[str, Any] = {"threads": threads} | ({"head": head} if head is not None else {})
    if inverse_regularisation is not None:
        ours["inverse_regularisation"] = inverse_regularisation
    grid, steps = (GRID, STEPS) if trials is None else (GRID[:trials], STEPS[: max(0, trials - len(GRID))])
    choice = Choice(
        grid=grid,
        steps=steps,
        loss=loss,
        target=target,
        buckets=buckets,
        ours=ours,
        seed=seed,
        trials_at_once=thread_count(threads),
    )
    check_choice(names, choice)
    dataset = Dataset.open(data)
    parts = {
        name: interest_examples(dataset, name, names=names_too and name == "train")
        for name in ("train", "development", part)
    }
    levels = max(len(path) for own in parts["train"].paths for path in own)
    if curve_levels is None:
        settings = replace(settings, curve_levels=tuple(range(min(2, levels))) if curve_sizes.strip() else ())
    check_curves(settings, levels)
    vectors = open_query_encoder(
        encoder, tables=embeddings or (), prefix=pretrained_prefix, pooling=pretrained_pooling, threads=threads
    )
    encoders: dict[str, Any] = {"vectors": vectors.encode_queries}
    if pretrained is not None:
        from omnifeat.pretrained import PretrainedEncoder

        off_the_shelf = PretrainedEncoder.load(
            pretrained, pooling=pretrained_pooling, prefix=pretrained_prefix, threads=threads
        )
        encoders["pretrained"] = off_the_shelf.encode
    examples = {name: Examples.make(one, encoders) for name, one in parts.items()}
    with working_in(keep) if keep is not None else nullcontext():
        found = compare(
            examples["train"],
            examples["development"],
            examples[part],
            settings,
            choice,
            keep=keep,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    about = {"dataset": dataset.info.name, "encoder": vectors.fingerprint, "measured on": part}
    if names_too:
        about["learnt from"] = "the training part and the interests' names"
    if pretrained is not None:
        about["off-the-shelf encoder"] = pretrained
    found = {"about": about, **found}
    written = write_comparison(output, found, overwrite)

    ours_of = [name for name in names if name in OURS_OVER and name != reference]
    rows = []
    for level in found["levels"]:
        cells = [level["level"], level["interests"], level["queries"]]
        cells += [interval_cell(_shown(level["systems"][name]["precision_at_coverage_1"])) for name in names]
        cells += [difference_cell(_shown(level["gains"][name]["precision_at_coverage_1"])) for name in ours_of]
        rows.append(cells)
    columns = ["level", "interests", "queries", *names, *(f"gain of {name}" for name in ours_of)]
    lines = ["Precision in percent, as many queries answered as have an interest, with 95% intervals"]
    report({"output": str(output), **found}, as_json, [*lines, result_table(columns, rows), _wrote(output, written)])


def _wrote(output: Path, names: list[str]) -> str:
    return f"Wrote {output}: {', '.join(names)}"


def _shown(interval: Any) -> Any:
    from evaluation.interests.plots import interval_of

    return interval_of(interval)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    from omnifeat.errors import SettingError

    try:
        return tuple(int(one) for one in text.split(",") if one.strip())
    except ValueError:
        raise SettingError(f"Option {option} takes whole numbers with commas between; got {text!r}.") from None
