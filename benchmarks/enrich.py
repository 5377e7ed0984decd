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

import json
import shutil
import tempfile
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from logs import DAY_US, GIB, compare, connect, differences, in_a_process, log_options, write_log

WINDOW = 730


def by_hand(files: list[Path], folder: Path, threads: int, memory: str, last: date) -> Path:
    out = folder / "by-hand.parquet"
    listed = ", ".join(f"'{file}'" for file in files)
    begin = ((last - date(1970, 1, 1)).days - WINDOW + 1) * DAY_US
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
    connection = connect(memory, threads, folder / "spill")
    connection.execute(f"COPY ({sql}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
    connection.close()
    return out


def ours(files: list[Path], folder: Path, threads: int, memory: str, state: Path | None, name: str) -> Path:
    from omnifeat.data.files import open_parts
    from omnifeat.engines import LocalEngine
    from omnifeat.enrich.queries import QuerySettings, engaged_queries

    work, out = folder / "work", folder / f"{name}.parquet"
    work.mkdir(exist_ok=True)
    engine = LocalEngine(memory, threads, temporary=work)
    parts = [part for file in files for part in open_parts(file)]
    engaged_queries(parts, out, split=None, settings=QuerySettings(), engine=engine, folder=work, state=state)
    return out


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    parser = log_options(__doc__)
    parser.add_argument("--no-state", action="store_true", help="leave the runs with a state out")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="omnifeat-bench-"))
    try:
        (folder / "log").mkdir()
        drawn = (options.rows, options.entities, options.queries, options.parts, options.seed)
        files = write_log(folder / "log", *drawn)
        size = sum(file.stat().st_size for file in files)
        last = pq.read_table(files[-1], columns=["timestamp"])["timestamp"].to_numpy().max()
        last_day = last.astype("datetime64[D]").item()
        print(f"{options.rows:,} rows in {len(files)} files, {size / GIB:.2f} GiB; last day {last_day}", flush=True)
        shape, roomy = (folder, options.threads), options.hand_memory_limit
        runs: dict[str, list[dict]] = {"by hand": [], "engaged_queries": [], "with as much memory": []}
        for _ in range(options.repeat):
            for name, taken in runs.items():
                if name == "by hand":
                    taken.append(in_a_process(name, by_hand, files, *shape, roomy, last_day))
                else:
                    memory = options.memory_limit if name == "engaged_queries" else roomy
                    taken.append(in_a_process(name, ours, files, *shape, memory, None, name.replace(" ", "-")))
        summary = {"rows": options.rows, **compare(runs, "entities")}
        if not options.no_state:
            known = (*shape, options.memory_limit, folder / "state")
            taken_of = {
                name: in_a_process(name, ours, some, *known, name.replace(" ", "-"))
                for name, some in {
                    "first run with a state": files[:-2], "a month later": files[:-1], "a day later": files,
                }.items()
            }  # fmt: skip
            unlike = differences(runs["by hand"][0]["output"], taken_of["a day later"]["output"])
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
