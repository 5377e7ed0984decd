"""`omnifeat classify train`: the interests of queries, learnt over a frozen encoder's query embeddings."""

from pathlib import Path
from typing import Annotated, Any

import typer

from omnifeat.commands.classify_common import DataArgument, EncoderOption, PoolingOption, PrefixOption, check_part
from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, check_free, report, result_table


def main(
    data: DataArgument,
    encoder: EncoderOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the classifier.")],
    part: Annotated[
        str, typer.Option("--part", help="Part of the split to learn from: train, development, test or all.")
    ] = "train",
    head: Annotated[
        str,
        typer.Option(
            "--head",
            help="global: one regression over all places where paths end; levels: one a node; auto: the better one on "
            "held-out queries.",
        ),
    ] = "auto",
    labels: Annotated[
        str, typer.Option("--labels", help="Interests of a query: one, several, or auto to see from the data.")
    ] = "auto",
    precision: Annotated[
        float | None,
        typer.Option(
            "--precision", help="Choose thresholds for this precision on the development part; abstain below."
        ),
    ] = None,
    min_support: Annotated[
        int, typer.Option("--min-support", min=1, help="Development queries for a threshold of an interest's own.")
    ] = 20,
    inverse_regularisation: Annotated[
        float | None,
        typer.Option("--inverse-regularisation", help="Lower keeps weights closer to zero; chosen if not given."),
    ] = None,
    names_too: Annotated[
        bool, typer.Option("--names/--no-names", help="Learn from the interests' names too, each as one more query.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail at an interest that has no query.")] = False,
    pretrained_prefix: PrefixOption = "",
    pretrained_pooling: PoolingOption = "mean",
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Learn the interests of queries and write the classifier as a folder."""
    import numpy as np

    from classifiers.examples import interest_examples
    from classifiers.interest import InterestClassifier
    from classifiers.taxonomy import Taxonomy
    from omnifeat.data.dataset import Dataset
    from omnifeat.errors import SettingError
    from omnifeat.query_encoders import open_query_encoder

    check_free(output, overwrite, "classifier.json")
    check_part(part)
    if precision is not None and not 0 < precision <= 1:
        raise SettingError(f"--precision must be above 0 and at most 1; got {precision}.")
    if precision is not None and part in ("development", "all"):
        raise SettingError(
            f"--precision chooses thresholds on the development part, which --part {part} learns from; "
            "learn from another part."
        )
    dataset = Dataset.open(data)
    examples = interest_examples(dataset, None if part == "all" else part, names=names_too)
    development = interest_examples(dataset, "development") if precision is not None else None
    frozen = open_query_encoder(encoder, prefix=pretrained_prefix, pooling=pretrained_pooling, threads=threads)
    classifier = InterestClassifier(
        head=head,
        labels=labels,
        inverse_regularisation=inverse_regularisation,
        taxonomy=Taxonomy.from_table(dataset.read("interests")),
        unseen="refuse" if strict else "leave",
        encoder_fingerprint=frozen.fingerprint,
        threads=threads,
    )
    places, paths, weights = np.arange(len(examples.queries)), list(examples.paths), None
    if labels == "one":  # a row for each interest of a query, which together weigh as one
        places, single, weights = examples.training_rows()
        paths = [(path,) for path in single]
    embeddings = frozen.encode_queries(list(examples.queries))
    queries = [examples.queries[place] for place in places]
    classifier.fit(embeddings[places], paths, queries=queries, sample_weight=weights)
    if development is not None and precision is not None:
        classifier.choose_thresholds(
            frozen.encode_queries(list(development.queries)),
            list(development.paths),
            precision=precision,
            min_support=min_support,
        )
    without_names = interest_examples(dataset, None if part == "all" else part) if names_too else examples
    classifier.learned_from_ = {"part": part, "examples": without_names.content}
    if development is not None:
        classifier.learned_from_["development"] = development.content
    from omnifeat.data.files import replace_when_whole

    with replace_when_whole(output, overwrite=overwrite) as folder:
        classifier.save(folder)
    classes = [len(level) for level in classifier.levels_]
    summary: dict[str, Any] = {
        "queries": len(examples.queries),
        "rows": len(queries),
        "labels": "several" if classifier.several_ else "one",
        "head": classifier.head_.name,
        "heads_tried": classifier.heads_tried_,
        "classes": classes,
        "unseen": len(classifier.unseen_),
        "inverse_regularisation": classifier.inverse_regularisation_,
        "held_out": classifier.held_out_,
        "encoder_fingerprint": frozen.fingerprint,
        "output": str(output),
    }
    interests = "several interests" if classifier.several_ else "one interest"
    chosen = f" (chosen on {classifier.held_out_:,} held-out queries)" if classifier.tried_ else ""
    shown: list[Any] = [
        f"{len(examples.queries):,} queries of {interests} each, {classifier.head_.name} head{_losses(classifier)}",
        f"Inverse regularisation {classifier.inverse_regularisation_:g}{chosen}",
        result_table(("level", "interests"), list(enumerate(classes))),
    ]
    if classifier.unseen_:
        shown.append(
            f"{len(classifier.unseen_):,} interests have no query, such as {classifier.unseen_[0]!r}: "
            "they are never predicted."
        )
    if classifier.thresholds_ is not None:
        never = int(np.isinf(classifier.thresholds_).sum())
        pooled = int(classifier.pooled_.sum())
        summary |= {"precision": precision, "thresholds_of_level": pooled, "never_predicted": never}
        shown.append(
            f"Thresholds for precision {precision:g}: {pooled:,} of {len(classifier.thresholds_):,} interests take "
            f"their level's, {never:,} are never predicted."
        )
    report(summary, as_json, [*shown, f"Wrote {output}"])


def _losses(classifier: Any) -> str:
    """What the choice between heads rests on; nothing where there was none."""
    tried = classifier.heads_tried_
    told = ", ".join(f"{name} {loss:.3f}" for name, loss in tried.items())
    return f" (held-out loss: {told})" if len(tried) > 1 else ""
