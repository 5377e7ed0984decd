"""Candidates a second of an L1, beside LightGBM's own `predict`, and what training costs beyond LightGBM's own time.

    python benchmarks/l1.py [--rows 1000000] [--threads 2] [--runs 5] [--json FILE]

`L1Ranker.predict` takes an Arrow table, checks its columns and scores it. LightGBM is called in three ways on a
matrix that is ready: with all rows, with those of one query (1,000 candidates) a call, and with one row a call. All
give the same scores to the bit. Times are the fastest of the runs; speeds of many calls are measured on a part.

Training: `LambdaRanker.fit` on 100,000 rows beside LightGBM's data set and training of the same rows, already in
order, in alternation; the ratio is of the medians.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa

from ranking.base import Rows, train_booster
from ranking.groups import encode_queries, group_rows
from ranking.l1 import L1Ranker
from ranking.ranker import LambdaRanker

FEATURES, CANDIDATES = 8, 1000


def candidates(rows: int, seed: int = 0) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Features float32, a teacher's scores, and queries of 1,000 candidates each."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    teacher = values[:, 0] + values[:, 1] * values[:, 2] + 0.3 * rng.normal(size=rows)
    table = pa.table({f"f{place}": values[:, place] for place in range(FEATURES)})
    return table, teacher, np.arange(rows) // CANDIDATES


def fastest(runs: int, call: Callable[[], Any]) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def scoring(rows: int, threads: int, runs: int) -> dict[str, float]:
    table, teacher, queries = candidates(50_000)
    model = L1Ranker(threads=threads).fit(table, teacher, query_ids=queries)
    table, _, _ = candidates(rows, seed=1)
    matrix = np.column_stack([table[name].to_numpy() for name in table.column_names]).astype(np.float64)
    booster: lightgbm.Booster = model.booster_
    part = min(rows, 100_000)
    single = min(rows, 2_000)
    np.testing.assert_array_equal(model.predict(table), booster.predict(matrix, num_threads=threads))
    queries_of = [slice(start, start + CANDIDATES) for start in range(0, part, CANDIDATES)]
    tables = [table.slice(piece.start, CANDIDATES) for piece in queries_of]
    calls: dict[str, tuple[int, Callable[[], Any]]] = {
        "L1Ranker, one table": (rows, lambda: model.predict(table)),
        "L1Ranker, a query a call": (part, lambda: [model.predict(piece) for piece in tables]),
        "LightGBM, one matrix": (rows, lambda: booster.predict(matrix, num_threads=threads)),
        "LightGBM, a query a call": (
            part, lambda: [booster.predict(matrix[piece], num_threads=threads) for piece in queries_of]
        ),
        "LightGBM, a row a call": (
            single, lambda: [booster.predict(matrix[row : row + 1], num_threads=threads) for row in range(single)]
        ),
    }  # fmt: skip
    return {name: count / fastest(runs, call) for name, (count, call) in calls.items()}


def training(threads: int, runs: int) -> dict[str, float]:
    table, teacher, queries = candidates(100_000)
    grades = np.clip(np.round(teacher), 0, 3).astype(int)
    model = LambdaRanker(n_estimators=100, threads=threads)
    held = model._training_features(table)
    codes, distinct = encode_queries(queries, len(grades))
    groups = group_rows(codes, distinct, held.values, grades)
    rows = Rows(np.ascontiguousarray(held.values[groups.order]), grades[groups.order], groups.sizes)
    parameters = model._parameters(None, 3, held)
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(fastest(1, lambda: model.fit(table, grades, query_ids=queries)))
        theirs.append(fastest(1, lambda: train_booster(parameters, held.names, rows, rounds=100)))
    whole, own = statistics.median(ours), statistics.median(theirs)
    return {"fit, seconds": whole, "LightGBM alone, seconds": own, "ratio": whole / own}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    speeds = scoring(arguments.rows, arguments.threads, arguments.runs)
    for name, speed in speeds.items():
        print(f"{name:28} {speed:14,.0f} candidates a second")
    times = training(arguments.threads, arguments.runs)
    for name, value in times.items():
        print(f"{name:28} {value:14.3f}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": platform.processor(), "settings": vars(arguments), **speeds, **times}, file, indent=2)


if __name__ == "__main__":
    main()
