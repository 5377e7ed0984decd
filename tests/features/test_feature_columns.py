"""The columns of pairs from vectors in memory: names, cosines worked by hand, and why a pair has none."""

import numpy as np
import pytest

from omnifeat.cosines import inverse_norms
from omnifeat.feature_columns import REASONS, EngagedQueries, PairColumns, column_names, reason_column


def test_names_stand_in_one_order() -> None:
    assert column_names([2, 4], ["pinsage"], True) == [
        "cosine",
        "cosine_2",
        "cosine_pinsage",
        "max_cosine_engaged_queries",
        "mean_cosine_engaged_queries",
    ]
    assert column_names([4], [], False) == ["cosine"]


def test_reasons_are_told_by_their_places() -> None:
    assert reason_column(np.array([0, 1, len(REASONS)])).to_pylist() == [None, REASONS[0], REASONS[-1]]
    assert reason_column(np.zeros(2, np.int64)).to_pylist() == [None, None]


@pytest.fixture
def columns() -> PairColumns:
    queries = np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]], np.float32)
    entities = np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)
    existing = np.array([[0.0, 5.0], [1.0, 0.0]], np.float32)
    norms = inverse_norms(queries, [1, 2])
    return PairColumns(
        widths=[1, 2],
        queries=queries,
        query_norms=norms,
        whole_query_norms=np.ascontiguousarray(norms[:, -1]),
        entities=entities,
        entity_norms=inverse_norms(entities, [1, 2]),
        compatibility={"pinsage": (existing, inverse_norms(existing)[:, 0])},
        engaged=EngagedQueries(np.array([0, 2]), np.array([2, 1]), np.array([1, 2, 0])),
        threads=1,
    )


def test_cosines_by_hand(columns: PairColumns) -> None:
    found = dict(zip(columns.names, columns.of(np.array([0]), np.array([0])), strict=True))
    assert {name: pytest.approx(value, abs=1e-6) for name, value in found.items()} == {
        "cosine": [0.6],
        "cosine_1": [1.0],
        "cosine_pinsage": [0.8],
        "max_cosine_engaged_queries": [0.8],  # to the queries (0, 2) and (1, 0): 0.8 and 0.6
        "mean_cosine_engaged_queries": [0.7],
    }


def test_a_pair_without_a_learned_cosine_has_no_other(columns: PairColumns) -> None:
    # entity 1 is zero, but has an existing embedding and an engaged query; the others have no row
    found = columns.of(np.array([0, -1, 0]), np.array([1, 0, -1]))
    assert np.isnan(np.column_stack(found)).all()
