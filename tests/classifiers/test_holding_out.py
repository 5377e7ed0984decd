"""What is held out of `fit`, and the thresholds that development queries set: shares, names, few queries."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.calibration import held_out_rows, strata
from classifiers.decisions import choose_thresholds
from classifiers.interest import InterestClassifier
from classifiers.tree import InterestTree, Memberships


@pytest.mark.parametrize("each", [2, 3, 4, 5, 7, 10, 19])
def test_a_share_is_held_out_however_few_queries_an_interest_has(each: int) -> None:
    rng = np.random.default_rng(each)
    groups = rng.permutation(np.repeat(np.arange(2000), each))
    hashes = np.sort(rng.integers(0, 2**64, size=len(groups), dtype=np.uint64))
    held = held_out_rows(groups, hashes, 0.2)
    assert held.mean() == pytest.approx(0.2, abs=0.02)
    of_group = np.bincount(groups[held], minlength=2000)
    assert of_group.max() <= -(-each // 5)
    assert of_group.max() < each


def test_groups_by_hand() -> None:
    # ends 0: queries 0, 1 and 2; 1: query 2; 2: queries 3 and 4
    has = Memberships(np.array([0, 1, 2, 4, 5, 6]), np.array([0, 0, 0, 1, 2, 2]))
    groups, labels = strata(has, np.array([5, 6, 7, 1, 2], np.uint64))
    assert groups.tolist() == [2, 2, 0, 1, 1]  # query 2 counts for end 1, the rarer; then 2, then 0
    assert labels.tolist() == [18, 18, 18 + 7, 3, 3]


def labelled(seed: int, count: int) -> tuple[np.ndarray, list[list[tuple[str, ...]]]]:
    """Queries of one interest or two, of six."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(6, 12))
    chosen = [rng.choice(6, 1 + int(rng.random() < 0.4), replace=False) for _ in range(count)]
    embeddings = np.array([centres[one].sum(0) + rng.normal(size=12) for one in chosen], np.float32)
    return embeddings, [[("all", f"n{place}") for place in one] for one in chosen]


@settings(max_examples=8)
@given(names=st.permutations(range(6)), seed=st.integers(0, 3))
def test_names_do_not_matter_where_queries_have_several_interests(names: list[int], seed: int) -> None:
    embeddings, paths = labelled(seed, 90)
    new = {f"n{place}": f"m{name}" for place, name in enumerate(names)}
    renamed = [[("all", new[path[-1]]) for path in own] for own in paths]
    one = InterestClassifier(head="levels", threads=1).fit(embeddings, paths)
    two = InterestClassifier(head="levels", threads=1).fit(embeddings, renamed)
    assert one.inverse_regularisation_ == two.inverse_regularisation_
    columns = [two.tree_.place[(*node[:1], *(new[name] for name in node[1:]))] for node in one.tree_.nodes]
    assert two.predict_proba(embeddings)[:, columns] == pytest.approx(one.predict_proba(embeddings), abs=1e-4)


def answers(*groups: tuple[int, float, int, int]) -> tuple[np.ndarray, np.ndarray, sp.csr_matrix]:
    """Of so many queries each: the probability and place of the best of three interests, and the true one."""
    rows = [group[1:] for group in groups for _ in range(group[0])]
    nodes = np.full((len(rows), 3), 0.0)
    truth = np.zeros((len(rows), 3))
    for row, (share, best, true) in enumerate(rows):
        nodes[row] = (1 - share) / 2
        nodes[row, best] = share
        truth[row, true] = 1
    return nodes, nodes.argmax(axis=1), sp.csr_matrix(truth)


def test_interests_of_few_queries_answer_for_themselves() -> None:
    tree = InterestTree.of_paths([("a",), ("b",), ("c",)])
    # a alone: 180 of 200 are right; b and c have ten queries between them and half are right
    few = [(5, 0.95, 1, 1), (5, 0.95, 1, 2), (5, 0.95, 2, 2), (5, 0.95, 2, 1)]
    nodes, best, truth = answers((180, 0.99, 0, 0), (20, 0.5, 0, 1), *few)
    thresholds, pooled = choose_thresholds(tree, nodes, best, truth, 0.9)
    assert pooled.tolist() == [False, True, True]
    assert thresholds.tolist() == [0.5, np.inf, np.inf]
    nodes, best, truth = answers((180, 0.99, 0, 0), (20, 0.5, 0, 1), (9, 0.95, 1, 1), (1, 0.7, 2, 2), (5, 0.6, 2, 1))
    thresholds, _ = choose_thresholds(tree, nodes, best, truth, 0.9)
    assert thresholds.tolist() == [0.5, 0.7, 0.7]
    # no query comes to b or c: nothing tells of them but the level
    thresholds, pooled = choose_thresholds(tree, *answers((180, 0.99, 0, 0), (20, 0.5, 0, 1)), 0.9)
    assert (pooled.tolist(), thresholds.tolist()) == ([False, True, True], [0.5, 0.5, 0.5])


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0.4, 0.6, 0.8, 0.95]), *[st.integers(0, 2)] * 2)))
def test_the_wanted_precision_holds_on_the_development_queries(groups: list[tuple[int, float, int, int]]) -> None:
    nodes, best, truth = answers((20, 0.99, 0, 0), *groups)
    thresholds, _ = choose_thresholds(InterestTree.of_paths([("a",), ("b",), ("c",)]), nodes, best, truth, 0.8)
    answered = nodes[np.arange(len(best)), best] >= thresholds[best]
    right = truth.toarray()[np.arange(len(best)), best] > 0
    assert right[answered].sum() >= 0.8 * answered.sum()
