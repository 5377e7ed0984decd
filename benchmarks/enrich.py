"""How fast engaged queries are aggregated: omnifeat against a DuckDB query written by hand, in the same run.

    python benchmarks/enrich.py --rows 20000000 --threads 2 --memory-limit 512MB

A log is drawn (queries and entities unevenly, as search logs draw them; five actions; 900 days) and written to Parquet.
Each contestant reads it in a process of its own, with the same number of threads, and writes Parquet of the top 20
queries of each entity:

- `by hand`: one DuckDB query, with the days of the window written into it, and no check of any row. At 20 million rows
  it fails under 512MB, for its lists don't spill: it has a limit of its own, `--hand-memory-limit`;
- `engaged_queries`: the library call behind `omnifeat enrich queries`, hashing of the log, checks and window included;
- `with as much memory`: the same under the limit that the query by hand has;
- `first run with a state`, `a month later`, `a day later`: the same with a state, first with all files of the log but
  the last two, then with the next one, of a month, then with the last, of a day.

The results are compared, row by row. Time is from the first read to the closed output, imports left out, the best of
`--repeat` runs that take turns; where other work shares the cores, compare core seconds. Memory is the largest resident
size of the process, libraries included.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GIB = 2**30
FIRST_DAY = date(2022, 1, 1)
DAYS, WINDOW = 900, 730
_DAY_US = 86_400_000_000


def write_log(folder: Path, rows: int, entities: int, queries: int, parts: int, seed: int) -> list[Path]:
    """A log in order of time, in files of equal size, but for the last, which holds the last day."""
    rng = np.random.default_rng(seed)
    texts = pa.array([f"antique copper bathroom sink number {i}" for i in range(queries)])
    ids = pa.array([f"pin-{i:09d}" for i in range(entities)])
    actions = pa.array(["click", "long_click", "save", "add_to_cart", "checkout"])
    types = pa.array(["pin", "product"])
    start = (FIRST_DAY - date(1970, 1, 1)).days * _DAY_US
    files = []
    days = np.append(np.arange(parts) * (DAYS - 1) // (parts - 1), DAYS)  # the day with which each part begins
    for part in range(parts):
        count = rows * int(days[part + 1]) // DAYS - rows * int(days[part]) // DAYS
        path = folder / f"part-{part:03}.parquet"
        span = int(days[part + 1] - days[part]) * _DAY_US
        writer = None
        for begin in range(0, count, 1_000_000):
            n = min(1_000_000, count - begin)
            entity = (entities * rng.random(n) ** 3).astype(np.int64)
            query = (entity * 7919 + (200 * rng.random(n) ** 3).astype(np.int64) * 31) % queries
            moments = start + int(days[part]) * _DAY_US + rng.integers(0, span, n)
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


def by_hand(files: list[Path], out: Path, threads: int, memory: str, folder: Path, last: date) -> None:
    import duckdb

    listed = ", ".join(f"'{file}'" for file in files)
    begin = ((last - date(1970, 1, 1)).days - WINDOW + 1) * _DAY_US
    sql = f"""
        WITH pairs AS (
            SELECT entity_type, entity_id, query, max(timestamp) AS moment, sum(CASE action
                WHEN 'click' THEN 1 WHEN 'long_click' THEN 2 WHEN 'save' THEN 4 WHEN 'add_to_cart' THEN 6 ELSE 8 END
            ) AS score
            FROM read_parquet([{listed}])
            WHERE entity_type <> 'query' AND timestamp >= make_timestamptz({begin})
            GROUP BY ALL
        )
        SELECT entity_type, entity_id, list(query ORDER BY place) AS values FROM (
            SELECT *, row_number() OVER (
                PARTITION BY entity_type, entity_id
                ORDER BY score DESC, make_timestamp(epoch_us(moment))::DATE DESC, query
            ) AS place
            FROM pairs QUALIFY place <= 20
        ) GROUP BY ALL
    """
    connection = duckdb.connect(
        config={"memory_limit": memory, "threads": str(threads), "temp_directory": str(folder / "spill")}
    )
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"COPY ({sql}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
    connection.close()


def ours(files: list[Path], out: Path, threads: int, memory: str, folder: Path, state: Path | None) -> None:
    from omnifeat.data.files import open_parts
    from omnifeat.engines import LocalEngine
    from omnifeat.enrich.queries import QuerySettings, engaged_queries

    engine = LocalEngine(memory, threads, temporary=folder)
    parts = [part for file in files for part in open_parts(file)]
    engaged_queries(parts, out, split=None, settings=QuerySettings(), engine=engine, folder=folder, state=state)


def measure(name: str, files: list[Path], folder: Path, threads: int, memory: str, last: date, results) -> None:
    """Run one contestant in this process and put its time and memory."""
    import duckdb  # noqa: F401

    import omnifeat.engines
    import omnifeat.enrich.queries  # noqa: F401

    work = folder / "work"
    work.mkdir(exist_ok=True)
    out = folder / f"{name.replace(' ', '-')}.parquet"
    before = os.times()
    start = time.perf_counter()
    if name == "by hand":
        by_hand(files, out, threads, memory, work, last)
    else:
        ours(files, out, threads, memory, work, folder / "state" if "state" in name or "later" in name else None)
    seconds = time.perf_counter() - start
    after = os.times()
    results.put(
        {
            "name": name,
            "seconds": seconds,
            "core_seconds": after.user + after.system - before.user - before.system,
            "peak": peak_memory(),
            "load": os.getloadavg()[0],
            "output": str(out),
        }
    )


def peak_memory() -> int:
    """Largest resident size of this process. Not `ru_maxrss`, in which a new process has its parent's to begin with."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not say how much memory a process took")


def in_a_process(*arguments) -> dict:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=measure, args=(*arguments, results))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{arguments[0]}: failed with exit code {process.exitcode}")
    result = results.get()
    print(
        f"{result['name']:24} {result['seconds']:7.1f} s ({result['core_seconds']:.1f} core seconds), "
        f"peak {result['peak'] / GIB:.2f} GiB, load {result['load']:.1f}",
        flush=True,
    )
    return result


def differences(one: str, other: str) -> int:
    """Rows of one result that the other does not have, either way."""
    import duckdb

    count = 0
    for left, right in ((one, other), (other, one)):
        sql = f"SELECT count(*) FROM (SELECT * FROM '{left}' EXCEPT ALL SELECT * FROM '{right}')"
        count += duckdb.connect(config={"memory_limit": "1500MB", "threads": "2"}).execute(sql).fetchall()[0][0]
    return count


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200_000)
    parser.add_argument("--parts", type=int, default=31)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-limit", default="512MB")
    parser.add_argument("--hand-memory-limit", default="1500MB")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--no-state", action="store_true", help="leave the runs with a state out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="omnifeat-bench-"))
    try:
        (folder / "log").mkdir()
        shape = (options.rows, options.entities, options.queries, options.parts, options.seed)
        files = write_log(folder / "log", *shape)
        size = sum(file.stat().st_size for file in files)
        last = pq.read_table(files[-1], columns=["timestamp"])["timestamp"].to_numpy().max()
        last_day = last.astype("datetime64[D]").item()
        print(f"{options.rows:,} rows in {len(files)} files, {size / GIB:.2f} GiB; last day {last_day}", flush=True)
        rest = (folder, options.threads, options.memory_limit, last_day)
        roomy = (folder, options.threads, options.hand_memory_limit, last_day)
        runs: dict[str, list[dict]] = {"by hand": [], "engaged_queries": [], "with as much memory": []}
        for _ in range(options.repeat):
            for name, taken in runs.items():
                taken.append(in_a_process(name, files, *(rest if name == "engaged_queries" else roomy)))
        best = {name: min(taken, key=lambda run: run["seconds"]) for name, taken in runs.items()}
        least = {name: min(run["core_seconds"] for run in taken) for name, taken in runs.items()}
        rows = pq.read_metadata(best["by hand"]["output"]).num_rows
        summary: dict[str, object] = {"rows": options.rows, "entities": rows, **best}
        for name in ("engaged_queries", "with as much memory"):
            ratio = best[name]["seconds"] / best["by hand"]["seconds"]
            core_ratio = least[name] / least["by hand"]
            unlike = differences(best["by hand"]["output"], best[name]["output"])
            print(
                f"{name} / by hand: {ratio:.2f}, in core seconds {core_ratio:.2f}; "
                f"{rows:,} entities, {unlike} rows differ",
                flush=True,
            )
            summary[f"{name} ratios"] = {"seconds": ratio, "core_seconds": core_ratio, "rows_that_differ": unlike}
        if not options.no_state:
            runs_of = {"first run with a state": files[:-2], "a month later": files[:-1], "a day later": files}
            taken_of = {name: in_a_process(name, some, *rest) for name, some in runs_of.items()}
            unlike = differences(best["by hand"]["output"], taken_of["a day later"]["output"])
            sizes = {kind: folder_size(folder / "state" / kind) for kind in ("counts", "lists")}
            print(
                f"state: {sizes['counts'] / GIB:.2f} GiB of counts, {sizes['lists'] / GIB:.2f} GiB of lists; "
                f"{unlike} rows differ from one run over the whole log"
            )
            summary |= {"state": taken_of, "state_bytes": sizes, "state_differ": unlike}
        print(json.dumps(summary))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
