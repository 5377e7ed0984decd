"""The most probable end of each query's path, without the probabilities of all nodes.

Of the global head the largest score is the largest probability. Of the levels head a node's probability is at most its
parent's, so that a node below the best end found so far needs no look: each query goes down the tree, most probable
child first, and scores some dozens of a thousand nodes. The result is that of looking at all.

Shapes: Q queries, D width, N nodes, K outputs.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.heads import Head
from omnifeat.compiled import compiled_reordering

__all__ = ["best_ends"]


def best_ends(head: Head, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The node at which each query's path most probably ends, of equals the first, int64 (Q,)."""
    if head.several:
        return head.ends(embeddings)[1].argmax(axis=1)
    if head.name == "global":
        return head.outputs.nodes[head.logits(embeddings).argmax(axis=1)]
    tree = head.tree
    parents = sorted(tree.children)
    group_of_node = np.full(len(tree.nodes), -1, np.int64)
    group_of_node[parents[1:]] = np.arange(1, len(parents))
    found = np.empty(len(embeddings), np.int64)
    _descend(
        np.ascontiguousarray(embeddings - head.mean),
        head.weights,
        head.intercepts,
        head.outputs.groups,
        head.outputs.nodes,
        head.outputs.stops,
        group_of_node,
        found,
    )
    return found


@compiled_reordering
def _descend(
    embeddings: Any, weights: Any, intercepts: Any, groups: Any, nodes: Any, stops: Any, group_of_node: Any, found: Any
) -> None:
    width = np.uint64(embeddings.shape[1])
    most = 0
    for group in range(len(groups) - 1):
        most = max(most, groups[group + 1] - groups[group])
    scores = np.empty(most, np.float32)
    waiting_group = np.empty(len(nodes) + 1, np.int64)  # nodes to look below, and their probability
    waiting_share = np.empty(len(nodes) + 1, np.float32)
    for row in range(embeddings.shape[0]):
        best, best_share = np.int64(-1), np.float32(-1)
        waiting_group[0], waiting_share[0] = 0, np.float32(1)
        waiting = 1
        while waiting:
            waiting -= 1
            group, share = waiting_group[waiting], waiting_share[waiting]
            if share < best_share:
                continue
            first, last = groups[group], groups[group + 1]
            top = np.float32(-np.inf)
            for output in range(first, last):
                score = np.float32(0)
                for column in range(width):
                    score += embeddings[np.uint64(row), column] * weights[np.uint64(output), column]
                score += intercepts[output]
                scores[output - first] = score
                top = max(top, score)
            total = np.float32(0)
            for place in range(last - first):
                scores[place] = np.exp(scores[place] - top)
                total += scores[place]
            begin = waiting
            for output in range(first, last):
                part = share * min(np.float32(1), scores[output - first] / total)
                node = nodes[output]
                if not stops[output] and group_of_node[node] >= 0:
                    if part >= best_share:
                        # the most probable last, where it is taken first
                        place = waiting
                        while place > begin and waiting_share[place - 1] > part:
                            waiting_share[place] = waiting_share[place - 1]
                            waiting_group[place] = waiting_group[place - 1]
                            place -= 1
                        waiting_share[place] = part
                        waiting_group[place] = group_of_node[node]
                        waiting += 1
                elif part > best_share or (part == best_share and node < best):
                    best, best_share = node, part
        found[row] = best
