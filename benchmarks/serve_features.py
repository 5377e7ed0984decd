"""Features of one query's candidates at serving time, to prediction: p50 and p90 of one request.

    python benchmarks/serve_features.py DATASET --encoder ENCODER --candidates 1000

A ranker of 100 trees of 31 leaves is trained on a sample of the features; its kind does not matter to the time. Each
request is another query of the dataset with random candidates, the first time that the query is met (its vector is
computed) and the second (it is kept). All on one thread.
"""

import argparse
import time

import numpy as np
import pyarrow as pa

from omnifeat.data.dataset import Dataset
from ranking.rank_features import RankFeatures
from ranking.ranker import LambdaRanker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--encoder")
    parser.add_argument("--candidates", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    dataset = Dataset.open(options.dataset)
    started = time.perf_counter()
    rng = np.random.default_rng(0)
    with RankFeatures.from_dataset(dataset, encoder=options.encoder, threads=options.threads) as features:
        print(f"catalogue, counts and vectors in memory after {time.perf_counter() - started:.1f} s")
        ids = [(table[:-1], one) for table in ("pins", "products") if dataset.has(table)
               for one in dataset.read(table, ["id"])["id"].to_pylist()]  # fmt: skip
        texts = dataset.read("queries", ["query"])["query"].to_pylist()

        def request(query: str) -> pa.Table:
            chosen = [ids[row] for row in rng.integers(len(ids), size=options.candidates)]
            return pa.table(
                {
                    "query": pa.repeat(query, options.candidates),
                    "entity_id": [one for _, one in chosen],
                    "entity_type": [kind for kind, _ in chosen],
                }
            )

        sample = pa.concat_tables([request(query) for query in texts[-20:]])
        ranker = LambdaRanker(n_estimators=100, num_leaves=31, threads=options.threads)
        computed = features.compute(sample)
        ranker.fit(computed, rng.integers(0, 3, size=sample.num_rows), query_ids=sample["query"])

        chosen = [texts[row] for row in rng.choice(len(texts) - 20, size=options.requests, replace=False)]
        requests = [request(query) for query in chosen]
        for name in ("query met for the first time", "query met before"):
            taken = np.empty((options.requests, 2))
            for place, table in enumerate(requests):
                begin = time.perf_counter()
                found = features.compute(table)
                middle = time.perf_counter()
                ranker.predict(found)
                taken[place] = middle - begin, time.perf_counter() - middle
            taken *= 1e3
            for what, column in (("features", taken[:, 0]), ("prediction", taken[:, 1]), ("both", taken.sum(axis=1))):
                p50, p90 = np.quantile(column, [0.5, 0.9])
                print(f"{options.candidates} candidates, {name}: {what} p50 {p50:.2f} ms, p90 {p90:.2f} ms")


if __name__ == "__main__":
    main()
