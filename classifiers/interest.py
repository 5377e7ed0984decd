"""A classifier of query embeddings into a tree of interests (section 5.4 of the paper).

Shapes: Q queries, D embedding width, N nodes: the interests that queries of `fit` have, and all above them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits

from classifiers import decisions
from classifiers.decisions import MIN_SUPPORT, Step
from classifiers.descent import best_ends
from classifiers.encoding import EncodedQueries
from classifiers.fitting import fit_classifier
from classifiers.heads import Head
from classifiers.inputs import check_settings, read_embeddings, read_texts, read_weights
from classifiers.neighbours import KeptExamples, Neighbour, keep_examples
from classifiers.taxonomy import Taxonomy
from classifiers.tree import InterestPath, InterestTree, memberships, read_labels
from omnifeat.cores import thread_count
from omnifeat.errors import DataError, SettingError

__all__ = ["InterestClassifier", "InterestPath"]

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
_Found = TypeVar("_Found")

_BLOCK = 1 << 20  # probabilities of a block of queries


class InterestClassifier(EncodedQueries, BaseEstimator):
    """Logistic regression over a tree of interests, consistent from the root down.

    A node's probability never exceeds its parent's, siblings of which a query has one never sum to more than their
    parent has, and a query's probabilities do not depend on the queries beside it. An interest in the middle of the
    tree at which queries of `fit` end is an answer like a leaf.

    Parameters
    ----------
    head : "auto", "global" or "levels"
        One regression over all places where paths end, or one at each node of the tree among its children; "auto"
        learns both and keeps the one of less held-out loss, "global" where nothing is held out. See
        `classifiers.heads`, and `docs/classifiers.md` for which is better when.
    labels : "auto", "one" or "several"
        Whether a query has one interest or several; "auto" looks at the labels of `fit`.
    inverse_regularisation : float or None
        Scikit-learn's `C`: lower keeps the weights closer to zero. None chooses it on queries that are held out.
    calibration : float
        Share of each interest's queries, at most 0.5, that is held out to choose the regularisation and to calibrate;
        then all are learnt from. 0 leaves out both (and takes 0.1 for the regularisation if it is None).
    max_iterations : int
        Steps of the optimiser for each regression at most.
    examples_kept : int
        Training queries of each interest that are kept for `explain`; 0 for none.
    taxonomy : Taxonomy or None
        The tree that labels must be of; labels may then be ids of interests.
    unseen : "refuse" or "leave"
        What to do in `fit` about interests of the taxonomy that no query has: they can never be predicted.
    encoder : object, path, list or None
        A frozen encoder (`encode_queries`, `fingerprint`), or the folder of one or of a Transformers model: embeds
        queries that are given as text. Of a list, the vectors of all stand side by side, in its order.
    encoder_fingerprint : str or None
        Fingerprint of the frozen encoder that made the embeddings, the `encoder`'s if not given; embeddings of another
        are refused.
    threads : int or None
        Threads to use; all cores if None. The result does not depend on it.

    Attributes
    ----------
    tree_ : InterestTree
        The nodes.
    head_ : Head
        What was learnt.
    several_ : bool
        Whether queries have several interests.
    thresholds_ : float64 (N,) or None
        Least probability at which each node is predicted, after `choose_thresholds`; infinity for never.
    heads_tried_ : dict of str to float
        The held-out loss of each head that was learnt: mean negative log-likelihood.
    learned_from_ : dict of str to str
        The `part` of a dataset and the content of its `examples`, where `omnifeat classify train` fitted it.
    inverse_regularisation_, tried_, held_out_ : float, dict, int
        What was chosen, the held-out loss of each that was tried, and the queries it was chosen on.
    unseen_ : tuple of str
        Interests of the taxonomy that are never predicted.
    n_features_in_ : int
        D.
    """

    def __init__(
        self,
        *,
        head: str = "auto",
        labels: str = "auto",
        inverse_regularisation: float | None = None,
        calibration: float = 0.2,
        max_iterations: int = 200,
        examples_kept: int = 10,
        taxonomy: Taxonomy | None = None,
        unseen: str = "refuse",
        encoder: Any = None,
        encoder_fingerprint: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.head = head
        self.labels = labels
        self.inverse_regularisation = inverse_regularisation
        self.calibration = calibration
        self.max_iterations = max_iterations
        self.examples_kept = examples_kept
        self.taxonomy = taxonomy
        self.unseen = unseen
        self.encoder = encoder
        self.encoder_fingerprint = encoder_fingerprint
        self.threads = threads

    def fit(
        self, X: Any, paths: Sequence[Any], *, queries: Sequence[str] | None = None, sample_weight: Any = None
    ) -> Self:
        """Learn from Q queries.

        Parameters
        ----------
        X : float (Q, D), or Q texts
            Query embeddings, or queries for the `encoder`.
        paths : Q labels
            Each a path from the root, such as `("smileys", "face-smiling")`, or, with a taxonomy, an interest's id; or
            a list of these. A path may end above a leaf. An interest that another of the same query lies below says
            nothing and is dropped.
        queries : Q texts or None
            For `explain`; those of X if X is text.
        sample_weight : (Q,) or None
            Weight of each row, above zero.

        Raises
        ------
        DataError
            Embeddings, labels or weights are not as above; an interest is not in the taxonomy, or has no query.
        SettingError
            A setting out of its range; several interests of a query where `labels` is "one"; text without an encoder.
        """
        check_settings(self)
        fingerprint = self._own_fingerprint()
        texts = read_texts(X)
        embeddings_QD = read_embeddings(self._embedded(X, texts, learning=True))
        count = len(embeddings_QD)
        if queries is not None and len(queries) != count:
            raise DataError(f"There must be one text for each of the {count} embeddings; got {len(queries)}.")
        of_queries, distinct = read_labels(paths, count, self.taxonomy)
        weights_Q = read_weights(sample_weight, count)
        tree = InterestTree.of_paths(distinct)
        has = memberships(of_queries, tree)
        if self.labels == "one" and has.several:
            row = int(np.flatnonzero(np.diff(has.starts) > 1)[0])
            raise SettingError(
                f"Row {row + 1} has {len(of_queries[row])} interests, but labels is 'one'; set it to 'several', or "
                "give the query a row for each interest with a weight of its share."
            )
        several = has.several if self.labels == "auto" else self.labels == "several"
        unseen = self._unseen(tree)
        fitted = fit_classifier(
            tree,
            ("global", "levels") if self.head == "auto" else ("levels",) if self.head == "levels" else ("global",),
            several,
            embeddings_QD,
            has,
            weights_Q,
            inverse_regularisation=self.inverse_regularisation,
            calibration=self.calibration,
            max_iterations=self.max_iterations,
            threads=thread_count(self.threads),
        )
        kept = texts if queries is None else [str(query) for query in queries]
        examples = (
            keep_examples(embeddings_QD, has, fitted.order, self.examples_kept, kept) if self.examples_kept else None
        )
        self._set(fitted.head, examples, fingerprint)
        self.unseen_ = unseen
        self.inverse_regularisation_ = fitted.inverse_regularisation
        self.tried_ = fitted.tried
        self.held_out_ = fitted.held_out
        self.heads_tried_ = fitted.losses
        return self

    def _set(self, head: Head, examples: KeptExamples | None, fingerprint: str | None) -> None:
        self.head_ = head
        self.tree_ = head.tree
        self.several_ = head.several
        self.thresholds_: npt.NDArray[np.float64] | None = None
        self.examples_ = examples
        self.encoder_fingerprint_ = fingerprint
        self.learned_from_: dict[str, str] = {}
        self.n_features_in_ = len(head.mean)

    @property
    def levels_(self) -> tuple[tuple[InterestPath, ...], ...]:
        """Paths of the interests of each level, from the root down."""
        tree = self._fitted()
        return tuple(tree.nodes[level] for level in tree.slices)

    def classes_at(self, level: int) -> list[InterestPath]:
        """Paths of the interests of a level (0 at the root), in the order of `predict_proba`'s columns."""
        return list(self._fitted().nodes[self._level(level)])

    def choose_thresholds(
        self, X: Any, paths: Sequence[Any], *, precision: float, min_support: int = MIN_SUPPORT
    ) -> Self:
        """Set `thresholds_` so that what is predicted for development queries is right as often as is wanted.

        Each node gets the least threshold at which its precision is at least `precision`, or, where fewer than
        `min_support` development queries come to it, its level's; infinity if there is none. See
        `classifiers.decisions.choose_thresholds`.

        Raises
        ------
        DataError, SettingError, FingerprintError
            As in `fit` and `predict_proba`; no development query has an interest that the classifier knows.
        """
        tree = self._fitted()
        embeddings_QD = self._read(X, None)
        of_queries, distinct = read_labels(paths, len(embeddings_QD), self.taxonomy)
        shown = {path[:depth] for path in distinct for depth in range(1, len(path) + 1)}
        if not shown & tree.place.keys():
            raise DataError(
                f"No development query has an interest that the classifier knows, such as {tree.nodes[0]!r}; "
                "give development queries of the interests it was trained on."
            )
        # What the classifier never saw stays unknown: a query of it is one that no known interest is right for.
        ends = [tuple(_known(path, tree) for path in of_query) for of_query in of_queries]
        known = [tuple({path for path in of_query if path}) for of_query in ends]
        truth = memberships([sorted(of_query) for of_query in known], tree).closed(tree)
        nodes, end_shares = self._blocks(embeddings_QD, lambda head, block: head.ends(block))
        best = None if self.several_ else end_shares.argmax(axis=1)
        self.thresholds_, self.pooled_ = decisions.choose_thresholds(tree, nodes, best, truth, precision, min_support)
        return self

    def predict_proba(
        self, X: Any, level: int | None = None, *, encoder_fingerprint: str | None = None
    ) -> Float32Array:
        """Probability of each interest of a level, or of all nodes in the order of `tree_.nodes`; float32 (Q, C).

        Where a query has one interest, a row's sum is 1 at the root, and below it the share of queries that go so deep.

        Raises
        ------
        NotFittedError
            The classifier has not been fitted.
        SettingError
            There is no such level, or X is text and there is no encoder.
        DataError
            Embeddings of another width, or that are not finite.
        FingerprintError
            `encoder_fingerprint` is not the encoder's that the classifier was trained on.
        """
        self._fitted()
        columns = slice(None) if level is None else self._level(level)
        embeddings_QD = self._read(X, encoder_fingerprint)
        return self._blocks(embeddings_QD, lambda head, block: (head.probabilities(block)[:, columns],))[0]

    def predict(
        self, X: Any, level: int | None = None, *, encoder_fingerprint: str | None = None
    ) -> list[InterestPath]:
        """One interest per query, as its path from the root; of equals the first in order of name.

        Without a level, the most probable place where a path ends: a leaf, or an interest at which queries of `fit`
        ended; with thresholds, as far down that path as they are reached. With a level, the most probable of that
        level; with thresholds, if they are reached on its whole path. The empty path `()` abstains.
        Raised errors as in `predict_proba`.
        """
        tree = self._fitted()
        part = None if level is None else self._level(level)
        embeddings_QD = self._read(X, encoder_fingerprint)
        thresholds = self.thresholds_

        def best(head: Head, block: Float32Array) -> tuple[IntArray]:
            if part is not None:
                nodes = head.probabilities(block)
                places = nodes[:, part].argmax(axis=1) + part.start
                reached = decisions.accepted_node(tree, nodes, places, thresholds)
                return (np.where(reached == places, places, -1),)
            if thresholds is None:
                return (best_ends(head, block),)
            nodes, ends = head.ends(block)
            return (decisions.accepted_node(tree, nodes, ends.argmax(axis=1), thresholds),)

        return decisions.paths_of(tree, self._blocks(embeddings_QD, best)[0])

    def predict_several(self, X: Any, *, encoder_fingerprint: str | None = None) -> list[tuple[InterestPath, ...]]:
        """All interests of each query that reach their threshold, or a half without, with all above them.

        Of those on one path the deepest; none abstains. Raised errors as in `predict_proba`.
        """
        tree = self._fitted()
        embeddings_QD = self._read(X, encoder_fingerprint)

        def chosen(head: Head, block: Float32Array) -> tuple[npt.NDArray[np.bool_]]:
            accepted = decisions.accepted_nodes(tree, head.probabilities(block), self.thresholds_)
            return (decisions.deepest_nodes(tree, accepted),)

        deepest = self._blocks(embeddings_QD, chosen)[0]
        return [tuple(tree.nodes[node] for node in np.flatnonzero(row)) for row in deepest]

    def top_paths(
        self, X: Any, k: int = 5, *, encoder_fingerprint: str | None = None
    ) -> list[list[tuple[InterestPath, float]]]:
        """The k most probable places where each query's path ends, most probable first, with their probability.

        Fewer if the tree has fewer ends; thresholds play no part. Raised errors as in `predict_proba`.
        """
        tree = self._fitted()
        if k < 1:
            raise SettingError(f"At least one path must be asked for; got {k}.")
        embeddings_QD = self._read(X, encoder_fingerprint)
        places = np.flatnonzero(tree.ends)

        def best(head: Head, block: Float32Array) -> tuple[IntArray, Float32Array]:
            ends = head.ends(block)[1][:, places]
            order = np.argsort(-ends, axis=1, kind="stable")[:, :k]
            return order, np.take_along_axis(ends, order, axis=1)

        order, shares = self._blocks(embeddings_QD, best)
        names = [tree.nodes[place] for place in places]
        return [
            [(names[place], float(share)) for place, share in zip(row, of_row, strict=True)]
            for row, of_row in zip(order, shares, strict=True)
        ]

    def decision_path(self, X: Any, *, encoder_fingerprint: str | None = None) -> list[list[Step]]:
        """Each query's most probable path, step by step: its probability, threshold and nearest rival at each.

        Raised errors as in `predict_proba`.
        """
        tree = self._fitted()
        embeddings_QD = self._read(X, encoder_fingerprint)
        nodes, ends = self._blocks(embeddings_QD, lambda head, block: head.ends(block))
        return decisions.steps(tree, nodes, ends.argmax(axis=1), self.thresholds_)

    def explain(self, X: Any, k: int = 5, *, encoder_fingerprint: str | None = None) -> list[list[Neighbour]]:
        """The k kept training queries of highest cosine to each query, nearest first, with their interests.

        Raises
        ------
        SettingError
            No examples were kept (`examples_kept=0`), or k is below 1; and errors as in `predict_proba`.
        """
        tree = self._fitted()
        if self.examples_ is None:
            raise SettingError("No training queries were kept to explain with; train with 'examples_kept' above 0.")
        if k < 1:
            raise SettingError(f"At least one training query must be asked for; got {k}.")
        return self.examples_.nearest(tree, self._read(X, encoder_fingerprint), k)

    def score(self, X: Any, paths: Sequence[Any], sample_weight: Any = None) -> float:
        """Share of queries whose predicted path is one of theirs, or, of several, whose predicted set is theirs."""
        embeddings_QD = self._read(X, None)
        of_queries, _ = read_labels(paths, len(embeddings_QD), self.taxonomy)
        if self.several_:
            right = [set(one) == set(two) for one, two in zip(self.predict_several(X), of_queries, strict=True)]
        else:
            right = [one in two for one, two in zip(self.predict(X), of_queries, strict=True)]
        return float(np.average(right, weights=read_weights(sample_weight, len(right))))

    def save(self, path: str | Path) -> None:
        """Write the classifier as a folder (see `classifiers.saving`); raises `OutputError` if it cannot be."""
        from classifiers.saving import save_classifier

        save_classifier(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "InterestClassifier":
        """Read a classifier written by `save`; raises `DataError` if a file is missing or was changed.

        The encoder is not part of it: set `encoder` to give queries as text.
        """
        from classifiers.saving import load_classifier

        return load_classifier(path)

    def _level(self, level: int) -> slice:
        tree = self._fitted()
        if not 0 <= level < tree.depth:
            raise SettingError(f"There is no level {level}; the classifier has levels 0 to {tree.depth - 1}.")
        return tree.slices[level]

    def _unseen(self, tree: InterestTree) -> tuple[str, ...]:
        if self.taxonomy is None:
            return ()
        seen = {node[-1] for node in tree.nodes}
        unseen = tuple(interest for interest in self.taxonomy.parents if interest not in seen)
        if unseen and self.unseen == "refuse":
            others = f", nor have {len(unseen) - 1} others" if len(unseen) > 1 else ""
            raise DataError(
                f"Interest {unseen[0]!r} of the taxonomy has no query to learn from{others}; give each one, or set "
                "unseen to 'leave' (the command: leave out --strict), and they are never predicted."
            )
        return unseen

    def _blocks(self, embeddings_QD: Float32Array, function: Callable[[Head, Float32Array], Any]) -> Any:
        """A function's arrays for all queries, worked out by blocks of them on the threads."""
        head = self.head_
        size = max(256, _BLOCK // len(head.tree.nodes))
        starts = range(0, max(1, len(embeddings_QD)), size)
        threads = min(thread_count(self.threads), len(starts))
        with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
            apply: Callable[..., Any] = map if threads == 1 else pool.map
            parts = list(apply(lambda start: function(head, embeddings_QD[start : start + size]), starts))
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _known(path: InterestPath, tree: InterestTree) -> InterestPath:
    """The part of a path that the tree has."""
    while path and path not in tree.place:
        path = path[:-1]
    return path
