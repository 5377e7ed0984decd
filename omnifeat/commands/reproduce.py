"""`omnifeat reproduce`: the paper's tables on a dataset, with a report."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table

if TYPE_CHECKING:
    from evaluation.reproduction.results import Cell, Table
    from evaluation.reproduction.study import StudySettings
    from omnifeat.data.dataset import Dataset


def main(
    context: typer.Context,
    data: Annotated[str, typer.Option("--data", help="Dataset folder, such as `omnifeat pairs` writes.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study; one that was cut short goes on.")],
    tables: Annotated[str, typer.Option(help="Tables to make, separated by commas: 2 to 6, and others.")] = "2,3,4,5,6",
    preset: Annotated[str, typer.Option(help="Sizes of the models: tiny, small or paper.")] = "small",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each training.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pairs in a batch.")] = None,
    random_negatives: Annotated[int | None, typer.Option(min=0, help="Random negatives per pair.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    query_model: Annotated[
        str | None, typer.Option(help="Pretrained query encoder of all models, a folder or hub name.")
    ] = None,
    settings_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another setting of all models, such as query.pooling=mean; may be repeated."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Column of engagements or queries whose values make columns of Table 2.")
    ] = None,
    groups: Annotated[str | None, typer.Option(help="Values of --by that do, in this order; all.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the trainings, separated by commas.")] = "0",
    corpus: Annotated[
        int | None, typer.Option(min=1, help="Random entities to rank among where the data list no corpus; all.")
    ] = None,
    baselines: Annotated[str, typer.Option(help="Rows beside SearchSage, separated by commas.")] = "random,bm25",
    pretrained: Annotated[
        str | None, typer.Option(help="Encoder for one more row, untrained here: folder or hub name.")
    ] = None,
    pretrained_prefix: Annotated[str, typer.Option(help="Put before each text, as in 'query: '.")] = "",
    pretrained_pooling: Annotated[str, typer.Option(help="mean or cls.")] = "mean",
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the queries; 0 for no intervals.")] = 1000,
    level: Annotated[float, typer.Option(help="Share of the resamples inside an interval.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the resamples, of a corpus sample and of random scores.")] = 0,
    world: Annotated[
        Path | None,
        typer.Option(help="Simulated world whose raters judge what is retrieved; the dataset's judgments."),
    ] = None,
    interests: Annotated[
        Path | None,
        typer.Option(help="What `omnifeat classify compare` wrote with the study's encoder, for section 5.4."),
    ] = None,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Check training and evaluation themselves, on shuffled pairs; no tables.")
    ] = False,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train what Tables 2 to 6 of the paper compare, measure it, and write the tables beside the paper's."""
    from evaluation.reports import check_target
    from evaluation.reproduction.report import write_report
    from evaluation.reproduction.study import StudySettings, run_study, start_folder
    from omnifeat.data.dataset import Dataset
    from omnifeat.data.locks import working_in
    from omnifeat.errors import SettingError
    from omnifeat.pretrained import PretrainedEncoder

    try:
        all_seeds = tuple(int(text) for text in seeds.split(","))
    except ValueError as error:
        raise SettingError(f"--seeds must be whole numbers separated by commas, got '{seeds}'.") from error
    model = (*([f"query.model={query_model}"] if query_model else []), *(settings_ or []))
    settings = StudySettings(
        tables=_listed(tables), preset=preset, steps=steps, batch_size=batch_size, random_negatives=random_negatives,
        learning_rate=learning_rate, model=model, by=by, groups=_listed(groups) if groups else None,
        seeds=all_seeds, corpus_size=corpus,
        baselines=_listed(baselines), resamples=bootstrap, level=level, bootstrap_seed=seed, threads=threads,
        world=world, interests=interests,
    )  # fmt: skip
    dataset = Dataset.open(data)
    check_target(out, overwrite=True)
    with working_in(out):
        start_folder(out, overwrite)
        if sanity:
            _check(dataset, out, settings, as_json)
            return
        encoder = None
        if pretrained is not None:
            encoder = PretrainedEncoder.load(pretrained, prefix=pretrained_prefix, pooling=pretrained_pooling)
        results = run_study(dataset, out, settings, command=_command(context), pretrained=encoder, progress=progress)
        written = write_report(results, out)
    counts = {verdict: sum(claim.verdict == verdict for claim in results.claims) for verdict in _VERDICTS}
    report(
        {
            "out": str(out),
            "report": [str(path) for path in written],
            "claims": counts,
            "seconds": results.seconds,
            "tables": [table.model_dump() for table in results.tables],
        },
        as_json,
        [
            *(_shown(table) for table in results.tables),
            "Directions of the paper: " + ", ".join(f"{number} {verdict}" for verdict, number in counts.items()),
            *(f"Wrote {path}" for path in written),
        ],
    )


def _check(dataset: "Dataset", out: Path, settings: "StudySettings", as_json: bool) -> None:
    """Run the self-check; exit code 1 if something does not hold."""
    from dataclasses import asdict

    from evaluation.reproduction.sanity import run_sanity

    checks = run_sanity(dataset, out, settings, progress)
    rows = [[check.name, "holds" if check.holds else "FAILS", check.evidence] for check in checks]
    report(
        {"checks": [asdict(check) for check in checks]},
        as_json,
        [result_table(["check", "", "figures"], rows, title="Self-check")],
    )
    if not all(check.holds for check in checks):
        raise typer.Exit(1)


_VERDICTS = ("shown", "not shown", "contrary", "not measured")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip() and part.strip() != "none")


def _command(context: typer.Context) -> str:
    """The command as it was given, folders by their names alone: a report is read elsewhere."""
    words = ["omnifeat", "reproduce"]
    for parameter in context.command.params:
        name = parameter.name
        source = None if name is None else context.get_parameter_source(name)
        if (
            name is None
            or source is None
            or source.name != "COMMANDLINE"
            or name in ("overwrite", "as_json", "threads")
        ):
            continue
        value = context.params[name]
        is_path = name in ("data", "out", "pretrained", "query_model", "world", "interests")
        for one in value if isinstance(value, list | tuple) else [value]:
            words += [max(parameter.opts, key=len), Path(one).name if is_path else str(one)]
    return shlex.join(words)


def _shown(table: "Table") -> Any:
    """A question a row, a system a column: `*` where the difference to what it is compared with is beyond noise."""
    rows = [
        [f"{column.group} {column.label}", *(_cell(row.cells.get(column.key)) for row in table.rows)]
        for column in table.columns
    ]
    return result_table([f"Recall@10, table {table.key}", *(row.label for row in table.rows)], rows, title=table.title)


def _cell(cell: "Cell | None") -> str:
    if cell is None:
        return ""
    return f"{cell.ours.value:.3f}{'*' if cell.difference is not None and cell.difference.beyond_noise else ''}"
