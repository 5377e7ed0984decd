"""How fast texts are encoded in float32 and in bfloat16, and what the second keeps of the first.

    python benchmarks/enrich_text.py my-dataset --model sentence-transformers/all-MiniLM-L6-v2 --threads 2

The first `--texts` distinct texts of a table's field are encoded in both number formats by turns, in one process, after
a warm-up of each; tokenizing is included, loading is not. Times are the best of `--repeat` rounds; where other work
shares the cores, compare core seconds. What is kept: the least cosine of a text's two vectors, and of each text's ten
nearest others by float32, the share that bfloat16 has too.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator

import numpy as np

from omnifeat.data.dataset import Dataset
from omnifeat.enrich.text_fields import fields_by_table, texts_of
from omnifeat.pretrained import DTYPES, PretrainedEncoder

NEAREST = 10


def texts_in(dataset: Dataset, table: str, field: str) -> Iterator[str]:
    own = fields_by_table(dataset, [table], [field])[table]
    for batch in dataset.batches(table, own):
        yield from texts_of(batch, own).drop_null().to_pylist()


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Rows of each row's nearest others, (n, NEAREST)."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argpartition(-cosines, NEAREST, axis=1)[:, :NEAREST]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", help="dataset folder")
    parser.add_argument("--model", required=True)
    parser.add_argument("--table", default="products")
    parser.add_argument("--field", default="title")
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    every = dict.fromkeys(texts_in(Dataset.open(options.data), options.table, options.field))
    texts = list(itertools.islice(every, options.texts))
    encoders = {kind: PretrainedEncoder.load(options.model, dtype=kind, threads=options.threads) for kind in DTYPES}
    clock, cores = dict.fromkeys(DTYPES, np.inf), dict.fromkeys(DTYPES, np.inf)
    vectors: dict[str, np.ndarray] = {}
    for encoder in encoders.values():
        encoder.encode(texts[:300], batch_size=options.batch_size)
    for _ in range(options.repeat):
        for kind, encoder in encoders.items():
            begun, used = time.perf_counter(), time.process_time()
            vectors[kind] = encoder.encode(texts, batch_size=options.batch_size)
            clock[kind] = min(clock[kind], time.perf_counter() - begun)
            cores[kind] = min(cores[kind], time.process_time() - used)
    exact, half = (vectors[kind] for kind in DTYPES)
    kept = [len(set(one) & set(other)) / NEAREST for one, other in zip(nearest(exact), nearest(half), strict=True)]
    summary = {
        "texts": len(texts),
        "texts_per_second": {kind: round(len(texts) / clock[kind], 1) for kind in DTYPES},
        "core_seconds": {kind: round(cores[kind], 2) for kind in DTYPES},
        "ratio": round(clock["float32"] / clock["bfloat16"], 2),
        "least_cosine": round(float((exact * half).sum(axis=1).min()), 6),
        "nearest_kept": round(float(np.mean(kept)), 4),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
