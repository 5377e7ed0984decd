"""Exact ranks of positives in a streamed corpus against faiss `IndexFlatIP` with k = 10, on the same cores.

    python benchmarks/ranks.py [--queries 10000 --corpus 1000000 --dim 256 --threads 2] [--json]

Clustered unit vectors, 50 to a cluster; a query lies near its positive, nearer or farther by chance, so that most but
not all positives are among the first ten. The corpus is a file that all map. Each contender runs in a process of its
own, after a warm-up that compiles and loads code. Time of faiss is that of `search` alone, with its index already
filled; ours goes from the first read of the corpus to the ranks. Peak memory is the largest resident set, which counts
the mapped pages of the corpus file that the system happens to keep; `--from-tables` reads embedding tables instead,
where none are mapped.

Contenders: `faiss`; a product's name (`int16`, `bfloat16`, `float32`, or `auto`) for all ranks; with `@10` behind it
for ranks up to 10 and "beyond", which is what faiss gives and Recall@10 needs. `:200` behind a name takes the first
200 queries alone, where a processor has no fast bfloat16.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

TARGET = 0.75
CLUSTER = 50
FINGERPRINT = "benchmark"


def write_vectors(folder: Path, queries: int, corpus: int, dim: int, tables: bool, seed: int = 0) -> None:
    """`corpus.npy` or `corpus-N.parquet` tables, `queries.npy`, `positives.npy` (rows) and their vectors."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(corpus, queries, replace=False))
    positives = np.empty((queries, dim), np.float32)
    target = None if tables else np.lib.format.open_memmap(folder / "corpus.npy", "w+", np.float32, (corpus, dim))
    step = 1_000 * CLUSTER
    for part, start in enumerate(range(0, corpus, step)):
        rows = min(step, corpus - start)
        centres = rng.standard_normal((-(-rows // CLUSTER), dim), dtype=np.float32)
        vectors = np.repeat(centres, CLUSTER, axis=0)[:rows] + 0.8 * rng.standard_normal((rows, dim), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        inside = (chosen >= start) & (chosen < start + rows)
        positives[inside] = vectors[chosen[inside] - start]
        if target is None:
            write_table(folder / f"corpus-{part:05d}.parquet", start, vectors)
        else:
            target[start : start + rows] = vectors
    noise = rng.standard_normal((queries, dim), dtype=np.float32) * rng.uniform(1.5, 5, (queries, 1)) / np.sqrt(dim)
    vectors = (positives + noise).astype(np.float32)
    np.save(folder / "queries.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    np.save(folder / "positives.npy", chosen)
    np.save(folder / "positive_vectors.npy", positives)


def names(start: int, stop: int) -> pa.Array:
    return pa.array(np.arange(start, stop)).cast(pa.string())


def write_table(path: Path, start: int, vectors: np.ndarray) -> None:
    from omnifeat.embedding_table import embedding_schema, open_writer, vector_array

    schema = embedding_schema("entities", FINGERPRINT, vectors.shape[1])
    with open_writer(str(path), schema) as writer:
        kinds = pa.array(["pin"] * len(vectors), pa.string())
        columns = [names(start, start + len(vectors)), kinds, vector_array(vectors)]
        writer.write_table(pa.table(columns, schema=schema), row_group_size=16_384)


def our_ranks(folder: Path, contender: str, threads: int, queries: int, corpus: int, tables: bool) -> dict:
    import torch

    from omnifeat.search.ranks import CorpusBlock, RankedPairs, positive_ranks

    torch.set_num_threads(threads)
    name, _, most = contender.partition("@")
    chosen = np.load(folder / "positives.npy")[:queries]
    pairs = RankedPairs(
        np.load(folder / "queries.npy")[:queries],
        pa.array(chosen).cast(pa.string()),
        np.load(folder / "positive_vectors.npy")[:queries],
        np.arange(queries),
        np.arange(queries),
    )

    def blocks(rows: int):
        if tables:
            from omnifeat.corpus_tables import CorpusTables

            yield from CorpusTables.open(sorted(folder.glob("corpus-*.parquet"))).blocks("pin")
            return
        whole = np.load(folder / "corpus.npy", mmap_mode="r")
        for start in range(0, rows, 16_384):
            stop = min(start + 16_384, rows)
            yield CorpusBlock(names(start, stop), np.asarray(whole[start:stop]))

    settings = {"most": int(most) if most else None, "product": name, "threads": threads}
    if tables:
        from itertools import islice

        positive_ranks(pairs, islice(blocks(0), 1), **settings)
    else:
        positive_ranks(pairs, blocks(min(2_000, corpus)), **settings)
    before, start = cpu_seconds(), time.perf_counter()
    result = positive_ranks(pairs, blocks(corpus), **settings)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "core_seconds": cpu_seconds() - before,
        "product": result.product,
        "compared": result.compared,
        "borderline": result.borderline,
        "ranks": result.ranks.tolist(),
    }


def faiss_ranks(folder: Path, threads: int, queries: int, corpus: int) -> dict:
    import faiss

    faiss.omp_set_num_threads(threads)
    vectors = np.load(folder / "queries.npy")[:queries]
    whole = np.load(folder / "corpus.npy", mmap_mode="r")
    index = faiss.IndexFlatIP(vectors.shape[1])
    for begin in range(0, corpus, 16_384):
        index.add(np.asarray(whole[begin : begin + 16_384]))
    small = faiss.IndexFlatIP(vectors.shape[1])
    small.add(np.asarray(whole[:2_000]))
    small.search(vectors[:100], 10)
    before, start = cpu_seconds(), time.perf_counter()
    _, found = index.search(vectors, 10)
    seconds = time.perf_counter() - start
    at = found == np.load(folder / "positives.npy")[:queries, None]
    ranks = np.where(at.any(axis=1), at.argmax(axis=1) + 1, 11)
    return {"seconds": seconds, "core_seconds": cpu_seconds() - before, "ranks": ranks.tolist()}


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_bytes() -> int:
    """The largest resident set of this process; what `getrusage` says of a spawned one may be its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def contend(folder: str, contender: str, threads: int, queries: int, corpus: int, tables: bool) -> dict:
    """One contender's figures; to be called in a process of its own."""
    load = os.getloadavg()[0]
    if contender == "faiss":
        found = faiss_ranks(Path(folder), threads, queries, corpus)
    else:
        found = our_ranks(Path(folder), contender, threads, queries, corpus, tables)
    found["load_before"], found["load_after"] = load, os.getloadavg()[0]
    found["peak_bytes"] = peak_bytes()
    return found


def measure(options: argparse.Namespace, folder: Path) -> dict:
    write_vectors(folder, options.queries, options.corpus, options.dim, options.from_tables)
    context = multiprocessing.get_context("spawn")
    results: dict[str, dict] = {}
    for contender in options.contenders.split(","):
        if contender == "faiss" and options.from_tables:
            continue
        name, _, fewer = contender.partition(":")
        queries = min(options.queries, int(fewer)) if fewer else options.queries
        with context.Pool(1) as pool:
            results[contender] = pool.apply(
                contend, (str(folder), name, options.threads, queries, options.corpus, options.from_tables)
            )
    compare(results)
    figures = {key: getattr(options, key) for key in ("queries", "corpus", "dim", "threads")}
    return {**figures, "load": os.getloadavg()[0], "contenders": results}


def compare(results: dict[str, dict]) -> None:
    """Replace the ranks by what they show: recall, and pairs whose rank another contender sees otherwise."""
    ranks = {name: np.array(result.pop("ranks")) for name, result in results.items()}
    whole = next((name for name in ranks if name != "faiss" and "@" not in name and ":" not in name), None)
    for name, result in results.items():
        result["recall_at_10"] = float((ranks[name] <= 10).mean())
        if whole is not None:
            most = 10 if name == "faiss" else int(name.partition(":")[0].partition("@")[2] or 2**62)
            expected = np.minimum(ranks[whole][: len(ranks[name])], most + 1)
            result["ranks_that_differ"] = int((ranks[name] != expected).sum())
        if "faiss" in results and ":" not in name:
            for kind in ("seconds", "core_seconds"):
                result[f"{kind}_of_faiss"] = result[kind] / results["faiss"][kind]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("queries", 10_000), ("corpus", 1_000_000), ("dim", 256), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--contenders", default="faiss,auto,auto@10,float32,bfloat16:100")
    parser.add_argument("--from-tables", action="store_true", help="read embedding tables of 50,000 rows each")
    parser.add_argument("--folder", help="where the vectors are written for the time of the run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(options, Path(folder))
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.queries:,} queries x {options.corpus:,} x {options.dim}, {options.threads} threads")
    for name, found in result["contenders"].items():
        line = f"{name:>13} {found['seconds']:7.1f} s {found['core_seconds']:7.1f} core s "
        line += f"{found['peak_bytes'] / 2**20:6.0f} MiB  load {found['load_before']:.1f}-{found['load_after']:.1f}"
        line += f"  Recall@10 {found['recall_at_10']:.4f}"
        if "seconds_of_faiss" in found:
            line += f"  {found['seconds_of_faiss']:.3f} of faiss (core s {found['core_seconds_of_faiss']:.3f})"
        if "ranks_that_differ" in found:
            line += f"  {found['ranks_that_differ']} ranks differ"
        if "product" in found:
            line += f"  {found['product']}, {found['compared']:,} products, {found['borderline']:,} borderline"
        print(line)
    print(f"target: {TARGET} of faiss")


if __name__ == "__main__":
    main()
