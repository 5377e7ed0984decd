"""Blockwise against dense sampled softmax: peak memory and time of forward and backward.

    python benchmarks/loss.py [--batch 2048 --negatives 8192 --dim 256 --rounds 7 --threads 2] [--json]

Peak memory is each variant's largest resident set above what is resident with its inputs made, measured in a spawned
process of its own (the largest resident set of a process never falls). Time is the median of several rounds,
the two variants by turns in one process. Targets: a quarter of the memory, 1.25 times the time.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch

from omnifeat.training.loss import negative_masks, sampled_softmax_loss, sampled_softmax_loss_dense

MEMORY_TARGET, TIME_TARGET = 0.25, 1.25
LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "dense": sampled_softmax_loss_dense,
    "blockwise": sampled_softmax_loss,
}


def make_inputs(batch: int, negatives: int, dim: int) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Random unit vectors; ids such that a batch has some repeated queries and entities."""
    generator = torch.Generator().manual_seed(0)
    vectors = [
        torch.nn.functional.normalize(torch.randn(rows, dim, generator=generator), dim=1).requires_grad_()
        for rows in (batch, batch, negatives)
    ]
    ids = [torch.randint(0, 4 * batch, (rows,), generator=generator) for rows in (batch, batch, negatives)]
    rows, columns = negative_masks(ids[0], ids[1], ids[2])
    keywords = {
        "log_q_positive_B": torch.rand(batch, generator=generator).log(),
        "log_q_negative_N": torch.rand(negatives, generator=generator).log(),
        "masked_rows": rows,
        "masked_columns": columns,
        "scale": torch.tensor(1 / 0.07, requires_grad=True),
    }
    return vectors, keywords


def forward_and_backward(loss: Callable[..., torch.Tensor], inputs: tuple[Any, Any]) -> float:
    """Seconds of one loss with its gradients."""
    vectors, keywords = inputs
    for leaf in (*vectors, keywords["scale"]):
        leaf.grad = None
    start = time.perf_counter()
    loss(*vectors, **keywords).backward()
    return time.perf_counter() - start


def peak_memory(name: str, batch: int, negatives: int, dim: int, threads: int) -> int:
    """Bytes above the inputs; to be called in a process of its own."""
    torch.set_num_threads(threads)
    # code and buffers that any use of torch brings must not count for the first variant
    forward_and_backward(LOSSES[name], make_inputs(32, 64, dim))
    inputs = make_inputs(batch, negatives, dim)
    unit = 1 if sys.platform == "darwin" else 1024
    # what is resident now, not the largest so far: that one may hide a part of what the loss takes
    before = psutil.Process().memory_info().rss
    forward_and_backward(LOSSES[name], inputs)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before


def measure(batch: int, negatives: int, dim: int, rounds: int, threads: int) -> dict[str, Any]:
    """All figures of one run."""
    context = multiprocessing.get_context("spawn")
    memory = {}
    for name in LOSSES:
        with context.Pool(1) as pool:
            memory[name] = pool.apply(peak_memory, (name, batch, negatives, dim, threads))
    torch.set_num_threads(threads)
    inputs = make_inputs(batch, negatives, dim)
    times: dict[str, list[float]] = {name: [] for name in LOSSES}
    for loss in LOSSES.values():
        forward_and_backward(loss, inputs)
    for _ in range(rounds):
        for name, loss in LOSSES.items():
            times[name].append(forward_and_backward(loss, inputs))
    seconds = {name: statistics.median(measured) for name, measured in times.items()}
    return {
        "batch": batch,
        "negatives": negatives,
        "dim": dim,
        "threads": threads,
        "rounds": rounds,
        "peak_bytes": memory,
        "memory_ratio": memory["blockwise"] / memory["dense"],
        "seconds": seconds,
        "time_ratio": seconds["blockwise"] / seconds["dense"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 2_048), ("negatives", 8_192), ("dim", 256), ("rounds", 7), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    result = measure(**options)
    if as_json:
        print(json.dumps(result))
        return
    print(
        f"{result['batch']} pairs, {result['negatives']} negatives, {result['dim']} wide, {result['threads']} threads"
    )
    for name in LOSSES:
        mib = result["peak_bytes"][name] / 2**20
        print(f"{name:>10}  {mib:8.1f} MiB  {1_000 * result['seconds'][name]:8.1f} ms")
    print(f"    memory  {result['memory_ratio']:.3f} of the dense one (target {MEMORY_TARGET})")
    print(f"      time  {result['time_ratio']:.3f} of the dense one (target {TIME_TARGET})")


if __name__ == "__main__":
    main()
