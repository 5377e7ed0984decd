"""How fast pairs become features from embedding tables: omnifeat against a pandas merge and a DuckDB join.

    python benchmarks/featurize.py --pairs 10000000 --entities 1000000 --queries 200000 --dim 256

Everyone reads the same Parquet files (pairs, query vectors, entity vectors) and writes a Parquet file of the pairs with
their cosine, each in a process of its own, with the same number of threads. Time is from the first read to the closed
output, tables included, interpreter start and compilation of kernels left out (each warms up on a few pairs first).
Memory is the largest resident size, less what was resident after the warm-up and less the two float32 matrices. The
slow ones may be given fewer pairs (`--pandas-pairs`, `--duckdb-pairs`): compare pairs per second.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FINGERPRINT = "benchmark"
GIB = 2**30


class LookedUp:
    """Stands in for an encoder whose every embedding is in a table: nothing is to be encoded."""

    fingerprint = FINGERPRINT

    def __init__(self, dim: int) -> None:
        from omnifeat.models.config import EncoderConfig

        self.dim = dim
        self.config = EncoderConfig(dim=dim, compatibility=())

    def encode_queries(self, texts, batch_size=256):
        raise AssertionError("all queries are in the table")

    def encode_entities(self, table, entity_type=None, batch_size=1024):
        raise AssertionError("all entities are in the table")


def write_tables(folder: Path, pairs: int, entities: int, queries: int, dim: int, seed: int) -> None:
    """Random unit vectors, and pairs whose queries and entities are drawn as search logs draw them: unevenly."""
    from omnifeat.embedding_table import embedding_schema, open_writer, vector_array

    rng = np.random.default_rng(seed)
    names = {"entities": ("pin-{:09d}", entities), "queries": ("query number {} of many", queries)}
    for kind, (form, count) in names.items():
        schema = embedding_schema(kind, FINGERPRINT, dim)
        with open_writer(str(folder / f"{kind}.parquet"), schema) as writer:
            for start in range(0, count, 65_536):
                rows = range(start, min(start + 65_536, count))
                vectors = rng.standard_normal((len(rows), dim), dtype=np.float32)
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                keys = pa.array([form.format(row) for row in rows], pa.string())
                kinds = [pa.array(["pin"] * len(rows), pa.string())] if kind == "entities" else []
                writer.write_table(pa.table([keys, *kinds, vector_array(vectors)], schema=schema))
    schema = pa.schema([("query", pa.string()), ("entity_id", pa.string()), ("clicked", pa.bool_())])
    texts, ids = (pa.array([form.format(row) for row in range(count)]) for form, count in reversed(names.values()))
    with pq.ParquetWriter(folder / "pairs.parquet", schema) as writer:
        for start in range(0, pairs, 1_000_000):
            count = min(1_000_000, pairs - start)
            query = (queries * rng.random(count) ** 3).astype(np.int64)
            entity = rng.integers(0, entities, count)
            columns = [texts.take(pa.array(query)), ids.take(pa.array(entity)), pa.array(rng.random(count) < 0.1)]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=131_072)


def cut_pairs(folder: Path, count: int, name: str) -> Path:
    """The first `count` pairs in a file of their own."""
    path = folder / name
    source = pq.ParquetFile(folder / "pairs.parquet")
    with pq.ParquetWriter(path, source.schema_arrow) as writer:
        left = count
        for batch in source.iter_batches(131_072):
            writer.write_table(pa.Table.from_batches([batch.slice(0, left)]))
            left -= min(left, batch.num_rows)
            if left == 0:
                break
    return path


# ------------------------------------------------------------------------------------------------------ contenders


def ours(folder: Path, pairs: Path, out: Path, threads: int, dim: int):
    from omnifeat.featurize import featurize_file

    report = featurize_file(
        pairs,
        out,
        encoder=LookedUp(dim),
        embeddings=[folder / "queries.parquet", folder / "entities.parquet"],
        threads=threads,
        overwrite=True,
    )
    if report.unscored_rows:
        raise SystemExit(f"{report.unscored_rows} pairs were not scored")


def pandas_merge(folder: Path, pairs: Path, out: Path, threads: int, dim: int):
    import pandas as pd

    queries = pd.read_parquet(folder / "queries.parquet")
    entities = pd.read_parquet(folder / "entities.parquet", columns=["id", "vector"]).rename(
        columns={"id": "entity_id"}
    )
    parts = []
    for batch in pq.ParquetFile(pairs).iter_batches(100_000):  # whole, the gathered vectors would not fit in memory
        part = batch.to_pandas().merge(queries, on="query", how="left").merge(entities, on="entity_id", how="left")
        dot = np.einsum("ij,ij->i", np.stack(part["vector_x"].to_numpy()), np.stack(part["vector_y"].to_numpy()))
        parts.append(part.drop(columns=["vector_x", "vector_y"]).assign(cosine=dot))
    pd.concat(parts).to_parquet(out)


def duckdb_join(folder: Path, pairs: Path, out: Path, threads: int, dim: int, memory: str = "8GB"):
    import duckdb

    connection = duckdb.connect(config={"threads": threads, "memory_limit": memory, "temp_directory": str(folder)})
    connection.execute(
        f"""
        copy (
            select p.*, array_inner_product(q.vector::float[{dim}], e.vector::float[{dim}]) as cosine
            from read_parquet('{pairs}') p
            left join read_parquet('{folder}/queries.parquet') q using (query)
            left join read_parquet('{folder}/entities.parquet') e on p.entity_id = e.id
        ) to '{out}' (format parquet)
        """
    )


CONTENDERS = {"omnifeat": ours, "pandas merge": pandas_merge, "duckdb array_inner_product": duckdb_join}


def measure(name: str, folder: str, pairs: str, warm: str, threads: int, dim: int, results) -> None:
    """Run one contender: on the few pairs of `warm`, in a folder of tiny tables, then on `pairs`."""
    out = Path(folder) / "out.parquet"
    contender = CONTENDERS[name]
    contender(Path(warm), Path(warm) / "pairs.parquet", out, threads, dim)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started, used = time.perf_counter(), time.process_time()
    contender(Path(folder), Path(pairs), out, threads, dim)
    seconds, core_seconds = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = pq.read_metadata(out).num_rows
    # all keep the order of the pairs: the same first cosines, but for rounding
    first = pq.ParquetFile(out).read_row_group(0, columns=["cosine"])["cosine"].slice(0, 1000).to_numpy()
    checks = np.abs(first).sum(dtype=np.float64)
    result = {"name": name, "rows": rows, "seconds": seconds, "core_seconds": core_seconds}
    results.put({**result, "before": before, "peak": peak, "check": float(checks)})
    out.unlink()


def main() -> None:
    """Write the tables, run each contender in a process of its own, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pandas-pairs", type=int, default=1_000_000)
    parser.add_argument("--duckdb-pairs", type=int, default=None, help="all pairs if not given")
    parser.add_argument("--only", help="one contender")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the tables here and use them again")
    options = parser.parse_args()

    folder = options.folder or Path(tempfile.mkdtemp(prefix="omnifeat-benchmark-"))
    try:
        warm = folder / "warm"
        if not (folder / "pairs.parquet").exists():
            warm.mkdir(parents=True, exist_ok=True)
            write_tables(warm, 20_000, 2_000, 1_000, options.dim, options.seed)
            write_tables(folder, options.pairs, options.entities, options.queries, options.dim, options.seed)
        sizes = {
            "omnifeat": options.pairs,
            "pandas merge": min(options.pandas_pairs, options.pairs),
            "duckdb array_inner_product": min(options.duckdb_pairs or options.pairs, options.pairs),
        }
        matrices = (options.entities + options.queries) * options.dim * 4
        print(
            f"{options.entities:,} entities, {options.queries:,} queries, dim {options.dim}, "
            f"{options.threads} threads, seed {options.seed}; float32 matrices {matrices / GIB:.2f} GiB"
        )
        context = multiprocessing.get_context("spawn")
        for name, count in sizes.items():
            if options.only and options.only != name:
                continue
            pairs = folder / "pairs.parquet"
            if count < options.pairs:
                pairs = cut_pairs(folder, count, "fewer.parquet")
            results = context.Queue()
            process = context.Process(
                target=measure,
                args=(name, str(folder), str(pairs), str(warm), options.threads, options.dim, results),
            )
            process.start()
            process.join()
            if process.exitcode != 0:
                print(f"{name}: failed with exit code {process.exitcode}")
                continue
            result = results.get()
            result["pairs_per_second"] = result["rows"] / result["seconds"]
            result["beyond_tables"] = result["peak"] - result["before"] - matrices
            print(
                f"{name:28} {result['rows']:>12,} pairs {result['seconds']:8.1f} s "
                f"({result['core_seconds']:.1f} core seconds) "
                f"{result['pairs_per_second']:>12,.0f} pairs/s   peak {result['peak'] / GIB:5.2f} GiB, "
                f"{result['beyond_tables'] / GIB:5.2f} beyond libraries and matrices"
            )
            print(json.dumps(result))
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
