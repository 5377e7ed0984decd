"""Training an encoder, from a dataset folder to a frozen encoder folder (sections 3.5 and 4.1).

Runs on `accelerate`: a CPU or an accelerator, float32 or bf16, one process or several (`torchrun`, `accelerate
launch`). Everything that a step does follows from the seed, its number and the weights before it; so a run that is
taken up from a checkpoint gives the losses of one that never stopped.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState

from omnifeat.data.dataset import Dataset
from omnifeat.data.locks import working_in
from omnifeat.data.publishing import refuse_taken, sweep_partials
from omnifeat.errors import OutputError
from omnifeat.models.config import EncoderConfig
from omnifeat.training.checkpoint import latest_checkpoint, remove_checkpoints
from omnifeat.training.pooled_outputs import PooledOutputs
from omnifeat.training.run import Progress, TrainingRun, TrainResult
from omnifeat.training.settings import TrainSettings
from omnifeat.training.threads import thread_limit

__all__ = ["Progress", "TrainResult", "run_folder_of", "train"]


def run_folder_of(out: Path) -> Path:
    """Where the log, the curve and the checkpoints of an encoder are: beside it, `NAME.run`."""
    return out.parent / f"{out.name}.run"


def train(
    dataset: Dataset,
    config: EncoderConfig,
    settings: TrainSettings,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    pooled: PooledOutputs | None = None,
) -> TrainResult:
    """Train an encoder and freeze it.

    Parameters
    ----------
    dataset
        Dataset with `engagements` and the tables of their entities. The train part of its split is trained on, the
        development part measures; without a split all is trained on and nothing is measured.
    config, settings
        What to train, and how.
    out
        Folder of the frozen encoder; log, curve and checkpoints go to `NAME.run` beside it.
    resume
        Go on from the newest checkpoint of the run (or start, where there is none).
    overwrite
        Replace an encoder and a run that are there.
    threads
        Threads of torch and numba; as many as torch uses now if None.
    on_progress
        Called after each step, in the first process alone.
    pooled
        Where the outputs of a query transformer that is not trained are kept for other trainings on the same queries.

    Raises
    ------
    DataError
        The dataset cannot be trained on; see `prepare_training_data`.
    EncoderError
        The pretrained query encoder cannot be loaded.
    SettingError
        The loss is no longer a number, or the run that is to be resumed had other settings or data.
    OutputError
        The output is there already, or cannot be written.
    """
    started, out = time.monotonic(), Path(out)
    run_folder = run_folder_of(out)
    _check_target(out, run_folder, resume=resume, overwrite=overwrite)
    # of several processes the first one writes
    alone = working_in(run_folder) if int(os.environ.get("RANK", "0")) == 0 else nullcontext()
    devices = range(torch.cuda.device_count())  # the caller's random numbers are left as they were
    with alone, thread_limit(threads), torch.random.fork_rng(devices=devices), _accelerator(settings) as accelerator:
        run = TrainingRun(dataset, config, settings, run_folder, accelerator, pooled)
        if resume:
            run.restore()
        elif accelerator.is_main_process:
            remove_checkpoints(run_folder)
        run.prepare_text()
        run.loop(on_progress)
        return run.finish(out, started, overwrite=overwrite)


def _check_target(out: Path, run_folder: Path, *, resume: bool, overwrite: bool) -> None:
    sweep_partials(out.absolute())
    refuse_taken(out.absolute(), f"'{out}'", overwrite=True)  # a link, a pipe or a device
    if out.exists() and not (out / "config.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"'{out}' is there and is no encoder folder; give another folder.")
    # found out now rather than when the training is over; nothing is made here, for the data may yet be refused
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"'{out}' cannot be written, for '{parent}' is no folder that may be; give another folder.")
    if overwrite:
        return
    if (out / "config.json").is_file():
        raise OutputError(f"'{out}' is there already; give another folder, or --overwrite to replace it.")
    if not resume and latest_checkpoint(run_folder) is not None:
        raise OutputError(
            f"'{run_folder}' holds checkpoints of an unfinished run; give --resume to go on with it, or --overwrite "
            "to start anew."
        )


@contextmanager
def _accelerator(settings: TrainSettings) -> Iterator[Accelerator]:
    # accelerate keeps its state for the whole process and refuses other settings; each run here has its own
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision=settings.mixed_precision,
        cpu=settings.device == "cpu",
        # a transformer may have weights that its last layer's output does not depend on (BERT's pooler)
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    try:
        yield accelerator
    finally:
        AcceleratorState._reset_state()
