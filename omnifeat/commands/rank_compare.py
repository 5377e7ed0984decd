"""`omnifeat rank compare`: the same ranker with other embedding features, stage by stage."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report
from omnifeat.commands.rank_common import LearningRateOption, SeedOption, TreesOption


def main(
    data: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset folder with impressions, judgments or both.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for figures, their table and a picture.")],
    encoder: Annotated[
        list[str] | None, typer.Option("--encoder", help="NAME=ENCODER: a frozen encoder to compare; repeat.")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="Encoder of sentences that was not trained here: folder or name.")
    ] = None,
    pretrained_prefix: Annotated[str, typer.Option(help="Put before each text, as in 'query: '.")] = "",
    pretrained_pooling: Annotated[str, typer.Option(help="mean or cls.")] = "mean",
    stage: Annotated[
        str,
        typer.Option("--stage", help="Stages with commas between: l2, l1, relevance, ads-engagement, ads-relevance."),
    ] = "l2,l1,relevance,ads-engagement,ads-relevance",
    train_part: Annotated[
        str | None,
        typer.Option(
            "--train-part",
            help="Parts to learn from, with commas between: train, development. Without it development for "
            "impressions, and both for judgments.",
        ),
    ] = None,
    reference: Annotated[
        str, typer.Option(help="Arm to compare with: none, pretrained, or an encoder's name.")
    ] = "none",
    trees: TreesOption = 300,
    learning_rate: LearningRateOption = 0.05,
    leaves: Annotated[int, typer.Option("--leaves", min=2, help="Leaves of a tree at most.")] = 31,
    keep: Annotated[int, typer.Option(min=1, help="Candidates of a query that L1 lets through.")] = 10,
    l1_features: Annotated[int, typer.Option(min=1, help="Features that L1 may ask for.")] = 10,
    counts: Annotated[
        bool, typer.Option("--counts/--no-counts", help="Count the log and the impressions from before the split.")
    ] = True,
    window_days: Annotated[int, typer.Option(min=1, help="Days that are counted before a row's day.")] = 28,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the queries; 0 for no intervals.")] = 1000,
    level: Annotated[float, typer.Option(help="Share of the resamples inside an interval.")] = 0.95,
    seed: SeedOption = 0,
    memory_limit: Annotated[
        str, typer.Option(help="What counting, and the vectors, may take in memory before they go to disk.")
    ] = "4GB",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the same rankers with no embedding features and with each encoder's, and compare them on the test part."""
    from evaluation.ranking_comparison import CompareSettings, compare_rankers
    from evaluation.ranking_reports import comparison_json, comparison_rows, new_lines, write_comparison
    from evaluation.ranking_stages import FitSettings
    from evaluation.reports import check_target
    from evaluation.tables import text_table
    from omnifeat.data.dataset import Dataset
    from omnifeat.errors import SettingError
    from omnifeat.frozen import FrozenEncoder
    from omnifeat.pretrained import PretrainedEncoder
    from ranking.rank_features import named_encoders

    check_target(output, overwrite)
    plain, named = named_encoders(encoder or [])
    if plain is not None:
        raise SettingError(f"Each encoder needs a name to be known by: give --encoder NAME={plain}.")
    settings = CompareSettings(
        stages=_listed(stage),
        train_parts=None if train_part is None else _listed(train_part),
        reference=reference,
        fit=FitSettings(
            trees=trees,
            learning_rate=learning_rate,
            leaves=leaves,
            seed=seed,
            threads=threads,
            keep=keep,
            l1_features=l1_features,
        ),
        resamples=bootstrap,
        level=level,
        counts=counts,
        window_days=window_days,
        memory_limit=memory_limit,
    )
    dataset = Dataset.open(data)
    encoders = {name: FrozenEncoder.from_pretrained(place, threads=threads) for name, place in named.items()}
    untrained = None
    if pretrained is not None:
        untrained = PretrainedEncoder.load(
            pretrained, pooling=pretrained_pooling, prefix=pretrained_prefix, threads=threads
        )
    comparison = compare_rankers(
        dataset,
        encoders,
        settings,
        pretrained=untrained,
        threads=threads,
        progress=progress,
        on_step=lambda text: typer.echo(text, err=True),
    )
    context = {"dataset": dataset.info.name, "pretrained": pretrained}
    written = write_comparison(output, comparison, settings, context, overwrite)
    columns, rows = comparison_rows(comparison, settings)
    shown = [text_table(columns, rows), *new_lines(comparison, settings)]
    shown += [f"Stage {name} was left out: {why}." for name, why in comparison.skipped.items()]
    summary = {**comparison_json(comparison, settings, context), "output": str(output)}
    report(summary, as_json, [*shown, f"Wrote {output}: {', '.join(path.name for path in written)}"])


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
