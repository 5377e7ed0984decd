"""What the graph of the index gains over exact search, and what it misses.

    python benchmarks/index.py entities.parquet --queries queries.parquet
    python benchmarks/index.py --entities 100000 --dim 64

With embedding tables (`omnifeat embed`) the corpus is theirs; without, vectors are drawn round 1,000 centres. Recall is
the share of the exact first k that the graph finds too. Time of a query alone is the median of 300 searches of one
query each, on one thread; of a batch, that of all queries over their number. The exact search is the index's own.
"""

import argparse
import json
import time

import numpy as np

from omnifeat.embedding_table import EmbeddingTable
from omnifeat.retrieval.hnsw import HnswIndex, HnswSettings

ALONE = 300


def drawn(count: int, dim: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(1_000, dim))
    return (centres[rng.integers(1_000, size=count)] + 0.7 * rng.normal(size=(count, dim))).astype(np.float32)


def first_rows(index: HnswIndex, queries: np.ndarray, k: int, breadth: int | None) -> tuple[list[np.ndarray], dict]:
    index.search(queries[:2], k, breadth=breadth, threads=1)  # compiles and loads
    start = time.perf_counter()
    hits = index.search(queries, k, breadth=breadth, threads=1)
    batch = (time.perf_counter() - start) / len(queries)
    alone = []
    for row in range(min(ALONE, len(queries))):
        start = time.perf_counter()
        index.search(queries[row : row + 1], k, breadth=breadth, threads=1)
        alone.append(time.perf_counter() - start)
    ends = np.cumsum(np.bincount(hits.query_rows, minlength=len(queries)))[:-1]
    return np.split(hits.rows, ends), {"alone_ms": 1e3 * float(np.median(alone)), "batch_ms": 1e3 * batch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--queries", help="an embedding table of queries")
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--count", type=int, default=2_000, help="queries")
    parser.add_argument("-k", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if bool(options.tables) != bool(options.queries):
        parser.error("give tables of entities and of queries, or neither")
    chosen = HnswSettings(exact_below=0)
    start = time.perf_counter()
    if options.tables:
        graph = HnswIndex.from_tables(options.tables, settings=chosen)
        asked = EmbeddingTable.open(options.queries).batches(options.count)
        queries = next(asked).vectors
    else:
        ids = [f"e{row}" for row in range(options.entities)]
        graph = HnswIndex.build(ids, drawn(options.entities, options.dim, 1), settings=chosen)
        queries = drawn(options.count, options.dim, 2)
    built = time.perf_counter() - start
    exact = HnswIndex(
        graph.ids, graph.types, graph.vectors, None, fingerprint=None, zero_vectors=0, settings=HnswSettings()
    )
    truth, took = first_rows(exact, queries, options.k, None)
    results = [{"search": "exact", **took, "recall": 1.0, "recall@10": 1.0}]
    for breadth in (options.k, 2 * options.k, 4 * options.k):
        found, took = first_rows(graph, queries, options.k, breadth)
        recalls = {
            name: float(np.mean([len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(found, truth, strict=True)]))
            for name, k in (("recall", options.k), ("recall@10", min(10, options.k)))
        }
        results.append({"search": f"breadth {breadth}", **took, **recalls})
    if options.json:
        print(json.dumps({"entities": len(graph), "dim": graph.dim, "build_seconds": built, "results": results}))
        return
    print(f"{len(graph):,} entities of {graph.dim} numbers, built in {built:.1f} s on one thread; k = {options.k}")
    for result in results:
        print(
            f"{result['search']:>12}  alone {result['alone_ms']:.2f} ms  batch {result['batch_ms']:.2f} ms a query  "
            f"recall {result['recall']:.4f}  of the first 10 {result['recall@10']:.4f}"
        )


if __name__ == "__main__":
    main()
