"""Small LightGBM ensembles evaluated by a compiled loop, to the bit what LightGBM's own `predict` gives.

LightGBM walks down the trees row by row: a chain of branches that no processor foresees. Here every node of a tree is
compared for a block of rows at once, and each comparison strikes out the leaves that it rules out from a word of bits;
the first leaf left is the one (QuickScorer, Lucchese et al. 2015). For trees of few leaves this is several
times as fast, and a call costs next to nothing. Trees of more than 64 leaves are as well off with LightGBM.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omnifeat.compiled import compiled

__all__ = ["MAX_LEAVES", "Forest", "read_forest"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

MAX_LEAVES = 64  # bits of a word
_BLOCK = 512  # rows compared at once: their words and values stay in the nearest cache
_SMALL_PART = 8192  # rows below which another thread costs more than it saves
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
# Place of the lowest bit by a de Bruijn sequence: each power of two times it has another six bits on top.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT_PLACES = np.zeros(64, dtype=np.uint8)
for _bit in range(64):
    _BIT_PLACES[(int(_DE_BRUIJN) << _bit & int(_ALL)) >> 58] = _bit


@dataclass(frozen=True)
class Forest:
    """The trees of a booster, one after another.

    Of each inner node: `feature` (place of its column), `threshold`, `nan_left` (a missing value goes left) and
    `kept`, the bits of the leaves that are left when a row goes right. `node_starts` and `leaf_starts` (trees + 1,)
    say where a tree's nodes and leaves begin; leaves are in order from left to right. `values` are their scores.
    `node_visits` is the mean number of inner nodes that a row of the training data passes in all trees together.
    """

    feature: IntArray
    threshold: FloatArray
    nan_left: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.uint64]
    node_starts: IntArray
    leaf_starts: IntArray
    values: FloatArray
    node_visits: float

    def predict(self, values: FloatArray, threads: int = 1) -> FloatArray:
        """Raw scores float64 (n,) of values float64 (n, features), the same to the bit with any number of threads."""
        values = np.asarray(values, dtype=np.float64)
        if not values.flags.f_contiguous:
            values = np.ascontiguousarray(values)
        scores = np.zeros(len(values), dtype=np.float64)
        parts = max(1, min(threads, len(values) // _SMALL_PART))
        bounds = np.linspace(0, len(values), parts + 1).astype(np.int64)

        def score(part: int) -> None:
            _score_rows(
                values[bounds[part] : bounds[part + 1]].T, self.feature, self.threshold, self.nan_left, self.kept,
                self.node_starts, self.leaf_starts, self.values, scores[bounds[part] : bounds[part + 1]],
            )  # fmt: skip

        if parts == 1:
            score(0)
        else:
            with ThreadPoolExecutor(parts) as pool:
                list(pool.map(score, range(parts)))
        return scores


@compiled
def _score_rows(
    columns: FloatArray,
    feature: IntArray,
    threshold: FloatArray,
    nan_left: npt.NDArray[np.bool_],
    kept: npt.NDArray[np.uint64],
    node_starts: IntArray,
    leaf_starts: IntArray,
    leaves: FloatArray,
    scores: FloatArray,
) -> None:
    """Add each tree's leaf to the scores, trees in order, as LightGBM sums them; `columns` is (features, n)."""
    block = np.empty((columns.shape[0], _BLOCK), dtype=np.float64)
    words = np.empty(_BLOCK, dtype=np.uint64)
    for first in range(0, len(scores), _BLOCK):
        count = min(_BLOCK, len(scores) - first)
        for column in range(columns.shape[0]):
            for row in range(count):
                block[column, row] = columns[column, first + row]
        for tree in range(len(leaf_starts) - 1):
            for row in range(count):
                words[row] = _ALL
            for node in range(node_starts[tree], node_starts[tree + 1]):
                values = block[feature[node]]
                bound = threshold[node]
                right = kept[node]
                if nan_left[node]:
                    for row in range(count):  # NaN is not above the threshold: it stays left
                        words[row] &= right if values[row] > bound else _ALL
                else:
                    for row in range(count):
                        words[row] &= _ALL if values[row] <= bound else right
            start = leaf_starts[tree]
            for row in range(count):
                word = words[row]
                lowest = word & (~word + np.uint64(1))
                scores[first + row] += leaves[start + _BIT_PLACES[(lowest * _DE_BRUIJN) >> np.uint64(58)]]


def read_forest(text: str) -> Forest | None:
    """The trees of a booster's text form, or None where they are none that the loop knows.

    Known are trees of at most 64 leaves with one output a row, numeric splits and constant leaves, summed, in which
    zero is a number; neither categories, nor linear leaves, nor averages, nor several classes.
    """
    head, *trees = text.split("\nTree=")
    header = _fields(head)
    if header.get("num_tree_per_iteration") != "1" or "average_output" in head.splitlines() or not trees:
        return None
    features, thresholds, nan_left, kept, values = [], [], [], [], []
    node_starts, leaf_starts, visits = [0], [0], 0.0
    for tree in trees:
        fields = _fields(tree.partition("\nend of trees")[0])
        count = int(fields["num_leaves"])
        kinds = _numbers(fields, "decision_type").astype(np.int64)
        missing = (kinds >> 2) & 3  # 0 none, 1 zero, 2 NaN
        plain = fields.get("num_cat", "0") == "0" and fields.get("is_linear", "0") == "0"
        if not plain or count > MAX_LEAVES or (missing == 1).any():
            return None
        bounds = _numbers(fields, "threshold")
        left, right = (_numbers(fields, name).astype(int).tolist() for name in ("left_child", "right_child"))
        order, depths, struck = _leaves_in_order(left, right)
        features.append(_numbers(fields, "split_feature"))
        thresholds.append(bounds)
        # Where a node has no place for missing values, LightGBM takes them for zero.
        nan_left.append(np.where(missing == 2, (kinds & 2) > 0, bounds >= 0))
        kept.append(np.array([int(_ALL) & ~bits for bits in struck], dtype=np.uint64))
        values.append(_numbers(fields, "leaf_value")[order])
        rows = _numbers(fields, "leaf_count")
        if len(rows) == count and rows.sum() > 0:
            visits += float((rows[order] * depths).sum() / rows.sum())
        node_starts.append(node_starts[-1] + len(bounds))
        leaf_starts.append(leaf_starts[-1] + count)
    return Forest(
        feature=np.concatenate(features).astype(np.int32),
        threshold=np.concatenate(thresholds),
        nan_left=np.concatenate(nan_left).astype(np.bool_),
        kept=np.concatenate(kept),
        node_starts=np.array(node_starts, dtype=np.int32),
        leaf_starts=np.array(leaf_starts, dtype=np.int32),
        values=np.concatenate(values),
        node_visits=visits,
    )


def _leaves_in_order(left: list[int], right: list[int]) -> tuple[list[int], FloatArray, list[int]]:
    """Leaves from left to right, their depths, and of each node the bits of the leaves on its left side.

    LightGBM writes leaf i as the child -1 - i.
    """
    order: list[int] = []
    depths: list[int] = []
    struck = [0] * len(left)

    def walk(node: int, depth: int) -> None:
        if node < 0:
            order.append(-1 - node)
            depths.append(depth)
            return
        before = len(order)
        walk(left[node], depth + 1)
        struck[node] = (1 << len(order)) - (1 << before)
        walk(right[node], depth + 1)

    walk(0 if left else -1, 0)
    return order, np.array(depths, dtype=np.float64), struck


def _fields(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in lines if equals}


def _numbers(fields: dict[str, str], name: str) -> FloatArray:
    return np.array([float(number) for number in fields.get(name, "").split()], dtype=np.float64)
