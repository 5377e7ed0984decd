"""One training run: what it holds, what changes from step to step, how it is saved and taken up again."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from omnifeat.data.artefacts import LibraryCall
from omnifeat.data.dataset import Dataset
from omnifeat.data.files import replace_when_whole
from omnifeat.data.identity import content_of_dataset
from omnifeat.errors import SettingError
from omnifeat.models.config import EncoderConfig
from omnifeat.models.encoder_folder import parts_of_model, write_encoder
from omnifeat.models.omni import OmniModel, build_model
from omnifeat.models.query import QueryEncoder
from omnifeat.models.query_table import QueryTable
from omnifeat.models.training_record import TrainingRecord
from omnifeat.text import TokenBags
from omnifeat.training.batches import BatchSampler
from omnifeat.training.checkpoint import (
    CHECKPOINT_REMEDY,
    latest_checkpoint,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from omnifeat.training.correction import Corrections
from omnifeat.training.curves import TrainingLog, draw_training_curve, write_training_log
from omnifeat.training.development import DevelopmentSet, DevelopmentVectors, prepare_development_set
from omnifeat.training.events import Events
from omnifeat.training.objective import Objective
from omnifeat.training.optimizers import learning_rate_factor, make_optimizer, set_learning_rate
from omnifeat.training.pooled_outputs import PooledOutputs
from omnifeat.training.prepare import TrainingData, prepare_training_data
from omnifeat.training.published import Published, measure_blocks, tune_where_better
from omnifeat.training.settings import TrainSettings
from omnifeat.training.tasks import shuffled

__all__ = ["Progress", "TrainResult", "TrainingRun"]

_ENTITIES_AT_ONCE = 16_384


@dataclass(frozen=True)
class Progress:
    """Where a run is: `step` of at most `steps`, the last loss, the last mean Recall@10 if one was measured."""

    step: int
    steps: int
    loss: float
    recall: float | None


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A finished run.

    Attributes
    ----------
    path, fingerprint
        The encoder folder and the encoder's fingerprint.
    run_folder
        Log, curve, TensorBoard events and checkpoints.
    model
        The trained model, with the best weights.
    steps, best_step
        Steps taken, and the one whose weights were kept.
    loss
        Mean training loss of the last `log_every` steps.
    metrics
        Recall@10 on development pairs of what is published; empty without a development part.
    ingredients
        What each block finds, the fixed ones together, and `published`: Recall@10 by set and as `mean`, and the same
        under `new_SET` and `new_mean` of pairs that were not trained on. Empty where there is one block.
    seconds
        Time of this call.
    log
        Losses and measurements on the way.
    record
        The queries and pairs that it was trained on.
    is_main_process
        Whether this is the first process, the one that wrote all of it.
    """

    path: Path
    fingerprint: str
    run_folder: Path
    model: OmniModel
    steps: int
    best_step: int
    loss: float
    metrics: dict[str, float]
    ingredients: dict[str, dict[str, float]]
    seconds: float
    log: TrainingLog
    record: TrainingRecord
    is_main_process: bool


class TrainingRun:
    """One run: everything it needs, and what changes from step to step."""

    def __init__(
        self,
        dataset: Dataset,
        config: EncoderConfig,
        settings: TrainSettings,
        run_folder: Path,
        accelerator: Accelerator,
        pooled: PooledOutputs | None = None,
    ) -> None:
        self.settings, self.run_folder, self.accelerator = settings, run_folder, accelerator
        self.device: torch.device = accelerator.device
        self.data: TrainingData = prepare_training_data(dataset, config, settings.tasks)
        if settings.shuffled_pairs:
            dealt = [shuffled(pairs, settings.seed) for pairs in self.data.pair_sets]
            self.data = replace(self.data, pair_sets=dealt)
        self.config = self.data.config
        self.about = {
            "dataset": dataset.info.name,
            "data": self.data.summary(),
            "content": content_of_dataset(dataset) if settings.checkpoint_every != 0 else None,
            "config": self.config.to_dict(),
            "settings": settings.to_dict(),
            "processes": accelerator.num_processes,
        }
        self.model = build_model(
            self.config, self.data.query_tokenizer, self.data.ngram_tokenizer.size, seed=settings.seed
        ).to(self.device)
        if self.model.words is not None:
            self.model.words.fit(self._bags)
        self.development = self._development()
        query = self.model.query
        if isinstance(query, QueryEncoder) and not any(p.requires_grad for p in query.backbone.parameters()):
            self._pool_queries(query, pooled)
        self.sampler = BatchSampler(
            self.data.pair_sets,
            {pairs.entity_type: self.data.catalogue.size(pairs.entity_type) for pairs in self.data.pair_sets},
            batch_size=settings.batch_size,
            weights=settings.pair_weights,
            random_negatives=settings.random_negatives,
            seed=settings.seed,
            own_query_left_out=settings.own_query_left_out,
        )
        if max(self.sampler.shares) < accelerator.num_processes:
            raise SettingError(
                f"The 'batch_size' setting must give each of {accelerator.num_processes} processes a pair. "
                f"Got {settings.batch_size} instead."
            )
        per_epoch = self.sampler.steps_per_epoch
        self.steps = settings.steps or max(1, math.ceil(settings.epochs * per_epoch))
        self.evaluate_every = per_epoch if settings.evaluate_every is None else settings.evaluate_every
        self.checkpoint_every = per_epoch if settings.checkpoint_every is None else settings.checkpoint_every
        self.corrections = Corrections(
            self.data.tasks,
            {task.name: self.data.present(task) for task in self.data.tasks},
            {task.name: self.data.negatives_catalogue(task) for task in self.data.tasks},
            settings,
        )
        objective = Objective(
            self.model,
            self.data,
            block_rows=settings.block_rows,
            negative_margin=settings.negative_margin,
            words_in_loss=settings.words_in_loss,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        self.optimizer = make_optimizer(self.model, settings)
        self.objective = accelerator.prepare_model(objective)
        # dropout differs between the processes' parts of a batch
        torch.manual_seed(settings.seed * 1_000_003 + accelerator.process_index)

        self.step = 0
        self.log = TrainingLog()
        self.loss = math.nan
        self.best_recall, self.best_step = -1.0, 0
        self.best_weights: dict[str, Tensor] | None = None
        self.without_gain = 0
        self._since_log: list[Tensor] = []
        self._text: DevelopmentVectors | None = None

    def _development(self) -> DevelopmentSet | None:
        chooses_shares = len(self.config.blocks) > 1 and not self.config.block_weights
        if self.settings.evaluate_every == 0 and not chooses_shares:
            return None
        return prepare_development_set(
            self.data,
            max_pairs=self.settings.development_pairs,
            max_corpus=self.settings.development_corpus,
            seed=self.settings.seed,
        )

    def _bags(self) -> Iterator[TokenBags]:
        """All text of all entities."""
        for table in self.data.entities.values():
            for start in range(0, len(table), _ENTITIES_AT_ONCE):
                inputs = table.inputs(np.arange(start, min(start + _ENTITIES_AT_ONCE, len(table))))
                yield TokenBags(inputs.ids.numpy(), inputs.offsets.numpy())

    def _pool_queries(self, query: QueryEncoder, kept: PooledOutputs | None) -> None:
        """Run a transformer that isn't trained once over all queries instead of in every step."""
        self.model.eval()
        pool = QueryTable.with_pooled if kept is None else kept.of
        self.data = replace(self.data, queries=pool(self.data.queries, query, self.device))
        if self.development is not None:
            pooled = pool(self.development.queries, query, self.device)
            self.development = replace(self.development, queries=pooled)

    def prepare_text(self) -> None:
        """Tune the block of text in the first process; a run that is taken up again has the weights already."""
        if self.step == 0 and self.accelerator.is_main_process:
            self._text = tune_where_better(
                self.model, self.data, self.development, self.settings, self.log, self.device
            )

    @property
    def stopped_early(self) -> bool:
        return self.settings.patience is not None and self.without_gain >= self.settings.patience

    def loop(self, on_progress: Callable[[Progress], None] | None) -> None:
        """All steps that are left."""
        events = Events(self.run_folder, enabled=self.accelerator.is_main_process, anew=self.step == 0)
        try:
            if self.step == 0 and self.evaluate_every > 0:
                self._measure(events)  # as it starts: what training adds to, and what is kept where it adds nothing
            while self.step < self.steps and not self.stopped_early:
                loss = self._train_step()
                if self.step % self.settings.log_every == 0 or self.step == self.steps:
                    self._note_losses(events)
                if self._is_due(self.evaluate_every):
                    self._measure(events)
                if self._is_due(self.checkpoint_every) and self.step < self.steps and not self.stopped_early:
                    self.save()
                if on_progress is not None and self.accelerator.is_main_process:
                    recall = self.log.recalls[-1]["mean"] if self.log.recalls else None
                    on_progress(Progress(self.step, self.steps, loss, recall))
        finally:
            events.close()

    def _is_due(self, every: int) -> bool:
        return every > 0 and (self.step % every == 0 or self.step == self.steps)

    def _train_step(self) -> float:
        self.objective.train()
        parts = self.sampler.batch(self.step)
        task_rows = self.corrections.observe(parts)
        factor = learning_rate_factor(self.step, self.steps, self.settings.warmup_steps)
        set_learning_rate(self.optimizer, factor)
        total, by_task = self.objective(parts, task_rows)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(total)
        if self.settings.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        # one exchange for the loss of the batch and of each task; all processes see the same and stop together
        means = torch.cat([total.detach().reshape(1) / self.accelerator.num_processes, by_task])
        means = self.accelerator.reduce(means, "sum").cpu()
        if not torch.isfinite(means).all():
            bad = [task.name for task, loss in zip(self.data.tasks, means[1:], strict=True) if not loss.isfinite()]
            raise SettingError(
                f"The loss of {', '.join(bad) or 'the batch'} is no number any more in step {self.step + 1}; train "
                "with a lower learning rate."
            )
        self.optimizer.step()
        self.step += 1
        self._since_log.append(means)
        return float(means[0])

    def _note_losses(self, events: Events) -> None:
        means = torch.stack(self._since_log).mean(dim=0).tolist()
        self._since_log = []
        self.loss = means[0]
        point: dict[str, Any] = {
            "step": self.step,
            "loss": means[0],
            "tasks": {task.name: loss for task, loss in zip(self.data.tasks, means[1:], strict=True)},
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "temperature": float(1.0 / self.model.scale().detach()),
        }
        self.log.losses.append(point)
        by_task = {f"loss/{name}": loss for name, loss in point["tasks"].items()}
        others = {name: point[name] for name in ("learning_rate", "temperature")}
        events.add({"loss/total": point["loss"], **by_task, **others}, self.step)

    def _measure(self, events: Events) -> None:
        if self.development is None:
            return
        measured: list[Any] = [None]
        if self.accelerator.is_main_process:
            with self.accelerator.autocast():
                measured = [self.development.recall_at_10(self.model, self.device)]
        recall: Mapping[str, float] = broadcast_object_list(measured)[0]
        self.log.recalls.append({"step": self.step, **recall})
        events.add({f"recall_at_10/{name}": value for name, value in recall.items()}, self.step)
        if recall["mean"] > self.best_recall:
            self.best_recall, self.best_step, self.without_gain = recall["mean"], self.step, 0
            # the block of text is as it was before the first step
            self.best_weights = {
                name: tensor.detach().cpu().clone()
                for name, tensor in self.model.state_dict().items()
                if not name.startswith("text.")
            }
        elif self.step > 0:
            self.without_gain += 1

    def _published(self) -> Published:
        """Recall@10 of what is published; of several blocks the shares, too, and those without one are dropped."""
        if len(self.config.blocks) == 1:
            measured = next((point for point in self.log.recalls if point["step"] == self.best_step), {})
            return Published({name: value for name, value in measured.items() if name != "step"}, {}, None)
        found = [Published({}, {}, None)]
        if self.development is not None and self.accelerator.is_main_process:
            with self.accelerator.autocast():
                found = [
                    measure_blocks(
                        self.model, self.development, self._text, self.log, self.device, seed=self.settings.seed
                    )
                ]
        published: Published = broadcast_object_list(found)[0]
        if published.shares is not None:
            self.model.keep_blocks(published.shares)
        return published

    def save(self) -> None:
        """Write a checkpoint."""
        random_states: list[Any] = gather_object([self._random_state()])
        if self.accelerator.is_main_process:
            corrections = {
                name: {key: torch.from_numpy(array) for key, array in state.items()}
                for name, state in self.corrections.state_dict().items()
            }
            state = {
                "about": self.about,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "corrections": corrections,
                "random": random_states,
                "log": self.log.to_dict(),
                "since_log": self._since_log,
                "loss": self.loss,
                "best_recall": self.best_recall,
                "best_step": self.best_step,
                "best_weights": self.best_weights,
                "without_gain": self.without_gain,
            }
            save_checkpoint(self.run_folder, self.step, state)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Take up the newest checkpoint, if there is one.

        Raises
        ------
        SettingError
            The run had other settings or data.
        """
        path = latest_checkpoint(self.run_folder)
        if path is None:
            return
        state = load_checkpoint(path)
        failed = f"The checkpoint '{path}' does not hold the state of this run"
        with LibraryCall(failed, error=SettingError, remedy=CHECKPOINT_REMEDY):
            for key, value in self.about.items():
                if state["about"].get(key) != value:
                    difference = _difference(key, state["about"].get(key), value)
                    raise SettingError(
                        f"The checkpoint '{path}' is of a run with other {difference}; "
                        "resume with what it was started with, or start anew with --overwrite."
                    )
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.corrections.load_state_dict(
                {name: {k: t.numpy() for k, t in saved.items()} for name, saved in state["corrections"].items()}
            )
            self._set_random_state(state["random"][self.accelerator.process_index])
            self.step, self.loss = state["step"], state["loss"]
            self.log = TrainingLog(**state["log"])
            self._since_log = state["since_log"]
            self.best_recall, self.best_step = state["best_recall"], state["best_step"]
            self.best_weights, self.without_gain = state["best_weights"], state["without_gain"]

    def _random_state(self) -> dict[str, Tensor]:
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def _set_random_state(self, states: Mapping[str, Tensor]) -> None:
        torch.set_rng_state(states["cpu"])
        if self.device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)

    def finish(self, out: Path, started: float, *, overwrite: bool) -> TrainResult:
        """Restore the best weights, write the encoder, the log and the curve, and drop the checkpoints."""
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights, strict=self.model.text is None)
        else:
            self.best_step = self.step
        published = self._published()
        metrics = {f"development_recall@10_{name}": value for name, value in published.recall.items()}
        ingredients = published.ingredients
        seconds = time.monotonic() - started
        record = self.data.record()
        training = {
            "dataset": self.about["dataset"],
            "data": self.about["data"],
            "settings": self.settings.to_dict(),
            "steps": self.step,
            "best_step": self.best_step,
            "loss": self.loss,
            "stopped_early": self.stopped_early,
            **({"ingredients": ingredients} if ingredients else {}),
        }
        parts = parts_of_model(
            self.model,
            self.data.query_tokenizer,
            self.data.ngram_tokenizer,
            training=training,
            metrics=metrics,
            record=record,
            text_tokenizer=self.data.text_tokenizer if self.model.text is not None else None,
        )
        if self.accelerator.is_main_process:
            with replace_when_whole(out, overwrite=overwrite) as partial:
                partial.mkdir(parents=True, exist_ok=True)
                write_encoder(parts, partial)
            outcome = {"steps": self.step, "best_step": self.best_step, "metrics": metrics, "seconds": seconds}
            outcome |= {"ingredients": ingredients} if ingredients else {}
            about = self.about | outcome | {"fingerprint": parts.fingerprint}
            write_training_log(self.run_folder / "training.json", self.log, about)
            best_step = self.best_step if self.best_weights is not None else None
            draw_training_curve(self.run_folder / "training_curve.png", self.log, best_step=best_step)
            remove_checkpoints(self.run_folder)
        self.accelerator.wait_for_everyone()
        return TrainResult(
            path=out,
            fingerprint=parts.fingerprint,
            run_folder=self.run_folder,
            model=self.model.eval(),
            steps=self.step,
            best_step=self.best_step,
            loss=self.loss,
            metrics=metrics,
            ingredients=ingredients,
            seconds=seconds,
            log=self.log,
            record=record,
            is_main_process=self.accelerator.is_main_process,
        )


def _difference(key: str, before: Any, now: Any) -> str:
    """What differs, by name: `settings (batch_size: 64, now 128)`."""
    if key == "content":
        return "data (the dataset's files hold something else now)"
    if isinstance(before, dict) and isinstance(now, dict):
        for name in now:
            if before.get(name) != now[name]:
                return _difference(f"{key}.{name}", before.get(name), now[name])
    return f"{key} ({before!r}, now {now!r})"
