"""`omnifeat evaluate humans`: judged relevance of what systems retrieve for head and tail queries."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, report


def main(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for figures, examples, a picture and judgments.")],
    encoder: Annotated[str | None, typer.Option(help="Trained encoder: folder or hub name.")] = None,
    embeddings: Annotated[
        list[str] | None, typer.Option(help="Table of query embeddings of that encoder, from `omnifeat embed`; repeat.")
    ] = None,
    world: Annotated[
        str | None, typer.Option(help="Folder of `omnifeat simulate`, whose raters judge every retrieved pair.")
    ] = None,
    judgments: Annotated[
        str | None, typer.Option(help="Table of query, entity_id, grade, rater; else the dataset's own judgments.")
    ] = None,
    systems: Annotated[
        str | None, typer.Option(help="Systems to compare, separated by commas; learned and bm25-words.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="System to compare with; the first token-based one.")] = None,
    entity_type: Annotated[str, typer.Option(help="What is retrieved: pin, product or query.")] = "pin",
    split: Annotated[
        str, typer.Option(help="Part whose queries are drawn: train, development, test, or all.")
    ] = "test",
    queries: Annotated[int, typer.Option(min=1, help="Queries drawn of the head, and of the tail.")] = 100,
    share: Annotated[float, typer.Option(help="Share of engagements of head queries, and of tail ones.")] = 1 / 3,
    k: Annotated[int, typer.Option(min=1, help="Entities that each system retrieves for a query.")] = 10,
    relevant_grade: Annotated[
        float | None, typer.Option(help="Grades from here on are relevant; above half of the highest.")
    ] = None,
    token_fields: Annotated[
        str | None, typer.Option(help="Text columns of an entity that token-based systems see; all.")
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Encoder for the system pretrained: folder or name.")] = None,
    pretrained_prefix: Annotated[str, typer.Option(help="Put before each text, as in 'query: '.")] = "",
    pretrained_pooling: Annotated[str, typer.Option(help="mean or cls.")] = "mean",
    examples: Annotated[int, typer.Option(min=0, help="Queries of head and of tail that are shown.")] = 3,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the queries; 0 for no intervals.")] = 1000,
    level: Annotated[float, typer.Option(help="Share of the resamples inside an interval.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the queries drawn, the raters and the resamples.")] = 0,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judged relevance of embedding retrieval beside token-based retrieval, for head and tail queries."""
    from evaluation.human_reports import human_json, human_rows, write_humans
    from evaluation.human_results import HumanSettings
    from evaluation.human_study import human_study
    from evaluation.judges import Judge, PanelJudge, TableJudge
    from evaluation.reports import ReportContext, check_target
    from evaluation.tables import text_table
    from omnifeat.data.dataset import Dataset
    from omnifeat.errors import SettingError
    from omnifeat.frozen import FrozenEncoder
    from omnifeat.known_queries import KnownQueries
    from omnifeat.pretrained import PretrainedEncoder

    chosen = {} if systems is None else {"systems": _listed(systems)}
    fields = {} if token_fields is None else {"token_fields": _listed(token_fields)}
    settings = HumanSettings(
        **chosen,
        **fields,
        reference=reference,
        entity_type=entity_type,
        split=split,
        queries=queries,
        share=share,
        k=k,
        relevant_grade=relevant_grade,
        examples=examples,
        resamples=bootstrap,
        level=level,
        seed=seed,
    )
    if world is not None and judgments is not None:
        raise SettingError("--world and --judgments both say who judges; give one of them")
    if embeddings and encoder is None:
        raise SettingError("--embeddings hold vectors of an encoder; name it with --encoder")
    check_target(out, overwrite)
    dataset = Dataset.open(data)
    judge: Judge
    if world is not None:
        judge = PanelJudge(world, seed)
    elif judgments is not None:
        judge = TableJudge.of_file(judgments, entity_type)
    else:
        judge = TableJudge.of_dataset(dataset, entity_type)
    trained = None if encoder is None else FrozenEncoder.from_pretrained(encoder, threads=threads)
    known = KnownQueries(trained, embeddings, encoder or "") if trained is not None and embeddings else None
    untrained = None
    if pretrained is not None:
        untrained = PretrainedEncoder.load(
            pretrained, pooling=pretrained_pooling, prefix=pretrained_prefix, threads=threads
        )
    result = human_study(
        dataset,
        trained,
        judge,
        settings,
        pretrained=untrained,
        known_queries=known,
        on_system=lambda name: typer.echo(f"retrieving by {name}", err=True),
    )
    context = ReportContext(
        dataset.info.name,
        encoder,
        None if trained is None else trained.fingerprint,
        None if pretrained is None else f"`{pretrained}`, {pretrained_pooling} pooling, prefix '{pretrained_prefix}'",
    )
    files = write_humans(out, result, settings, context, overwrite)
    shown = []
    for name, one in result.strata.items():
        shown += [f"{name}: {one.queries:,} of {one.population:,} queries", text_table(*human_rows(result, name))]
    if result.agreement is not None:
        shown.append(f"agreement of the raters: alpha {result.agreement.alpha.value:.3f} (Krippendorff, ordinal)")
    said = {**human_json(result, settings, context), "files": [str(path) for path in files]}
    report(said, as_json, [*shown, *(f"wrote {path}" for path in files)])


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
