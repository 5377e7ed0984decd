"""Sums of hashed tokens with gradients, the compiled loops against torch's own operations: median time by turns.

    python benchmarks/hash_bags.py [--bags 2048 --tokens 110 --vocabulary 182000 --rows 50000 --dim 128 --threads 2]

Token ids follow a Zipf law with exponent 1.2, as words do: most tokens of a batch have come before.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from omnifeat.models.hash_embedding import HashEmbedding, plain_bag_sums
from omnifeat.models.hashed_bags import hashed_bag_sums

SUMS: dict[str, Callable[..., torch.Tensor]] = {"torch": plain_bag_sums, "compiled": hashed_bag_sums}


def main() -> int:
    """Print seconds of one forward and backward pass, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (
        ("bags", 2048), ("tokens", 110), ("vocabulary", 182_000), ("rows", 50_000), ("dim", 128), ("rounds", 9),
        ("threads", 2),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    embedding = HashEmbedding(args.vocabulary, args.rows, args.dim)
    rng = np.random.default_rng(0)
    number = args.bags * args.tokens
    ids = torch.from_numpy((rng.zipf(1.2, number) % args.vocabulary).astype(np.int64))
    offsets = torch.from_numpy(np.sort(np.r_[0, rng.integers(0, number, args.bags - 1), number]))
    out = torch.randn(args.bags, args.dim)

    def seconds(sums: Callable[..., torch.Tensor]) -> float:
        embedding.zero_grad()
        start = time.perf_counter()
        (sums(embedding.table, embedding.importance, embedding.token_rows, ids, offsets) * out).sum().backward()
        return time.perf_counter() - start

    times: dict[str, list[float]] = {name: [] for name in SUMS}
    for turn in range(args.rounds + 1):
        for name, sums in SUMS.items():
            taken = seconds(sums)
            if turn:  # the first round compiles and touches the memory
                times[name].append(taken)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    result = {
        "bags": args.bags, "tokens": number, "distinct": len(torch.unique(ids)), "threads": args.threads,
        "seconds": medians, "ratio": medians["compiled"] / medians["torch"],
    }  # fmt: skip
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{args.bags:,} bags, {number:,} tokens, {result['distinct']:,} distinct; {args.threads} threads")
        for name, median in medians.items():
            print(f"{name:10} {median * 1000:8.1f} ms")
        print(f"ratio {result['ratio']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
