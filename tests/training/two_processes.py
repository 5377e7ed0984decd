"""What `test_two_processes.py` runs in each of two processes: loss and gradients of one batch, a short training."""

import dataclasses
import sys
from pathlib import Path

import torch
import torch.distributed
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from omnifeat.data.dataset import Dataset
from omnifeat.models.config import EncoderConfig, preset
from omnifeat.models.omni import build_model
from omnifeat.training.batches import BatchSampler
from omnifeat.training.correction import Corrections
from omnifeat.training.objective import Objective
from omnifeat.training.prepare import prepare_training_data
from omnifeat.training.settings import TrainSettings, train_preset
from omnifeat.training.trainer import train

BATCH = 37  # odd, so that the two parts differ in size


def config() -> EncoderConfig:
    # without dropout, whose random numbers differ between the processes
    tiny = preset("tiny")
    return dataclasses.replace(tiny, query=dataclasses.replace(tiny.query, dropout=0.0), matryoshka={8: 0.5})


def settings() -> TrainSettings:
    return dataclasses.replace(
        train_preset("tiny"), steps=4, batch_size=BATCH, evaluate_every=2, checkpoint_every=2, device="cpu"
    )


def loss_and_gradients(dataset: Dataset, accelerator: Accelerator | None) -> dict[str, Tensor]:
    """Loss of one batch, task losses and gradients, over all processes of the accelerator."""
    process, processes = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    data = prepare_training_data(dataset, config())
    model = build_model(data.config, data.query_tokenizer, data.ngram_tokenizer.size, seed=1)
    sampler = BatchSampler(
        data.pair_sets,
        {pairs.entity_type: data.catalogue.size(pairs.entity_type) for pairs in data.pair_sets},
        batch_size=BATCH,
        weights={},
        random_negatives=2,
        seed=3,
    )
    corrections = Corrections(
        data.tasks,
        {task.name: data.present(task) for task in data.tasks},
        {task.name: data.negatives_catalogue(task) for task in data.tasks},
        settings(),
    )
    parts = sampler.batch(0)
    objective: nn.Module = Objective(model, data, block_rows=5, process=process, processes=processes)
    if accelerator is not None:
        objective = accelerator.prepare_model(objective)
    total, by_task = objective(parts, corrections.observe(parts))
    total.backward()
    total, by_task = total.detach() / processes, by_task.detach()
    if accelerator is not None:
        torch.distributed.all_reduce(total)
        torch.distributed.all_reduce(by_task)
    gradients = {f"gradient {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {"total": total, "by_task": by_task, **gradients}


def main(dataset: str, out: str) -> None:
    torch.set_num_threads(1)
    opened = Dataset.open(dataset)
    accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    found = loss_and_gradients(opened, accelerator)
    if accelerator.is_main_process:
        torch.save(found, Path(out) / "found.pt")
    train(opened, config(), settings(), Path(out) / "encoder")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
