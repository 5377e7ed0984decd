"""Score columns of a run as rows of a recall study."""

import numpy as np
import pyarrow as pa
import pytest

from evaluation.recall import EvaluationPairs, ranks_from_score_blocks
from evaluation.run_rows import run_rows
from evaluation.runs import checked_run
from omnifeat.errors import DataError

PAIRS = EvaluationPairs.make(["q1", "q1", "q2"], ["a", "b", "c"], pa.array(["a", "b", "c", "d"]))
RUN = pa.table(
    {
        "query": ["q1", "q1", "q1", "q2", "q2", "other"],
        "entity_id": ["d", "b", "a", "a", "d", "a"],
        "score": [3.0, 2.0, 1.0, -5.0, -6.0, 9.0],
        "half": pa.array([None, 2.0, None, 1.0, 1.0, 1.0], pa.float64()),
        "text": ["x"] * 6,
    }
)


def ranks(column):
    (row,) = run_rows(checked_run(RUN, [column]), PAIRS)
    return ranks_from_score_blocks(row.blocks(2), PAIRS).tolist()


def test_golden_ranks():
    # q1: d 3, b 2, a 1, c absent. Pair (q1, a): d before it, b is another positive -> 2. Pair (q1, b): d -> 2.
    # q2: a -5, d -6, then the absent b and c by id: b stands before c -> 4.
    assert ranks("score") == [2, 2, 4]
    # Null scores stand with the absent: for q1 only b is scored; a ties with c and d and has the smallest id.
    assert ranks("half") == [1, 1, 4]


def test_scores_that_float32_cannot_tell_apart_keep_their_order():
    # q1: b before a by a hair, then d without a finite score; the pair (q1, a) has the other positive b left out
    scores = [float("inf"), 1e300 + 1e285, 1e300, -1e308, float("-inf"), 0.0]
    run = RUN.set_column(2, "score", pa.array(scores))
    (row,) = run_rows(checked_run(run, ["score"]), PAIRS)
    assert row.score(0, 2).tolist() == [[1, 2, 0, 0], [1, 0, 0, 0]]


def test_block_size_does_not_matter():
    (row,) = run_rows(checked_run(RUN, ["score"]), PAIRS)
    whole = row.score(0, 2)
    assert np.array_equal(whole, np.concatenate([row.score(0, 1), row.score(1, 2)]))


@pytest.mark.parametrize(
    ("run", "column", "message"),
    [
        (RUN, "nothing", "has no column 'nothing'"),
        (RUN, "text", "the run, column 'text', row 1: 'x' is not a number"),
        (RUN.slice(0, 3), "score", "holds no entity for 1 of 2 queries, such as 'q2'"),
        (
            pa.concat_tables([RUN, RUN.slice(1, 1)]),
            "score",
            "row 7 of the run repeats the pair of query",
        ),
    ],
)
def test_wrong_runs_are_refused_in_one_sentence(run, column, message):
    with pytest.raises(DataError, match=message):
        run_rows(checked_run(run, [column]), PAIRS)
