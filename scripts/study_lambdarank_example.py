"""The LightGBM project's own lambdarank example, by `LambdaRanker`.

    python scripts/study_lambdarank_example.py LightGBM/examples/lambdarank

The folder holds rank.train and rank.test (SVMlight: a grade and numbered features a line) and rank.train.query and
rank.test.query (the number of lines of each query). That project's own test asks for NDCG@1 above 0.567 and NDCG@3
above 0.578 on rank.test; this exits with 1 where they are not reached.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from omnifeat.errors import DataError
from ranking import LambdaRanker
from ranking.metrics import QueryRanks

THRESHOLDS = {1: 0.567, 3: 0.578}


def read_part(folder: Path, part: str) -> tuple[Any, Any, Any]:
    """Features float64 (n, features) with 0 where a line has none, grades (n,), and the query of each row (n,)."""
    from sklearn.datasets import load_svmlight_file

    path, queries = folder / f"rank.{part}", folder / f"rank.{part}.query"
    for needed in (path, queries):
        if not needed.is_file():
            raise DataError(f"There is no file {needed}; give the folder of LightGBM's lambdarank example.")
    values, grades = load_svmlight_file(str(path))
    sizes = np.array([int(line) for line in queries.read_text(encoding="utf-8").split()])
    if sizes.sum() != values.shape[0]:
        raise DataError(f"{queries} counts {sizes.sum()} rows, but {path} has {values.shape[0]}.")
    return values.toarray(), grades.astype(np.int64), np.repeat(np.arange(len(sizes)), sizes)


def figures(folder: Path) -> dict[int, float]:
    """NDCG@1 and NDCG@3 of rank.test, a query without a positive counted as 1, as LightGBM counts it."""
    values, grades, queries = read_part(folder, "train")
    test_values, test_grades, test_queries = read_part(folder, "test")
    width = max(values.shape[1], test_values.shape[1])  # a part may lack the last features
    values, test_values = (np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in (values, test_values))
    ranker = LambdaRanker(n_estimators=50, learning_rate=0.1, num_leaves=31, min_child_samples=20, threads=1)
    ranker.fit(values, grades, query_ids=queries)
    ranks = QueryRanks(ranker.predict(test_values), test_queries)
    return {k: float(np.nan_to_num(ranks.ndcg(2.0**test_grades - 1, k), nan=1.0).mean()) for k in THRESHOLDS}


def main() -> int:
    found = figures(Path(sys.argv[1]))
    for k, threshold in THRESHOLDS.items():
        print(f"NDCG@{k} {found[k]:.4f} (asked for: above {threshold})")
    return 0 if all(found[k] > threshold for k, threshold in THRESHOLDS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
