"""`omnifeat classify evaluate`: how well a saved classifier names the interests of queries, level by level."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.classify_common import DataArgument, PoolingOption, PrefixOption, check_part
from omnifeat.commands.console import (
    JsonOption,
    OverwriteOption,
    ThreadsOption,
    check_free,
    progress,
    report,
    result_table,
    warn,
)

if TYPE_CHECKING:
    from omnifeat.data.dataset import Dataset


def main(
    data: DataArgument,
    classifier: Annotated[
        Path, typer.Option("--classifier", "-c", help="Folder of the classifier: ours, or a saved baseline.")
    ],
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            "-e",
            help="Frozen encoder, or a folder of a Transformers model; repeat for several side by side. Not for "
            "classifiers of text.",
        ),
    ] = None,
    pretrained_prefix: PrefixOption = "",
    pretrained_pooling: PoolingOption = "mean",
    part: Annotated[
        str, typer.Option("--part", help="Part of the split to measure on: train, development, test or all.")
    ] = "test",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the figures and a picture of them.")
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", min=0, help="Bootstrap resamples of the queries.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resamples.")] = 0,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure precision, recall and calibration by level, beside always naming the commonest interest of training."""
    import json

    from classifiers.examples import interest_examples
    from classifiers.loading import load_any, takes_text
    from evaluation.interests.evaluation import evaluate
    from evaluation.plots import BarPanel, save_bars
    from omnifeat.data.dataset import Dataset
    from omnifeat.data.files import replace_when_whole
    from omnifeat.errors import SettingError
    from omnifeat.query_encoders import open_query_encoder

    if output is not None:
        check_free(output, overwrite, "results.json")
    check_part(part)
    loaded = load_any(classifier)
    dataset = Dataset.open(data)
    examples = interest_examples(dataset, None if part == "all" else part)
    training = interest_examples(dataset, None if part == "all" else "train")
    learned = _learned_from(dataset, part, getattr(loaded, "learned_from_", {}))
    if learned is not None:
        warn(
            f"the classifier learned from queries of part {part} of these data ({learned}): the figures tell what it "
            "knows by heart; measure it on another part with --part"
        )
    inputs: Any = list(examples.queries)
    if not takes_text(loaded):
        if not encoder:
            raise SettingError(f"Classifier {classifier} takes embeddings; name their encoder with --encoder.")
        frozen = open_query_encoder(encoder, prefix=pretrained_prefix, pooling=pretrained_pooling, threads=threads)
        if hasattr(loaded, "check_encoder"):
            loaded.check_encoder(frozen.fingerprint)
            loaded.set_params(threads=threads)
        inputs = frozen.encode_queries(inputs)
    with progress("classifying", len(examples.queries)) as advance:
        found = evaluate(loaded, inputs, examples, training, resamples=resamples, seed=seed, on_queries=advance)
    summary = {"part": part, "queries": len(examples.queries), "resamples": resamples, **found}
    summary["learned_from_this_part"] = learned
    shown: list[Any] = [
        f"{len(examples.queries):,} queries of part {part}",
        result_table(
            ("level", "queries", "interests", "accuracy", "95% interval", "commonest interest", "precision", "F1"),
            [
                (
                    row["level"],
                    row["queries"],
                    row["interests"],
                    row["accuracy"]["value"],
                    _interval_text(row["accuracy"]),
                    row["commonest"]["value"],
                    row["figures"]["precision_at_coverage_1"]["value"],
                    row["figures"]["micro"]["f1"],
                )
                for row in found["levels"]
            ],
        ),
    ]
    if output is not None:
        from evaluation.interests.plots import interval_of

        panels = [
            BarPanel(f"level {row['level']}", (interval_of(row["commonest"]), interval_of(row["accuracy"])))
            for row in found["levels"]
        ]
        with replace_when_whole(output, overwrite=overwrite) as folder:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "results.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
            save_bars(
                folder / "accuracy.png",
                ["commonest interest", "classifier"],
                panels,
                title="Accuracy of the interest of a query, by level",
                label="accuracy, percent, with 95% bootstrap intervals",
                highlight="classifier",
            )
        shown.append(f"Wrote {output}: results.json, accuracy.png")
    report(summary, as_json, shown)


def _learned_from(dataset: "Dataset", part: str, learned_from: dict[str, str]) -> str | None:
    """What a classifier learned from in a part of a dataset, in words; None where that is nothing, or not known."""
    from classifiers.examples import interest_examples
    from omnifeat.data.splits import SPLITS

    own = learned_from.get("part")
    if own in ("all", *SPLITS) and (own == part or "all" in (own, part)):
        there = interest_examples(dataset, None if own == "all" else own)
        if there.content == learned_from.get("examples"):
            return f"trained on part {own}"
    chosen = learned_from.get("development")
    measured_too = chosen is not None and part in ("development", "all")
    if measured_too and interest_examples(dataset, "development").content == chosen:
        return "thresholds chosen on part development"
    return None


def _interval_text(interval: dict[str, float | None]) -> str:
    if interval["low"] is None or interval["high"] is None:
        return "–"
    return f"{interval['low']:.4f} to {interval['high']:.4f}"
