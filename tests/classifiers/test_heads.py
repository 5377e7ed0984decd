"""Probabilities of a tree of five nodes, worked by hand, for each head and for one and several interests."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifiers.descent import best_ends
from classifiers.heads import Head, HeadName, Outputs
from classifiers.tree import InterestTree

LEAVES = [("a", "x"), ("b", "y"), ("b", "z")]
# (a,) (b,) (a, x) (b, y) (b, z)
PLAIN = InterestTree.of_paths(LEAVES)
MIDDLE = InterestTree.of_paths([*LEAVES, ("a",)])  # queries may end at a


def head(tree: InterestTree, name: HeadName, several: bool, weights: list[float], intercepts: list[float]) -> Head:
    """A head over embeddings of width one whose mean is 1."""
    return Head(
        tree,
        name,
        several,
        np.ones(1, np.float32),
        np.array(weights, np.float32)[:, None],
        np.array(intercepts, np.float32),
    )


def test_nodes_of_the_tree() -> None:
    assert PLAIN.nodes == (("a",), ("b",), *LEAVES)
    assert PLAIN.parents.tolist() == [-1, -1, 0, 1, 1]
    assert PLAIN.ends.tolist() == [False, False, True, True, True]
    assert MIDDLE.ends.tolist() == [True, False, True, True, True]
    assert PLAIN.children == {-1: slice(0, 2), 0: slice(2, 3), 1: slice(3, 5)}
    assert PLAIN.ancestors.tolist() == [[0, -1], [1, -1], [0, 2], [1, 3], [1, 4]]


def test_levels_one_interest() -> None:
    # Scores of a, b | x | y, z. Embedding 3 is 2 above the mean.
    # Root: 0 and 2 * ln 3 / 2 = ln 3, so 1/4 and 3/4. Below a: x is alone, 1. Below b: 0 and ln 2 + ln 2 = ln 4, so
    # 1/5 and 4/5. Together: x 1/4, y 3/4 * 1/5 = 0.15, z 3/4 * 4/5 = 0.6.
    levels = head(PLAIN, "levels", False, [0, log(3) / 2, 5 / 2, 0, log(2) / 2], [0, 0, 7, 0, log(2)])
    nodes, ends = levels.ends(np.array([[3.0]]))
    np.testing.assert_allclose(nodes, [[0.25, 0.75, 0.25, 0.15, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(ends, [[0, 0, 0.25, 0.15, 0.6]], rtol=1e-6)
    # Embedding 0 is 1 below: root 1 and 3^-1/2 = 0.57735, so 0.63397 and 0.36603; below b: 0 and ln 2 / 2, so
    # 1 / (1 + 2^1/2) = 0.41421 and 0.58579.
    expected = [[0.6339746, 0.3660254, 0.6339746, 0.3660254 * 0.4142136, 0.3660254 * 0.5857864]]
    np.testing.assert_allclose(levels.probabilities(np.array([[0.0]])), expected, rtol=1e-6)


def test_levels_one_interest_that_may_be_in_the_middle() -> None:
    # Scores of a, b | x, no deeper than a | y, z. Root: 0 and ln 3. Below a: x 0, no deeper ln 3: 1/4 and 3/4.
    assert Outputs.of(MIDDLE, "levels", False).nodes.tolist() == [0, 1, 2, 0, 3, 4]
    levels = head(MIDDLE, "levels", False, [0] * 6, [0, log(3), 0, log(3), 0, 0])
    nodes, ends = levels.ends(np.array([[1.0]]))
    np.testing.assert_allclose(nodes, [[0.25, 0.75, 1 / 16, 0.375, 0.375]], rtol=1e-6)
    np.testing.assert_allclose(ends, [[3 / 16, 0, 1 / 16, 0.375, 0.375]], rtol=1e-6)


def test_global_one_interest() -> None:
    # Scores of the ends a, x, y, z: 1/10, 2/10, 3/10, 4/10. A node has what ends at and below it.
    one = head(MIDDLE, "global", False, [0] * 4, [log(1), log(2), log(3), log(4)])
    nodes, ends = one.ends(np.array([[5.0]]))
    np.testing.assert_allclose(ends, [[0.1, 0, 0.2, 0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(nodes, [[0.3, 0.7, 0.2, 0.3, 0.4]], rtol=1e-6)


def test_several_interests() -> None:
    # Sigmoids 1/2, 3/4, 3/4, 3/4, 1/4. Of levels times the parent's; of the global head at most the parent's.
    scores = [0, log(3), log(3), log(3), -log(3)]
    nodes, ends = head(MIDDLE, "levels", True, [0] * 5, scores).ends(np.array([[1.0]]))
    np.testing.assert_allclose(nodes, [[1 / 2, 3 / 4, 3 / 8, 9 / 16, 3 / 16]], rtol=1e-6)
    np.testing.assert_allclose(ends, [[1 / 8, 0, 3 / 8, 9 / 16, 3 / 16]], rtol=1e-6)  # a and not x: 1/2 * 1/4
    nodes, ends = head(MIDDLE, "global", True, [0] * 5, scores).ends(np.array([[1.0]]))
    np.testing.assert_allclose(nodes, [[1 / 2, 3 / 4, 1 / 2, 3 / 4, 1 / 4]], rtol=1e-6)
    np.testing.assert_allclose(ends, [[0, 0, 1 / 2, 3 / 4, 1 / 4]], rtol=1e-6)


TREE = InterestTree.of_paths(
    [("a",), ("a", "k"), ("a", "l", "m"), ("a", "l", "n"), ("a", "l"), ("b", "o"), ("b", "p", "q"), ("c",)]
)
FINITE = st.floats(-8, 8, width=32)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["levels", "global"]), st.booleans(), st.data())
def test_any_scores_agree_with_the_tree(name: HeadName, several: bool, data: st.DataObject) -> None:
    outputs = len(Outputs.of(TREE, name, several).nodes)
    logits = data.draw(arrays(np.float32, (3, outputs), elements=st.floats(-200, 200, width=32)))
    nodes, ends = Head(TREE, name, several, *(np.zeros(0, np.float32),) * 3).of_logits(logits)
    assert ((nodes >= 0) & (nodes <= 1) & (ends >= 0) & (ends <= nodes)).all()
    below = TREE.parents >= 0
    assert (nodes[:, below] <= nodes[:, TREE.parents[below]]).all()
    assert (ends[:, ~TREE.ends] == 0).all()
    if not several:
        np.testing.assert_allclose(ends.sum(axis=1), 1, rtol=1e-5)
        for parent, children in TREE.children.items():
            total = nodes[:, children].sum(axis=1) + (ends[:, parent] if parent >= 0 else 0)
            np.testing.assert_allclose(total, nodes[:, parent] if parent >= 0 else 1, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["levels", "global"]), st.data())
def test_the_quick_way_down_finds_the_same_ends(name: HeadName, data: st.DataObject) -> None:
    outputs = len(Outputs.of(TREE, name, False).nodes)
    weights = data.draw(arrays(np.float32, (outputs, 3), elements=FINITE))
    embeddings = data.draw(arrays(np.float32, (6, 3), elements=FINITE))
    fitted = Head(TREE, name, False, np.zeros(3, np.float32), weights, np.zeros(outputs, np.float32))
    ends = fitted.ends(embeddings)[1]
    found = best_ends(fitted, embeddings)
    # Of ends that are equal but for the last digits either may be found.
    np.testing.assert_allclose(ends[np.arange(6), found], ends.max(axis=1), rtol=1e-4)


@pytest.mark.parametrize("name", ["levels", "global"])
def test_of_equal_ends_the_first_is_found(name: HeadName) -> None:
    one = head(PLAIN, name, False, [0] * (5 if name == "levels" else 3), [0] * (5 if name == "levels" else 3))
    assert best_ends(one, np.zeros((1, 1), np.float32)).tolist() == [2]
