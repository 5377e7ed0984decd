"""Head and tail queries of a log, by the share of its engagements that they make (section 5.1 of the paper).

Queries are ordered by how often they stand in the log, the most frequent first and equals by text. The head are the
queries that make the first third of all engagements, the tail those that make the last third: few queries that many
people type, and many that few do. What lies between belongs to neither.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import SPLITS, split_rows
from omnifeat.errors import DataError, SettingError

__all__ = ["Stratum", "head_and_tail", "part_batches", "query_counts", "sample_queries"]


@dataclass(frozen=True)
class Stratum:
    """Queries of one kind: how many there are, the share of all engagements that they make, and those drawn of them."""

    population: int
    mass: float
    queries: list[str]


def part_batches(dataset: Dataset, part: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Batches of the engagements of a part of the split, or of `all`; parameters and errors as in `query_counts`."""
    if part not in (*SPLITS, "all"):
        raise SettingError(f"there is no split '{part}'; choose from {', '.join((*SPLITS, 'all'))}")
    split = None if part == "all" else dataset.info.split
    if part != "all" and split is None:
        raise DataError(
            f"{dataset.path} records no split in dataset.json, so there is no part '{part}'; import it with a split, "
            "or give --split all"
        )
    read = list(columns) if split is None or split.column in columns else [*columns, split.column]
    for batch in dataset.batches("engagements", read):
        rows = pa.Table.from_batches([batch])
        yield rows if split is None else split_rows(rows, split, part)


def query_counts(dataset: Dataset, part: str) -> Counter[str]:
    """How often each query stands in the engagements of a part of the split, or of `all`; read in batches.

    Raises
    ------
    DataError
        If there are no engagements, none in the part, or no recorded split to tell it by.
    SettingError
        If the part is unknown.
    """
    counts: Counter[str] = Counter()
    for rows in part_batches(dataset, part, ["query"]):
        for found in pc.value_counts(rows["query"].combine_chunks()).to_pylist():
            counts[found["values"]] += found["counts"]
    if not counts:
        raise DataError(f"{dataset.path} has no engagements in split '{part}'; check --split")
    return counts


def head_and_tail(counts: Mapping[str, int], share: float = 1 / 3) -> dict[str, list[str]]:
    """`head` and `tail` queries, the most frequent first; a query is in one of them at most.

    A query belongs to the head if those before it make less than `share` of all engagements, and to the tail if those
    after it do and it is not of the head. With few queries there may be no tail.

    Raises
    ------
    SettingError
        If the share is not above 0 and at most a half.
    """
    if not 0 < share <= 0.5:
        raise SettingError(
            f"the share of engagements of head and tail queries must be above 0 and at most 0.5, got {share}"
        )
    ordered = sorted(counts, key=lambda query: (-counts[query], query))
    mass = np.cumsum([0, *(counts[query] for query in ordered)])
    wanted = share * mass[-1]
    head = [query for place, query in enumerate(ordered) if mass[place] < wanted]
    tail = [query for place, query in enumerate(ordered) if place >= len(head) and mass[-1] - mass[place + 1] < wanted]
    return {"head": head, "tail": tail} if tail else {"head": head}


def sample_queries(
    dataset: Dataset, part: str, *, number: int, share: float, seed: int, known: Collection[str] | None = None
) -> dict[str, Stratum]:
    """Draw queries of head and tail; of a dataset without engagements, of all `known` queries as one stratum `all`.

    Parameters
    ----------
    dataset, part
        The log, and the part of its split whose queries are counted and drawn.
    number
        Queries drawn of each stratum, uniformly without replacement; all where there are fewer.
    share
        See `head_and_tail`.
    seed
        Of the draw.
    known
        Only these queries can be drawn, such as those that were judged; null for all. Strata are formed before.

    Raises
    ------
    DataError
        If no query is left, or as `query_counts`.
    SettingError
        If `number` is less than one, or as `query_counts` and `head_and_tail`.
    """
    if number < 1:
        raise SettingError(f"the number of queries must be 1 or more, got {number}")
    if dataset.has("engagements") or known is None:
        counts = query_counts(dataset, part)
        strata = head_and_tail(counts, share)
    else:
        counts = Counter(dict.fromkeys(known, 1))
        strata = {"all": sorted(known)}
    total = sum(counts.values())
    rng = np.random.default_rng(seed)
    found = {}
    for name, queries in strata.items():
        allowed = queries if known is None else [query for query in queries if query in known]
        if not allowed:
            continue
        drawn = sorted(rng.choice(len(allowed), min(number, len(allowed)), replace=False).tolist())
        mass = sum(counts[query] for query in queries) / total
        found[name] = Stratum(len(queries), mass, [allowed[row] for row in drawn])
    if not found:
        raise DataError(
            f"none of the {sum(map(len, strata.values())):,} head and tail queries of {dataset.path}, split '{part}', "
            "has a judgment; give --split all, or judgments of these queries"
        )
    return found
