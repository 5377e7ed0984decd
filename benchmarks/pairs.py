"""How fast pairs are made from a log: omnifeat against a DuckDB query written by hand, in the same run.

    python benchmarks/pairs.py --rows 20000000 --threads 2 --memory-limit 512MB

A log is drawn (queries and entities unevenly, as search logs draw them; five actions; 900 days) and written to Parquet
beside the pins and products that it names, in a dataset folder with a split by time. Each contestant reads it in a
process of its own, with the same number of threads, and writes the pairs, in order of time:

- `by hand`: one DuckDB query, with the times of the split, the actions and the caps written into it. It checks no row
  and no id, counts nothing for a report and draws no corpus. At 20 million rows it fails under 512MB: it has a limit of
  its own, `--hand-memory-limit`;
- `make_pairs`: the library call behind `omnifeat pairs`, with all its checks, its report and its corpus;
- `with as much memory`: the same under the limit that the query by hand has.

The results are compared, row by row. Time is from the first read to the closed output, imports left out, the best of
`--repeat` runs that take turns; where other work shares the cores, compare core seconds. Memory is the largest resident
size of the process, libraries included.
"""

import json
import shutil
import tempfile
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from logs import DAYS, FIRST_DAY, GIB, compare, connect, entity_ids, in_a_process, log_options, write_log

from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import TimeSplit

_START = datetime.combine(FIRST_DAY, time(), UTC)
SPLIT = TimeSplit(
    development_from=_START + timedelta(days=DAYS - 90), test_from=_START + timedelta(days=DAYS - 45), gap_days=2
)
COLUMNS = "query, entity_id, entity_type, action, timestamp, log_rows"


def write_dataset(folder: Path, rows: int, entities: int, queries: int, parts: int, seed: int) -> list[Path]:
    """The dataset folder, and the files of its log."""
    ids, is_product = entity_ids(entities), np.arange(entities) % 4 == 0
    with DatasetWriter(folder, DatasetInfo(name="drawn", split=SPLIT)) as writer:
        writer.write("products", pa.table({"id": ids.filter(pa.array(is_product))}))
        writer.write("pins", pa.table({"id": ids.filter(pa.array(~is_product))}))
    log = folder / "engagements"
    log.mkdir()
    return write_log(log, rows, entities, queries, parts, seed)


def by_hand(files: list[Path], folder: Path, threads: int, memory: str) -> Path:
    out = folder / "by-hand.parquet"
    listed = ", ".join(f"'{file}'" for file in files)
    gap = timedelta(days=SPLIT.gap_days)
    moments = [SPLIT.test_from, SPLIT.test_from - gap, SPLIT.development_from, SPLIT.development_from - gap]
    test, test_gap, development, development_gap = (f"TIMESTAMPTZ '{moment.isoformat()}'" for moment in moments)
    sql = f"""
        WITH log AS (
            SELECT *,
                CASE WHEN timestamp >= {test} THEN 2 WHEN timestamp >= {test_gap} THEN NULL
                    WHEN timestamp >= {development} THEN 1 WHEN timestamp >= {development_gap} THEN NULL ELSE 0
                END AS part,
                CASE WHEN action IN ('save', 'long_click') THEN entity_type || 's'
                    WHEN action <> 'click' AND entity_type = 'product' THEN 'products_offsite'
                END AS task
            FROM read_parquet([{listed}])
        ), pairs AS MATERIALIZED (
            SELECT part, task, query, entity_id, entity_type, action, min(timestamp) AS timestamp,
                count(*) AS log_rows, md5_number(concat_ws(chr(31), '0', task, query, entity_id)) AS lot
            FROM log WHERE part IS NOT NULL AND task IS NOT NULL GROUP BY ALL
        ), chosen AS (
            SELECT * FROM pairs WHERE part = 0
            QUALIFY dense_rank() OVER (PARTITION BY task, entity_id ORDER BY lot)
                <= CASE entity_type WHEN 'pin' THEN 50 ELSE 200 END
            UNION ALL
            SELECT * FROM pairs WHERE part > 0
            QUALIFY row_number() OVER (PARTITION BY part, entity_type, action ORDER BY lot) <= 80000
        )
        SELECT {COLUMNS} FROM chosen ORDER BY timestamp, query, entity_type, entity_id, action, part
    """
    connection = connect(memory, threads, folder / "spill")
    connection.execute(f"COPY ({sql}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
    connection.close()
    return out


def ours(data: Path, out: Path, threads: int, memory: str) -> Path:
    from omnifeat.enrich.pairs import make_pairs

    make_pairs(Dataset.open(data), out, threads=threads, memory_limit=memory, overwrite=True)
    return out / "engagements.parquet"


def main() -> None:
    options = log_options(__doc__).parse_args()
    folder = Path(tempfile.mkdtemp(prefix="omnifeat-bench-"))
    try:
        drawn = (options.rows, options.entities, options.queries, options.parts, options.seed)
        files = write_dataset(folder / "data", *drawn)
        size = sum(file.stat().st_size for file in files)
        print(f"{options.rows:,} rows in {len(files)} files, {size / GIB:.2f} GiB", flush=True)
        runs: dict[str, list[dict]] = {"by hand": [], "make_pairs": []}
        if options.hand_memory_limit != options.memory_limit:
            runs["with as much memory"] = []
        for _ in range(options.repeat):
            for name, taken in runs.items():
                memory = options.memory_limit if name == "make_pairs" else options.hand_memory_limit
                if name == "by hand":
                    taken.append(in_a_process(name, by_hand, files, folder, options.threads, memory))
                else:
                    out = folder / name.replace(" ", "-")
                    taken.append(in_a_process(name, ours, folder / "data", out, options.threads, memory))
        print(json.dumps({"rows": options.rows, **compare(runs, "pairs")}))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
