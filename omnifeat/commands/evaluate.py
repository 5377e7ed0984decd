"""`omnifeat evaluate`: Recall@k of engaged pairs, judged relevance, and agreement of raters."""

from pathlib import Path
from typing import Annotated

import typer

from omnifeat.commands import evaluate_ab, evaluate_agreement, evaluate_humans
from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, report, warn

app = typer.Typer(help="Measure Recall@k and relevance beside baselines.", no_args_is_help=True)
app.command("ab")(evaluate_ab.main)
app.command("agreement")(evaluate_agreement.main)
app.command("humans")(evaluate_humans.main)

DataArgument = Annotated[str, typer.Argument(metavar="DATA", help="Dataset folder.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the figures, a table and a picture.")]
BootstrapOption = Annotated[int, typer.Option(min=0, help="Resamples of the queries; 0 for no intervals.")]
LevelOption = Annotated[float, typer.Option(help="Share of the resamples inside an interval.")]
QueriesOption = Annotated[
    str | None,
    typer.Option(help="Table of query_id and query, or TREC topics: the texts of a run's queries, where it has ids."),
]
SeedOption = Annotated[int, typer.Option(help="Of the resamples, of a corpus sample and of random scores.")]


@app.command("recall")
def recall(
    data: DataArgument,
    out: OutOption,
    encoder: Annotated[str | None, typer.Option(help="Trained encoder: folder or hub name.")] = None,
    embeddings: Annotated[
        list[str] | None, typer.Option(help="Table of query embeddings of that encoder, from `omnifeat embed`; repeat.")
    ] = None,
    corpus_embeddings: Annotated[
        list[str] | None,
        typer.Option(help="Table of entity embeddings of that encoder, from `omnifeat embed`; repeat."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, development, test, or all.")] = "test",
    positives: Annotated[
        str, typer.Option(help="Pairs to find: engagements, or judgments (the relevant ones, by country).")
    ] = "engagements",
    relevant_grade: Annotated[
        int | None, typer.Option(help="Judgments of this grade or more are relevant; above half of the highest.")
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(help="Rows beside `learned`, separated by commas; `none`, or all that the input allows."),
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Encoder to compare with, untrained: folder or name.")] = None,
    pretrained_prefix: Annotated[str, typer.Option(help="Put before each text, as in 'query: '.")] = "",
    pretrained_pooling: Annotated[str, typer.Option(help="mean or cls.")] = "mean",
    pretrained_fields: Annotated[
        str, typer.Option(help="Text columns of an entity that the pretrained encoder sees.")
    ] = "title,description,caption,engaged_queries",
    run: Annotated[
        str | None, typer.Option(help="Table with query, entity_id and scores, or a TREC run; each column is a row.")
    ] = None,
    run_columns: Annotated[str | None, typer.Option(help="Score columns of --run; all numeric ones.")] = None,
    queries: QueriesOption = None,
    entity_type: Annotated[str | None, typer.Option(help="pin, product or query; all that have pairs.")] = None,
    action: Annotated[str | None, typer.Option(help="Engagements that count, separated by commas.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Column that makes groups; or seen (new pairs or not), frequency, has_title.")
    ] = None,
    groups: Annotated[str | None, typer.Option(help="Values of --by to show, in this order; all.")] = None,
    k: Annotated[str, typer.Option(help="Cut-offs, separated by commas; the first is the main one.")] = "10",
    reference: Annotated[
        str | None, typer.Option(help="Rows to compare the others with, separated by commas; learned.")
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="Tell ranks apart to this one, and no further; saves time.")
    ] = None,
    corpus: Annotated[
        str, typer.Option(help="table (of the dataset), all, a number of random entities; auto: table or else all.")
    ] = "auto",
    count_other_positives: Annotated[
        bool, typer.Option("--count-other-positives", help="Let a query's other positives count as competitors.")
    ] = False,
    hybrid: Annotated[
        list[str] | None,
        typer.Option(
            help="Rows fused by reciprocal rank, as bm25-words+learned (weights chosen on development pairs) or "
            "bm25-words+2*learned; repeat."
        ),
    ] = None,
    rrf_k: Annotated[float, typer.Option("--rrf-k", help="k of the fusion: 1 / (k + rank).")] = 60.0,
    bootstrap: BootstrapOption = 1000,
    level: LevelOption = 0.95,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Recall@k of the split's engaged pairs: the trained encoder beside baselines, with intervals."""
    from evaluation.hybrids import parse_hybrid
    from evaluation.recall_reports import measured_parts, pairs_name, recall_json, write_recall
    from evaluation.recall_settings import REFERENCE, RecallSettings
    from evaluation.recall_study import recall_studies
    from evaluation.reports import ReportContext, check_target
    from evaluation.runs import checked_run, read_run_table, with_query_texts
    from evaluation.tables import text_table
    from omnifeat.corpus_tables import CorpusTables
    from omnifeat.data.dataset import Dataset
    from omnifeat.errors import SettingError
    from omnifeat.frozen import FrozenEncoder
    from omnifeat.known_queries import KnownQueries
    from omnifeat.pretrained import PretrainedEncoder

    try:
        cut_offs = tuple(int(part) for part in k.split(","))
    except ValueError as error:
        raise SettingError(f"--k must be whole numbers separated by commas, got '{k}'") from error
    corpus_size = int(corpus) if corpus.isascii() and corpus.isdigit() else None
    if corpus_size == 0:
        raise SettingError("--corpus needs at least one entity, got 0")
    rows = _listed(baselines)
    if rows is not None:
        rows = tuple(name for name in rows if name != "none") + ((REFERENCE,) if encoder is not None else ())
    settings = RecallSettings(
        split=split,
        positives=positives,
        relevant_grade=relevant_grade,
        rows=rows,
        entity_types=None if entity_type is None else (entity_type,),
        actions=_listed(action),
        by=by,
        groups=_listed(groups),
        ks=cut_offs,
        references=_listed(reference),
        most=most,
        corpus="auto" if corpus_size is not None else corpus,
        corpus_size=corpus_size,
        leave_out_other_positives=not count_other_positives,
        hybrids=tuple(parse_hybrid(text) for text in hybrid or ()),
        rrf_k=rrf_k,
        pretrained_fields=_listed(pretrained_fields) or (),
        resamples=bootstrap,
        level=level,
        seed=seed,
    )
    check_target(out, overwrite)
    dataset = Dataset.open(data)
    trained = None if encoder is None else FrozenEncoder.from_pretrained(encoder, threads=threads)
    if embeddings and trained is None:
        raise SettingError("--embeddings hold vectors of an encoder; name it with --encoder")
    known = KnownQueries(trained, embeddings, encoder or "") if trained is not None and embeddings else None
    if corpus_embeddings and trained is None:
        raise SettingError("--corpus-embeddings hold vectors of an encoder; name it with --encoder")
    entity_tables = CorpusTables.open(corpus_embeddings, trained, encoder or "") if corpus_embeddings else None
    untrained = None
    if pretrained is not None:
        untrained = PretrainedEncoder.load(
            pretrained, pooling=pretrained_pooling, prefix=pretrained_prefix, threads=threads
        )
    scored = None
    if run is not None:
        table = with_query_texts(read_run_table(run), run, dataset, queries)
        scored = checked_run(table, _listed(run_columns), run, entity_type)
        for note in scored.notes:
            warn(note)
    studies = recall_studies(
        dataset,
        trained,
        untrained,
        settings,
        on_row=lambda name: typer.echo(f"measuring {name}", err=True),
        run=scored,
        known_queries=known,
        corpus_tables=entity_tables,
        threads=threads,
    )
    context = ReportContext(
        dataset.info.name,
        encoder,
        None if trained is None else trained.fingerprint,
        None if pretrained is None else f"`{pretrained}`, {pretrained_pooling} pooling, prefix '{pretrained_prefix}'",
        tuple(corpus_embeddings or ()),
    )
    files = write_recall(out, studies, settings, context, overwrite)
    tables = []
    for study in studies:
        plural = "queries" if study.entity_type == "query" else f"{study.entity_type}s"
        title = (
            f"{plural}, {pairs_name(settings)}: {study.overall.pairs:,} pairs of {study.overall.queries:,} queries "
            f"among {study.corpus:,} entities ({study.corpus_source})"
        )
        tables += [title, *measured_parts(study, settings, encoder, text_table)]
        tables += [f"{name}: {told}" for name, told in study.hybrids.items()]
    result = {**recall_json(studies, settings, context), "files": [str(path) for path in files]}
    report(result, as_json, [*tables, *(f"wrote {path}" for path in files)])


@app.command("relevance")
def relevance(
    data: DataArgument,
    run: Annotated[str, typer.Option(help="Table with query, entity_id and one or more score columns, or a TREC run.")],
    out: OutOption,
    queries: QueriesOption = None,
    columns: Annotated[str | None, typer.Option(help="Score columns, separated by commas; all numeric ones.")] = None,
    reference: Annotated[str | None, typer.Option(help="Column to compare the others with; the first.")] = None,
    measures: Annotated[
        str, typer.Option(help="Names that ir-measures knows, separated by commas: nDCG@10,AP,P(rel=3)@10.")
    ] = "nDCG@10",
    gain: Annotated[str, typer.Option(help="linear: the grade; exponential: 2^grade - 1.")] = "linear",
    entity_type: Annotated[str | None, typer.Option(help="Only judgments of this type.")] = None,
    by: Annotated[str | None, typer.Option(help="Column of the judgments that makes groups.")] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder behind the scores, to tell what is new to it; else the run's column trained_on tells."
        ),
    ] = None,
    judged_only: Annotated[bool, typer.Option("--judged-only", help="Leave out what was not judged.")] = False,
    bootstrap: BootstrapOption = 1000,
    level: LevelOption = 0.95,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """NDCG and the like of each score column of a run, against the dataset's judgments."""
    from evaluation.relevance_study import RelevanceSettings, relevance_study
    from evaluation.reports import check_target, new_rows, relevance_json, relevance_rows, write_relevance
    from evaluation.runs import read_run_table, with_query_texts
    from evaluation.tables import text_table
    from omnifeat.data.dataset import Dataset
    from omnifeat.frozen import FrozenEncoder

    settings = RelevanceSettings(
        columns=_listed(columns),
        reference=reference,
        measures=_measure_names(measures),
        gain=gain,
        entity_type=entity_type,
        by=by,
        judged_only=judged_only,
        resamples=bootstrap,
        level=level,
        seed=seed,
    )
    check_target(out, overwrite)
    dataset = Dataset.open(data)
    record = None if encoder is None else FrozenEncoder.from_pretrained(encoder).record
    scored = with_query_texts(read_run_table(run), run, dataset, queries)
    study = relevance_study(dataset, scored, settings, record, run, encoder)
    for note in study.notes:
        warn(note)
    files = write_relevance(out, study, settings, dataset.info.name, run, overwrite)
    with_positive = len(study.figures[study.reference].queries)
    shown = [f"{with_positive:,} queries with a positive judgment", text_table(*relevance_rows(study, settings))]
    shown += [f"the run holds {study.judged_pairs_in_run:,} of {study.judged_pairs:,} judged pairs", study.known]
    if study.new:
        shown.append(text_table(*new_rows(with_positive, study.new, f"{settings.measures[0]} %")))
    result = {
        **relevance_json(study, settings, dataset.info.name, run),
        "files": [str(path) for path in files],
    }
    report(result, as_json, [*shown, *(f"wrote {path}" for path in files)])


def _measure_names(text: str) -> tuple[str, ...]:
    """Parts between commas that stand in no brackets: `AP(rel=2,cutoff=10)` is one."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts if part.strip())


def _listed(text: str | None) -> tuple[str, ...] | None:
    """Parts between commas, less white space and empty ones; null stays null."""
    parts = None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())
    if parts == ():
        from omnifeat.errors import SettingError

        raise SettingError(f"{text!r} names nothing: name at least one between commas, or leave the option out")
    return parts
