"""The feature `rrf`: reciprocal rank fusion of the cosine and BM25 among the candidates of a request.

    rrf(e) = 1 / (60 + rank of its cosine) + 1 / (60 + rank of its BM25)

Ranks count from 1 among the candidates that are given: the rows of one `request_id`, or of one query where there is no
such column. Equal scores share the mean of their places, so that neither the order of rows nor the ids decide; a
candidate that stands in several rows counts once. A score that is missing adds nothing; where both are, so is `rrf`.
BM25 is the sum of the columns `bm25_*`.

All other features are of a pair alone. This one is of a pair **among candidates**: the same pair has another value
beside others, and a ranker is to be trained on rows that hold the candidates it will be served with.

Shape suffix: P pairs.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from omnifeat.errors import DataError
from omnifeat.keys import KeyIndex, as_strings

__all__ = ["RRF", "reciprocal_ranks", "request_column", "request_numbers", "whole_requests"]

RRF = "rrf"
K = 60.0
_MOST_HELD = 1 << 20  # rows

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


def request_column(names: Sequence[str]) -> str:
    """The column whose values tell requests apart: `request_id`, or else `query`."""
    return "request_id" if "request_id" in names else "query"


def request_numbers(pairs: pa.Table) -> Int64:
    """A number for each request, int64 (P,); -1 where it is null."""
    column = request_column(pairs.column_names)
    return KeyIndex().intern(as_strings(pairs[column], f"the pairs: column '{column}'")).astype(np.int64)


def reciprocal_ranks(requests_P: Int64, entities_P: npt.NDArray[np.integer], scores: Sequence[Float32]) -> Float32:
    """`rrf` of pairs, float32 (P,), NaN where there is nothing to fuse.

    Parameters
    ----------
    requests_P, entities_P
        Numbers of the request and of the entity, -1 for none.
    scores
        float32 (P,) of each system, NaN where it has none.
    """
    pair_P = requests_P * (int(entities_P.max(initial=0)) + 2) + entities_P
    _, first, place_P = np.unique(pair_P, return_index=True, return_inverse=True)
    known = requests_P[first] >= 0
    total = np.zeros(len(first))
    there = np.zeros(len(first), dtype=np.bool_)
    for score_P in scores:
        own = pd.Series(np.where(known, score_P[first], np.nan))
        ranks = own.groupby(requests_P[first]).rank(method="average", ascending=False).to_numpy()
        scored = ~np.isnan(ranks)
        total[scored] += 1 / (K + ranks[scored])
        there |= scored
    return np.where(there, total, np.nan).astype(np.float32)[place_P]


def whole_requests(batches: Callable[[], Iterator[pa.Table]], column: str, place: str) -> Iterator[pa.Table]:
    """The rows in their order, cut where no request has rows on both sides.

    They are read twice: first for the last row of each request, then with those held back whose request is not whole.

    Parameters
    ----------
    batches
        Reads the rows; called twice.
    column
        Of `request_column`.
    place
        What messages call the table.

    Raises
    ------
    DataError
        If rows of a request lie so far apart that more than a million would be held.
    """
    keys, last, total = KeyIndex(), np.empty(0, np.int64), 0
    for batch in batches():
        numbers = keys.intern(as_strings(batch[column], column))
        last = np.append(last, np.full(len(keys) - len(last), -1, np.int64))
        np.maximum.at(last, numbers[numbers >= 0], total + np.flatnonzero(numbers >= 0))
        total += batch.num_rows
    held: list[pa.Table] = []
    done = until = 0  # rows before the batch, and the last row that must come with those held
    for batch in batches():
        numbers = keys.find(as_strings(batch[column], column))
        own = done + np.arange(batch.num_rows)
        ends = own.copy()
        ends[numbers >= 0] = last[numbers[numbers >= 0]]
        ends = np.maximum.accumulate(np.maximum(ends, until))
        cuts = np.flatnonzero(ends <= own)
        done, until = done + batch.num_rows, int(ends[-1])
        if len(cuts):
            yield pa.concat_tables([*held, batch.slice(0, int(cuts[-1]) + 1)])
            held = [batch.slice(int(cuts[-1]) + 1)]
        else:
            held.append(batch)
        if sum(part.num_rows for part in held) > _MOST_HELD:
            name = keys.take(np.flatnonzero(last == until))[0]
            raise DataError(
                f"{place}: the rows of {column} '{name}' lie far apart, up to row {until + 1}, "
                f"with more than {_MOST_HELD:,} others between; sort the table by {column}, or leave out --rrf."
            )
    if held and held[0].num_rows:
        yield pa.concat_tables(held)
