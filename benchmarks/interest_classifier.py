"""`InterestClassifier`: time and memory of `fit`, queries a second of `predict`, beside fastText's on the same queries.

    python benchmarks/interest_classifier.py [--queries 1000000 --dim 256 --threads 2 --head levels global] [--json]

1,000 interests: ten roots with nine children each, and ten leaves below each of those. Each has a direction at random;
a query is the sum of those on its path and noise, of unit length. Its text, for fastText, is one word for each interest
on its path, drawn from 20 of the interest's own, and two words of no meaning. Each contender runs in a process of its
own. Prediction is timed on `--predict` queries that were not learnt from, after a warm-up that compiles; fastText's on
the text, `predict` of all lines at once, after training for one epoch on at most 100,000 lines (its speed is a matter
of the number of labels, not of how well they were learnt). Accuracy stands beside the times, so that a quick fit that
learnt nothing is seen. Peak memory is the largest resident set of the process, with the embeddings in it.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOTS, CHILDREN, LEAVES = 10, 9, 10
NOISE = 2.5


def leaf_paths() -> list[tuple[str, ...]]:
    return [
        (f"r{root}", f"r{root} c{child}", f"r{root} c{child} l{leaf}")
        for root in range(ROOTS)
        for child in range(CHILDREN)
        for leaf in range(LEAVES)
    ]


def embeddings(count: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors float32 (count, dim) and each one's leaf."""
    directions = np.random.default_rng(0)
    paths = leaf_paths()
    of_name = {name: directions.standard_normal(dim) for name in dict.fromkeys(name for path in paths for name in path)}
    centres = np.array([sum(of_name[name] for name in path) for path in paths], np.float32)
    rng = np.random.default_rng(seed)
    leaves = rng.integers(0, len(paths), count)
    vectors = np.empty((count, dim), np.float32)
    for start in range(0, count, 50_000):
        part = slice(start, min(start + 50_000, count))
        block = centres[leaves[part]]
        block += NOISE * rng.standard_normal(block.shape, dtype=np.float32)
        vectors[part] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return vectors, leaves


def texts(leaves: np.ndarray, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    paths = leaf_paths()
    drawn = rng.integers(0, 20, (len(leaves), 3))
    other = rng.integers(0, 5_000, (len(leaves), 2))
    return [
        " ".join(f"{name.replace(' ', '')}w{word}" for name, word in zip(paths[leaf], words, strict=True))
        + f" n{more[0]} n{more[1]}"
        for leaf, words, more in zip(leaves, drawn, other, strict=True)
    ]


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def ours(arguments: argparse.Namespace, head: str) -> dict[str, object]:
    from classifiers import InterestClassifier

    paths = leaf_paths()
    vectors, leaves = embeddings(arguments.queries, arguments.dim, 1)
    labels = [paths[leaf] for leaf in leaves]
    classifier = InterestClassifier(head=head, threads=arguments.threads)
    start = time.perf_counter()
    classifier.fit(vectors, labels)
    seconds = time.perf_counter() - start
    peak = memory()
    unseen, truth = embeddings(arguments.predict, arguments.dim, 2)
    classifier.predict(unseen[:1_000])
    start = time.perf_counter()
    found = classifier.predict(unseen)
    predicting = time.perf_counter() - start
    start = time.perf_counter()
    classifier.predict_proba(unseen[:20_000])
    all_nodes = time.perf_counter() - start
    return {
        "contender": head,
        "fit_seconds": seconds,
        "fit_gib": peak,
        "tried": len(classifier.tried_),
        "leaf_accuracy": float(np.mean([one == paths[leaf] for one, leaf in zip(found, truth, strict=True)])),
        "predictions_per_second": len(unseen) / predicting,
        "all_probabilities_per_second": min(20_000, len(unseen)) / all_nodes,
    }


def fasttext_rows(arguments: argparse.Namespace, head: str) -> dict[str, object]:
    import fasttext

    count = min(arguments.queries, 100_000)
    _, leaves = embeddings(count, 1, 1)
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.txt"
        told = texts(leaves, 3)
        lines.write_text("\n".join(f"__label__{leaf} {text}" for leaf, text in zip(leaves, told, strict=True)))
        start = time.perf_counter()
        model = fasttext.train_supervised(
            str(lines), thread=arguments.threads, epoch=1, dim=100, loss="hs" if head == "fasttext-hs" else "softmax",
            verbose=0,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    _, truth = embeddings(arguments.predict, 1, 2)
    unseen = texts(truth, 4)
    model.predict(unseen[:100])
    start = time.perf_counter()
    found = model.predict(unseen)[0]
    predicting = time.perf_counter() - start
    right = [one[0] == f"__label__{leaf}" for one, leaf in zip(found, truth, strict=True)]
    return {
        "contender": head,
        "fit_seconds": seconds,
        "fit_gib": memory(),
        "leaf_accuracy": float(np.mean(right)),
        "predictions_per_second": len(unseen) / predicting,
    }


def contender(arguments: argparse.Namespace, head: str) -> dict[str, object]:
    return (fasttext_rows if head.startswith("fasttext") else ours)(arguments, head)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--predict", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--head", nargs="+", default=["levels", "global", "fasttext", "fasttext-hs"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for head in arguments.head:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(contender, (arguments, head)))
        if not arguments.json:
            print(
                ", ".join(
                    f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in rows[-1].items()
                ),
                flush=True,
            )
    if arguments.json:
        json.dump({**vars(arguments), "load": os.getloadavg()[0], "rows": rows}, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
