"""Queries with their interests out of a dataset folder, and how often predictions meet them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from classifiers.interest import InterestClassifier, InterestPath
from classifiers.taxonomy import Taxonomy
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import SPLITS, HashSplit, split_rows
from omnifeat.errors import DataError, SettingError

__all__ = ["InterestExamples", "at_level", "commonest_interests", "interest_examples", "level_hits", "with_names"]


@dataclass(frozen=True)
class InterestExamples:
    """Q distinct queries in order of their text, and for each the paths of its interests, deepest ones only."""

    queries: tuple[str, ...]
    paths: tuple[tuple[InterestPath, ...], ...]

    def training_rows(self) -> tuple[npt.NDArray[np.int64], list[InterestPath], npt.NDArray[np.float64]]:
        """One row for each interest of each query: the query's place, its path, and the weight.

        The rows of a query of n interests weigh 1/n each, so that every query counts the same.
        """
        places = [place for place, paths in enumerate(self.paths) for _ in paths]
        weights = [1 / len(paths) for paths in self.paths for _ in paths]
        return np.array(places, dtype=np.int64), [path for paths in self.paths for path in paths], np.array(weights)

    @property
    def content(self) -> str:
        """What tells whether other examples are the same: XXH3 of 128 bits over the queries and their paths."""
        text = json.dumps([self.queries, self.paths], ensure_ascii=True)
        return xxhash.xxh3_128_hexdigest(text.encode("ascii"))


def interest_examples(dataset: Dataset, part: str | None, *, names: bool = False) -> InterestExamples:
    """Queries of one part of the dataset ("train", "development", "test"; None for all) with their interests.

    The part follows the dataset's own split where that is a hash of the query, and else a hash split of the same
    shares with no salt, so that a query's part is the same in each call. With `names` the interests' names are among
    the queries, see `with_names`; for queries to learn from alone.

    Raises
    ------
    DataError
        A table or column is missing, an interest is unknown, or the part holds no query.
    SettingError
        There is no such part.
    """
    if part is not None and part not in SPLITS:
        raise SettingError(f"There is no part {part!r} of a split; choose one of {', '.join(SPLITS)}.")
    dataset.require("interests", "interest_id", "parent_id")
    dataset.require("query_interests", "query", "interest_id")
    taxonomy = Taxonomy.from_table(dataset.read("interests"))
    table = dataset.read("query_interests", columns=["query", "interest_id"])
    _check_rows(table)  # before the split, so that rows have the numbers that they have in the table
    if part is not None:
        own = dataset.info.split
        split = own if isinstance(own, HashSplit) and own.column == "query" else HashSplit(development=0.1, test=0.1)
        table = split_rows(table, split, part)
    if table.num_rows == 0:
        where = f"part {part!r} of " if part is not None else ""
        raise DataError(f"No row of {where}table query_interests in {dataset.path} is left; choose another part.")
    examples = _gathered(table, taxonomy)
    return with_names(examples, taxonomy) if names else examples


def with_names(examples: InterestExamples, taxonomy: Taxonomy) -> InterestExamples:
    """Training queries, and the name of each interest that their paths end in as one more query of it.

    A name says what is meant: where an interest has few queries, one that was written with care is worth several. Names
    are in lower case, as people type. A name that several of these interests have is put behind as many of those above
    it as tell them apart, and one that stands among the queries already is left out.
    """
    ends = sorted({path for paths in examples.paths for path in paths})
    told = dict.fromkeys(ends, 1)
    while True:
        texts = {path: " ".join(taxonomy.names[one] for one in path[-depth:]).lower() for path, depth in told.items()}
        counts = Counter(texts.values())
        unclear = [path for path in ends if counts[texts[path]] > 1 and told[path] < len(path)]
        if not unclear:
            break
        for path in unclear:
            told[path] += 1
    known = set(examples.queries)
    new = {texts[path]: (path,) for path in ends if texts[path] not in known and counts[texts[path]] == 1}
    rows = sorted([*zip(examples.queries, examples.paths, strict=True), *new.items()])
    return InterestExamples(tuple(query for query, _ in rows), tuple(paths for _, paths in rows))


def _check_rows(table: pa.Table) -> None:
    queries = pc.cast(table["query"], pa.large_string())
    blank = pc.equal(pc.utf8_trim_whitespace(queries), "")
    for bad, what in (
        (pc.or_(pc.is_null(queries), pc.is_null(table["interest_id"])), "no query or no interest_id"),
        (pc.fill_null(blank, False), "a blank query"),
    ):
        row = pc.index(bad, True).as_py()
        if row >= 0:
            raise DataError(f"Table query_interests has {what} in row {row + 1}; fill it in, or leave the row out.")


def _gathered(table: pa.Table, taxonomy: Taxonomy) -> InterestExamples:
    interests: dict[str, set[InterestPath]] = {}
    queries = pc.cast(table["query"], pa.string()).to_pylist()
    known: dict[str, InterestPath] = {}
    for query, interest in zip(queries, table["interest_id"].to_pylist(), strict=True):
        if interest not in known:
            known[interest] = taxonomy.path(interest)
        interests.setdefault(query, set()).add(known[interest])
    ordered = sorted(interests)
    return InterestExamples(tuple(ordered), tuple(_deepest(interests[query]) for query in ordered))


def _deepest(paths: Iterable[InterestPath]) -> tuple[InterestPath, ...]:
    """Paths without those that others of them pass through, sorted."""
    chosen = set(paths)
    passed = {path[:depth] for path in chosen for depth in range(1, len(path))}
    return tuple(sorted(chosen - passed))


def level_hits(
    classifier: InterestClassifier,
    embeddings: Any,
    paths: Sequence[Sequence[InterestPath]],
    level: int,
    *,
    encoder_fingerprint: str | None = None,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether the interest predicted at a level is one of the query's, and which queries have one, each bool (Q,).

    The mean of the first over the second is the accuracy at the level, which is also its precision at one.
    """
    predicted = classifier.predict(embeddings, level, encoder_fingerprint=encoder_fingerprint)
    wanted = at_level(paths, level)
    hits = np.array([found in true for found, true in zip(predicted, wanted, strict=True)], dtype=np.bool_)
    return hits, np.array([bool(true) for true in wanted], dtype=np.bool_)


def commonest_interests(examples: InterestExamples, levels: int) -> list[InterestPath | None]:
    """The interest that most queries have at each level (of equals the first by name): a baseline without features."""
    commonest: list[InterestPath | None] = []
    for level in range(levels):
        counts: dict[InterestPath, int] = {}
        for true in at_level(examples.paths, level):
            for path in true:
                counts[path] = counts.get(path, 0) + 1
        commonest.append(min(counts, key=lambda path: (-counts[path], path)) if counts else None)
    return commonest


def at_level(paths: Sequence[Sequence[InterestPath]], level: int) -> list[set[InterestPath]]:
    """The interests of a level that each query has; none where its paths end above."""
    return [{path[: level + 1] for path in of_query if len(path) > level} for of_query in paths]
