import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from classifiers import regression
from classifiers.regression import CERTAIN, Problem, solve


def rows(count: int = 60, width: int = 3, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    targets = np.arange(count) % classes
    centres = rng.normal(size=(classes, width))
    return (centres[targets] + rng.normal(size=(count, width))).astype(np.float32), targets.astype(np.int64)


def test_a_softmax_is_scikit_learns_multinomial_regression() -> None:
    embeddings, targets = rows()
    weights = np.linspace(0.5, 2, len(targets))
    ours = solve(Problem(embeddings, None, targets, 3, weights), 0.7, max_iterations=500)
    exact = embeddings.astype(np.float64)
    theirs = LogisticRegression(C=0.7, max_iter=2000, tol=1e-10).fit(exact, targets, sample_weight=weights)
    np.testing.assert_allclose(ours[0], theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours[1] - ours[1].mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-4)


def test_sigmoids_are_scikit_learns_binary_regressions() -> None:
    embeddings, targets = rows()
    has = np.column_stack([targets == 0, targets > 0, np.ones(60), np.zeros(60)]).astype(np.float32)
    weights, intercepts = solve(Problem(embeddings, None, sp.csr_matrix(has), 4, np.ones(60)), 0.7, max_iterations=500)
    for output in (0, 1):
        theirs = LogisticRegression(C=0.7, max_iter=2000, tol=1e-10).fit(embeddings.astype(np.float64), has[:, output])
        np.testing.assert_allclose(weights[output], theirs.coef_[0], atol=1e-4)
        np.testing.assert_allclose(intercepts[output], theirs.intercept_[0], atol=1e-4)
    # What all have, or none, is certain, and needs no weights.
    assert intercepts[2:].tolist() == [CERTAIN, -CERTAIN]
    assert not weights[2:].any()


@pytest.mark.parametrize("softmax", [True, False])
def test_blocks_threads_and_the_first_round_change_nothing(monkeypatch: pytest.MonkeyPatch, softmax: bool) -> None:
    embeddings, targets = rows(300)
    every = np.arange(0, 300, dtype=np.int64)
    has = targets if softmax else sp.csr_matrix(np.eye(3, dtype=np.float32)[targets])
    problem = Problem(embeddings, every, has, 3, np.ones(300))
    whole = solve(problem, 0.3, max_iterations=500)
    for name, value in (("_BLOCK", 90), ("_ROWS", 64), ("_SAMPLE", 50), ("_EXACT", 0), ("_GATHER", 0)):
        monkeypatch.setattr(regression, name, value)
    pieces = [solve(problem, 0.3, max_iterations=500, threads=threads) for threads in (1, 2)]
    np.testing.assert_array_equal(pieces[0][0], pieces[1][0])
    np.testing.assert_allclose(pieces[0][0], whole[0], atol=0.01)
