"""A ranker on a cluster of two processes, as good as on one machine."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnifeat.errors import DataError, SettingError
from ranking import L2Ranker, LambdaRanker
from ranking.distributed import _cut, fit_on_dask
from ranking.metrics import QueryRanks

FEATURES = ["a", "b"]

PROGRAM = """
import sys
from pathlib import Path
from distributed import Client, LocalCluster
from ranking import LambdaRanker
from ranking.distributed import fit_on_dask

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None, silence_logs=50
    )
    with cluster, Client(cluster) as client:
        model = fit_on_dask(
            LambdaRanker(n_estimators=8, threads=1), folder / "table.parquet", features=["a", "b"], label="grade",
            query_column="query", client=client, scratch=folder, parts=2,
        )
    model.save(folder / "model")
"""


def graded(rows: int = 2000, queries: int = 120) -> pa.Table:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=rows).astype(np.float32), rng.normal(size=rows)
    grades = np.clip(np.round(a + 0.5 * b + 0.3 * rng.normal(size=rows)), 0, 3).astype(int)
    named = [f"query {n}" for n in rng.integers(queries, size=rows)]
    return pa.table({"a": a, "b": b, "query": named, "grade": grades})


def test_as_good_as_on_one_machine(tmp_path: Path) -> None:
    table = graded()
    stamped = table.replace_schema_metadata({"omnifeat.fingerprint": "aaaa"})
    pq.write_table(stamped, tmp_path / "table.parquet")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob(".dask*"))
    spread = LambdaRanker.load(tmp_path / "model")
    features, gains = table.select(FEATURES), 2.0 ** table["grade"].to_numpy() - 1
    alone = LambdaRanker(n_estimators=8, threads=1).fit(features, table["grade"], query_ids=table["query"])

    def ndcg(model: LambdaRanker) -> float:
        return float(np.nanmean(QueryRanks(model.predict(features), table["query"]).ndcg(gains)))

    assert ndcg(spread) == pytest.approx(ndcg(alone), abs=0.01)
    assert ndcg(spread) > 0.9
    assert spread.encoder_fingerprint_ == "aaaa"
    assert (spread.queries_, spread.queries_without_positive_) == (alone.queries_, alone.queries_without_positive_)


def test_a_query_lies_in_one_part(tmp_path: Path) -> None:
    table = graded()
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=300)
    rows, queries, first = _cut(LambdaRanker(), tmp_path / "table.parquet", FEATURES, "grade", "query", tmp_path, 3)
    assert first.column_names == FEATURES
    parts = [pq.read_table(tmp_path / f"{part}.parquet") for part in range(3)]
    assert [part.num_rows for part in parts] == rows.tolist()
    assert [len(set(part["__query"].to_pylist())) for part in parts] == queries.tolist()
    assert sum(queries) == len(set(table["query"].to_pylist()))
    assert sorted(pa.concat_tables(parts)["a"].to_pylist()) == sorted(table["a"].to_pylist())


class _TwoWorkers:
    def scheduler_info(self, n_workers: int) -> dict[str, object]:
        del n_workers
        return {"workers": {"one": {}, "two": {}}}


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(graded(), path)
    more = {
        "features": FEATURES,
        "label": "grade",
        "query_column": "query",
        "client": _TwoWorkers(),
        "scratch": tmp_path,
    }
    with pytest.raises(SettingError, match="'validation_fraction' setting .* cluster"):
        fit_on_dask(LambdaRanker(validation_fraction=0.1), path, **more)
    with pytest.raises(SettingError, match="'method' setting"):
        fit_on_dask(L2Ranker(method="per-action"), path, **more)
    with pytest.raises(SettingError, match="1 parts for 2 workers"):
        fit_on_dask(LambdaRanker(), path, parts=1, **more)
    with pytest.raises(DataError, match="'c' is not in table"):
        fit_on_dask(LambdaRanker(), path, **{**more, "features": ["c"]})
    with pytest.raises(DataError, match="begins with row 1: The label of row"):
        fit_on_dask(LambdaRanker(), path, **{**more, "label": "a"})
    assert sorted(found.name for found in tmp_path.iterdir()) == ["table.parquet"]
