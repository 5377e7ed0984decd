"""`omnifeat train`: train an encoder on a dataset folder and freeze it."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnifeat.commands.console import JsonOption, OverwriteOption, ThreadsOption, progress, report, result_table

if TYPE_CHECKING:
    from omnifeat.training.run import Progress


def main(
    data: Annotated[str, typer.Argument(help="The dataset folder.", metavar="DATA")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder of the frozen encoder; the log goes to OUT.run.")],
    preset: Annotated[
        str, typer.Option(help="Sizes of the model and of the run: tiny (tests), small (CPU, minutes), paper (GPU).")
    ] = "small",
    query_model: Annotated[
        str | None, typer.Option(help="Pretrained query encoder, a folder or hub name; scratch builds a small one.")
    ] = None,
    text_model: Annotated[
        str | None,
        typer.Option(help="Pretrained text encoder for a block of text, on both sides; a folder or hub name."),
    ] = None,
    text_layers: Annotated[
        int | None, typer.Option(min=0, help="Top layers of the text encoder to tune; 0 takes it as it is.")
    ] = None,
    pooling: Annotated[
        str | None, typer.Option(help="cls or mean: how the query encoder's last layer is pooled.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help='Text put before each query, such as "query: ".')] = None,
    trainable_layers: Annotated[
        int | None, typer.Option(min=0, help="Top layers of the query encoder to train; 0 trains its projection alone.")
    ] = None,
    projection: Annotated[
        str | None, typer.Option(help="linear, or identity-init: start with the pretrained encoder's own vectors.")
    ] = None,
    dim: Annotated[int | None, typer.Option(min=2, help="Width of the embeddings.")] = None,
    matryoshka: Annotated[
        list[str] | None, typer.Option(help="Prefix of the embedding to train too, WIDTH:WEIGHT; may be repeated.")
    ] = None,
    settings_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another setting of the model, such as entity.text_pooling=sqrt; may be repeated."),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option("--task", help="Task to train, such as 'pins/*' or '*/pinsage'; may be repeated; all."),
    ] = None,
    frequency: Annotated[
        str | None, typer.Option(help="Counts for the logQ correction: exact, sketch, or none for no correction.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the pairs.")] = None,
    steps: Annotated[int | None, typer.Option(help="Batches; goes before --epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pairs in a batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    query_learning_rate: Annotated[
        float | None, typer.Option(help="Highest learning rate of a pretrained query encoder.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or lamb.")] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Steps until the highest learning rate.")] = None,
    random_negatives: Annotated[int | None, typer.Option(help="Random negatives per pair.")] = None,
    evaluate_every: Annotated[int | None, typer.Option(help="Steps between measurements; 0 for none.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=0, help="Measurements without gain until training stops; 0 never stops early.")
    ] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints; 0 for none.")] = None,
    mixed_precision: Annotated[str | None, typer.Option(help="no or bf16.")] = None,
    device: Annotated[str | None, typer.Option(help="auto or cpu.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is random.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    threads: ThreadsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder on the train part of a dataset and write it frozen, with its log and training curve."""
    import dataclasses

    import torch.distributed

    from omnifeat.data.dataset import Dataset
    from omnifeat.errors import SettingError
    from omnifeat.models.config import preset as encoder_preset
    from omnifeat.models.overrides import with_overrides
    from omnifeat.training.settings import train_preset
    from omnifeat.training.trainer import train

    config = encoder_preset(preset)
    query = _given(
        model=query_model,
        pooling=pooling,
        prefix=prefix,
        trainable_layers=trainable_layers,
        projection=projection,
    )
    config = dataclasses.replace(config, query=dataclasses.replace(config.query, **query), **_given(dim=dim))
    text = _given(model=text_model, trainable_layers=text_layers)
    config = dataclasses.replace(config, text=dataclasses.replace(config.text, **text))
    if matryoshka:
        config = dataclasses.replace(config, matryoshka=_prefixes(matryoshka))
    config = with_overrides(config, settings_ or [])
    if text_layers is not None and not config.text.model:
        raise SettingError("The --text-layers are those of a --text-model, and none is given; give one too.")
    changes: dict[str, Any] = _given(
        tasks=tuple(tasks) if tasks else None,
        frequency=frequency,
        batch_size=batch_size,
        epochs=epochs,
        steps=steps,
        learning_rate=learning_rate,
        query_learning_rate=query_learning_rate,
        optimizer=optimizer,
        warmup_steps=warmup_steps,
        random_negatives=random_negatives,
        evaluate_every=evaluate_every,
        checkpoint_every=checkpoint_every,
        mixed_precision=mixed_precision,
        device=device,
        seed=seed,
    )
    if epochs is not None and steps is None:
        changes["steps"] = None  # a preset's number of steps would go before the epochs asked for
    if patience is not None:
        changes["patience"] = patience or None
    settings = dataclasses.replace(train_preset(preset), **changes)

    with ExitStack() as stack:
        shown = _Shown(stack)
        result = train(
            Dataset.open(data),
            config,
            settings,
            out,
            resume=resume,
            overwrite=overwrite,
            threads=threads,
            on_progress=shown.step,
        )
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if not result.is_main_process:
        return
    recall = result.metrics.get("development_recall@10_mean")
    curve = result.run_folder / "training_curve.png"
    rows: list[tuple[str, object]] = [
        ("loss", f"{result.loss:.4f}"),
        ("development Recall@10", "not measured" if recall is None else f"{recall:.4f}"),
        ("steps", f"{result.steps:,} (weights of step {result.best_step:,})"),
        ("time", f"{result.seconds:.1f} s"),
        ("recorded", result.record.described),
        ("fingerprint", result.fingerprint[:16]),
    ]
    shares = result.model.config.shares
    told = [
        result_table(
            ["vector", "share", "all pairs", "new pairs"],
            [
                (name, _share(name, shares), f"{recall['mean']:.4f}", _recall(recall.get("new_mean")))
                for name, recall in result.ingredients.items()
            ],
            title="Development Recall@10, mean over the sets",
        )
    ]
    # paths stand below the table, whose cells are cut at the width of the terminal
    paths = [f"encoder         {result.path}", f"training curve  {curve}", f"log             {curve.parent}"]
    report(
        {
            "path": str(result.path),
            "fingerprint": result.fingerprint,
            "loss": result.loss,
            "metrics": result.metrics,
            "ingredients": result.ingredients,
            "shares": shares,
            "steps": result.steps,
            "best_step": result.best_step,
            "seconds": result.seconds,
            "run_folder": str(result.run_folder),
            "training_curve": str(curve),
            "recorded_queries": len(result.record.queries),
            "recorded_pairs": len(result.record.pairs),
            "recorded_bytes": result.record.bytes,
        },
        as_json,
        [result_table(["what", "value"], rows, title="Trained"), *(told if result.ingredients else []), *paths],
    )


def _share(name: str, shares: Mapping[str, float]) -> str:
    if name == "published":
        return "1"
    return f"{shares[name]:.1f}" if name in shares else "–"


def _recall(value: float | None) -> str:
    return "none there" if value is None else f"{value:.4f}"


class _Shown:
    """Shows steps; the number of all of them is known only when the first one is done."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._done = 0
        self._advance: Any = None

    def step(self, at: "Progress") -> None:
        if self._advance is None:
            self._advance = self._stack.enter_context(progress("training steps", at.steps))
        self._advance(at.step - self._done)
        self._done = at.step


def _given(**options: object) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _prefixes(options: list[str]) -> dict[int, float]:
    from omnifeat.errors import SettingError

    prefixes = {}
    for option in options:
        width, _, weight = option.partition(":")
        try:
            prefixes[int(width)] = float(weight)
        except ValueError as error:
            raise SettingError(
                f"The --matryoshka must be WIDTH:WEIGHT, such as 64:0.5. Got {option!r} instead."
            ) from error
    return prefixes
