"""A ranker trained on many machines by `lightgbm.dask`, from a table that need not fit into the memory of one.

The table is read in batches and cut into parts by a hash of the query, so that all rows of a query lie in one part.
Each part is then read, checked and put in order by one worker. What comes out is an ordinary ranker.
"""

import importlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from omnifeat.data.files import TableWriter, iter_batches, read_schema, read_table
from omnifeat.errors import DataError, MissingDependencyError, SettingError
from omnifeat.scratch import temporary_folder
from ranking.base import lightgbm_library
from ranking.features import select_features
from ranking.groups import encode_queries, group_rows
from ranking.ranker import LambdaRanker

__all__ = ["fit_on_dask"]

_QUERY, _LABEL = "__query", "__label"


def fit_on_dask(
    ranker: LambdaRanker,
    table: str | Path,
    *,
    features: Sequence[str],
    label: str,
    query_column: str,
    client: Any,
    scratch: str | Path,
    parts: int | None = None,
) -> LambdaRanker:
    """Fit a ranker on a cluster; returns the same ranker, fitted, to predict with and to save as any other.

    The model does not depend on the order of rows, but on the number of workers and parts: sums of floating point
    numbers are made in another order than on one machine, so that trees may differ where two splits are as good.

    Parameters
    ----------
    ranker : LambdaRanker, L1Ranker or L2Ranker of method `lambdarank`
        Early stopping (`validation_fraction`), positions and `max_features` are not to be had here.
    table
        Anything that `omnifeat.data.files` reads.
    features, label, query_column
        Its columns.
    client : distributed.Client
        Of a running cluster.
    scratch
        Folder for the parts, which every worker must be able to read; a folder is made in it and removed again.
    parts
        Parts of the table; each must fit into a worker's memory. None for two a worker.

    Raises
    ------
    MissingDependencyError
        Dask is not installed.
    SettingError
        A setting that has no meaning here, or fewer parts than one a worker.
    DataError
        As in the ranker's `fit`, or fewer queries than parts can be filled with.
    """
    libraries = _libraries()
    ranker._check_common_settings(("eval_at", "truncation_level"))
    refused = {
        "validation_fraction": ranker.validation_fraction,
        "max_features": getattr(ranker, "max_features", None),
        "method": None if getattr(ranker, "method", "lambdarank") == "lambdarank" else "per-action",
    }
    for name, value in refused.items():
        if value is not None:
            raise SettingError(f"The {name!r} setting ({value!r}) is not to be had on a cluster; train without it.")
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    count = 2 * workers if parts is None else parts
    if workers < 1 or count < workers:
        raise SettingError(f"There are {count} parts for {workers} workers; give one part a worker or more.")
    for name in (*features, label, query_column):
        if name not in read_schema(table).names:
            raise DataError(f"Column {name!r} is not in table {table}.")
    with temporary_folder(scratch) as folder:
        rows, queries, first = _cut(ranker, table, list(features), label, query_column, folder, count)
        if (rows == 0).any():
            raise DataError(
                f"The queries fill {np.count_nonzero(rows)} of {count} parts; give fewer parts, or train on one "
                "machine."
            )
        training = ranker._training_features(first)
        gains: list[float] | None = None
        largest = 0
        pieces = []
        for part in range(count):
            delayed = libraries.delayed(_load)(ranker, str(folder / f"{part}.parquet"), list(features))
            pieces.append(delayed.persist())
        for piece in pieces:
            found, of_grade = piece[3].compute()
            largest, gains = max(largest, found), of_grade
        parameters = ranker._parameters(gains, largest, training)
        width = len(features)
        array = libraries.array
        values = [
            array.from_delayed(piece[0], (int(size), width), dtype=np.float64)
            for piece, size in zip(pieces, rows, strict=True)
        ]
        grades = [array.from_delayed(p[1], (int(size),), dtype=np.int64) for p, size in zip(pieces, rows, strict=True)]
        sizes = [array.from_delayed(p[2], (int(n),), dtype=np.int64) for p, n in zip(pieces, queries, strict=True)]
        model = libraries.ranker(n_estimators=ranker.n_estimators, client=client, **_sklearn_names(parameters))
        model.fit(array.concatenate(values), array.concatenate(grades), group=array.concatenate(sizes))
        text = model.to_local().booster_.model_to_string(num_iteration=-1)
    ranker._use({"": text}, training.manifest, training.fingerprint)
    ranker.best_iteration_ = int(ranker.booster_.num_trees())
    ranker.best_score_ = None
    ranker.queries_ = int(queries.sum())
    ranker.queries_without_positive_ = sum(int(piece[4].compute()) for piece in pieces)
    ranker.eval_queries_without_positive_ = None
    nothing: dict[str, Any] = {"left_out_": [], "actions_": {}, "actions_left_out_": []}  # of L1 and L2
    for name in nothing.keys() & set(ranker._fitted):
        setattr(ranker, name, nothing[name])
    return ranker


def _cut(
    ranker: LambdaRanker,
    table: str | Path,
    features: list[str],
    label: str,
    query_column: str,
    folder: Path,
    parts: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], pa.Table]:
    """Write the table's rows to a file a part, by their query's hash; rows and queries of each, and some features."""
    schema = read_schema(table)
    types = [(name, schema.field(name).type) for name in features]
    types += [(_QUERY, schema.field(query_column).type), (_LABEL, schema.field(label).type)]
    out = pa.schema(types, metadata=schema.metadata)
    rows = np.zeros(parts, dtype=np.int64)
    seen: list[set[int]] = [set() for _ in range(parts)]
    first: pa.Table | None = None
    columns = list(dict.fromkeys((*features, query_column, label)))
    start = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(TableWriter(folder / f"{part}.parquet", out)) for part in range(parts)]
        for batch in iter_batches(table, columns):
            arrays = [batch.column(name) for name in (*features, query_column, label)]
            piece = pa.Table.from_arrays(arrays, schema=out)
            codes, queries = encode_queries(piece[_QUERY], piece.num_rows)
            hashes = [xxhash.xxh64_intdigest(str(query).encode()) for query in queries.tolist()]
            part_of = np.array([value % parts for value in hashes])[codes]
            try:
                ranker._graded(piece[_LABEL], codes, piece.num_rows)
            except DataError as error:
                raise DataError(f"In the batch of {table} that begins with row {start + 1}: {error}") from None
            for value in hashes:
                seen[value % parts].add(value)
            for part in np.unique(part_of).tolist():
                writers[part].write(piece.filter(pa.array(part_of == part)))
            rows += np.bincount(part_of, minlength=parts)
            start += piece.num_rows
            if first is None:
                first = piece.select(features)
    assert first is not None  # noqa: S101  (a table without rows was refused by iter_batches)
    return rows, np.array([len(found) for found in seen], dtype=np.int64), first


def _load(ranker: LambdaRanker, path: str, features: list[str]) -> tuple[Any, ...]:
    """A part as LightGBM takes it: values, grades, sizes; (largest grade, gains); queries without a positive."""
    table = read_table(path)
    training = ranker._training_features(select_features(table, features))
    codes, queries = encode_queries(table[_QUERY], table.num_rows)
    grades, gains = ranker._graded(table[_LABEL], codes, table.num_rows)
    groups = group_rows(codes, queries, training.values, grades)
    without = int((np.bincount(codes, weights=grades > 0) == 0).sum())
    values = np.ascontiguousarray(training.values[groups.order])
    return values, grades[groups.order], groups.sizes, (int(grades.max()), gains), without


def _sklearn_names(parameters: dict[str, Any]) -> dict[str, Any]:
    """LightGBM's parameters under the names of its estimators, which would set their own defaults beside them."""
    names = {
        "min_data_in_leaf": "min_child_samples",
        "lambda_l2": "reg_lambda",
        "feature_fraction": "colsample_bytree",
        "seed": "random_state",
    }
    left_out = ("metric", "eval_at", "num_threads")  # nothing is evaluated; a worker has its own number of threads
    return {names.get(name, name): value for name, value in parameters.items() if name not in left_out}


class _Libraries:
    def __init__(self) -> None:
        lightgbm_library()  # its lines become records of a logger
        self.array: Any = importlib.import_module("dask.array")
        self.delayed: Any = importlib.import_module("dask").delayed
        importlib.import_module("dask.dataframe")
        self.ranker: Any = importlib.import_module("lightgbm.dask").DaskLGBMRanker


def _libraries() -> _Libraries:
    try:
        importlib.import_module("distributed")
        return _Libraries()
    except ImportError:
        raise MissingDependencyError(
            "Training on a cluster needs Dask; install it with: pip install 'omnifeat[dask]'"
        ) from None
