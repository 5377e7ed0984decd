"""What benchmarks of aggregations share: a log to read, processes of their own, and the comparison of results."""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GIB = 2**30
FIRST_DAY = date(2022, 1, 1)
DAYS = 900
DAY_US = 86_400_000_000


def log_options(description: str | None) -> argparse.ArgumentParser:
    """What benchmarks over a log are asked for: its size, and what each contestant may take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200_000)
    parser.add_argument("--parts", type=int, default=31)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-limit", default="512MB")
    parser.add_argument("--hand-memory-limit", default="1500MB")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def write_log(folder: Path, rows: int, entities: int, queries: int, parts: int, seed: int) -> list[Path]:
    """A log in order of time; every fourth entity is a product. The last file holds the last day; others are alike."""
    rng = np.random.default_rng(seed)
    texts = pa.array([f"antique copper bathroom sink number {i}" for i in range(queries)])
    ids = entity_ids(entities)
    actions = pa.array(["click", "long_click", "save", "add_to_cart", "checkout"])
    types = pa.array(["pin", "product"])
    start = (FIRST_DAY - date(1970, 1, 1)).days * DAY_US
    files = []
    days = np.append(np.arange(parts) * (DAYS - 1) // (parts - 1), DAYS)  # the day with which each part begins
    for part in range(parts):
        count = rows * int(days[part + 1]) // DAYS - rows * int(days[part]) // DAYS
        path = folder / f"part-{part:03}.parquet"
        span = int(days[part + 1] - days[part]) * DAY_US
        writer = None
        for begin in range(0, count, 1_000_000):
            n = min(1_000_000, count - begin)
            entity = (entities * rng.random(n) ** 3).astype(np.int64)
            query = (entity * 7919 + (200 * rng.random(n) ** 3).astype(np.int64) * 31) % queries
            moments = start + int(days[part]) * DAY_US + rng.integers(0, span, n)
            table = pa.table(
                {
                    "query": texts.take(pa.array(query)),
                    "entity_id": ids.take(pa.array(entity)),
                    "entity_type": types.take(pa.array((entity % 4 == 0).astype(np.int64))),
                    "action": actions.take(pa.array(rng.choice(5, n, p=[0.5, 0.2, 0.2, 0.07, 0.03]))),
                    "timestamp": pa.array(moments, pa.timestamp("us", "UTC")),
                }
            )
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=131_072)
        if writer is not None:
            writer.close()
            files.append(path)
    return files


def entity_ids(entities: int) -> pa.Array:
    return pa.array([f"pin-{i:09d}" for i in range(entities)])


def connect(memory: str, threads: int, spill: Path) -> Any:
    """DuckDB as a query by hand has it: a limit, threads, and a place for what does not fit."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": memory, "threads": str(threads), "temp_directory": str(spill)})
    connection.execute("SET preserve_insertion_order = false")
    return connection


def in_a_process(name: str, contestant: Callable[..., Path], *arguments: Any) -> dict[str, Any]:
    """Run a contestant in a process of its own, and print its time and memory; `output` is the path that it returns."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_measure, args=(results, contestant, arguments))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{name}: failed with exit code {process.exitcode}")
    result = {"name": name, **results.get()}
    print(
        f"{name:24} {result['seconds']:7.1f} s ({result['core_seconds']:.1f} core seconds), "
        f"peak {result['peak'] / GIB:.2f} GiB, load {result['load']:.1f}",
        flush=True,
    )
    return result


def _measure(results: Any, contestant: Callable[..., Path], arguments: tuple[Any, ...]) -> None:
    import duckdb  # noqa: F401

    import omnifeat.engines
    import omnifeat.enrich.pairs
    import omnifeat.enrich.queries  # noqa: F401

    before = os.times()
    start = time.perf_counter()
    output = contestant(*arguments)
    seconds = time.perf_counter() - start
    after = os.times()
    results.put(
        {
            "seconds": seconds,
            "core_seconds": after.user + after.system - before.user - before.system,
            "peak": _peak_memory(),
            "load": os.getloadavg()[0],
            "output": str(output),
        }
    )


def _peak_memory() -> int:
    """Largest resident size of this process. Not `ru_maxrss`, in which a new process has its parent's to begin with."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not say how much memory a process took")


def differences(one: str, other: str) -> int:
    """Rows of one result that the other does not have, either way."""
    import duckdb

    count = 0
    for left, right in ((one, other), (other, one)):
        sql = f"SELECT count(*) FROM (SELECT * FROM '{left}' EXCEPT ALL SELECT * FROM '{right}')"
        count += duckdb.connect(config={"memory_limit": "1500MB", "threads": "2"}).execute(sql).fetchall()[0][0]
    return count


def compare(runs: dict[str, list[dict[str, Any]]], unit: str) -> dict[str, Any]:
    """Print each contestant's times as multiples of those by hand, and how many rows differ; a summary of it all."""
    best = {name: min(taken, key=lambda run: run["seconds"]) for name, taken in runs.items()}
    least = {name: min(run["core_seconds"] for run in taken) for name, taken in runs.items()}
    rows = pq.read_metadata(best["by hand"]["output"]).num_rows
    summary: dict[str, Any] = {unit: rows, **best}
    for name in runs:
        if name == "by hand":
            continue
        ratio = best[name]["seconds"] / best["by hand"]["seconds"]
        core_ratio = least[name] / least["by hand"]
        unlike = differences(best["by hand"]["output"], best[name]["output"])
        print(
            f"{name} / by hand: {ratio:.2f}, in core seconds {core_ratio:.2f}; {rows:,} {unit}, {unlike} rows differ",
            flush=True,
        )
        summary[f"{name} ratios"] = {"seconds": ratio, "core_seconds": core_ratio, "rows_that_differ": unlike}
    return summary
