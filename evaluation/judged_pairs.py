"""Relevance as the paper measures it (section 4.2): relevant judged pairs as positives, Recall@k by country.

A pair is relevant if the grade that its raters agree on, their median (the lower of two in the middle), reaches a
threshold. It is then ranked in the corpus as an engaged pair is. The paper's "avg relevance" is the mean of the
countries' figures, so that a country with many judged pairs weighs no more than one with few.

Shapes: P pairs, Q queries, S systems, G countries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from evaluation.bootstrap import Interval
from evaluation.judged import as_qrels
from evaluation.ratios import Ratios, mean_over_groups
from evaluation.recall import EvaluationPairs, check_ks, per_query_sums
from omnifeat.data.dataset import Dataset
from omnifeat.data.splits import split_rows
from omnifeat.errors import DataError, SettingError

__all__ = [
    "GroupRecall",
    "JudgedPositives",
    "RecallByGroup",
    "default_relevant_grade",
    "group_mean_figures",
    "judged_positives",
    "positives_of_split",
    "recall_by_group",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class JudgedPositives:
    """Relevant pairs.

    Attributes
    ----------
    table
        `query`, `entity_id`, `entity_type`, and `country` where it is known: a row for each relevant pair and country.
    relevant_grade
        Grades from here on are relevant.
    judged, relevant
        Entity type -> number of pairs that were judged, and of those that are relevant.
    """

    table: pa.Table
    relevant_grade: int
    judged: dict[str, int]
    relevant: dict[str, int]

    def pairs(self, corpus_ids: pa.StringArray, *, corpus_size: int | None = None, seed: int = 0) -> EvaluationPairs:
        """The pairs in a corpus; parameters and errors as in `EvaluationPairs.make`."""
        queries, ids = self.table["query"].to_pylist(), self.table["entity_id"].to_pylist()
        return EvaluationPairs.make(queries, ids, corpus_ids, corpus_size=corpus_size, seed=seed)

    def countries(self, pairs: EvaluationPairs) -> dict[str, BoolArray]:
        """Members bool (P,) of each country in the order of the alphabet; empty where no country is known."""
        if "country" not in self.table.column_names:
            return {}
        ids = pairs.entity_ids.to_pylist()
        named = zip(pairs.pair_queries.tolist(), pairs.pair_positives.tolist(), strict=True)
        row_of = {(pairs.queries[query], ids[positive]): row for row, (query, positive) in enumerate(named)}
        members: dict[str, BoolArray] = {}
        columns = (self.table[name].to_pylist() for name in ("query", "entity_id", "country"))
        for query, entity_id, country in zip(*columns, strict=True):
            row = row_of.get((query, entity_id))
            if country is not None and row is not None:
                members.setdefault(country, np.zeros(len(pairs.pair_queries), dtype=bool))[row] = True
        return dict(sorted(members.items()))


def default_relevant_grade(highest: float) -> int:
    """The smallest whole grade above half of the highest that was given: 3 of 0 to 4, 2 of 0 to 3 or 2, 1 of 0 to 1."""
    return int(highest // 2) + 1


def judged_positives(
    dataset: Dataset, *, entity_types: Sequence[str] | None = None, relevant_grade: int | None = None
) -> JudgedPositives:
    """Relevant pairs of a dataset's judgments.

    The country of a pair is that of its judgments, or of its query where `judgments` has no such column. A pair that
    was judged for several countries counts in each, and once overall; its grade is that of all its raters.

    Parameters
    ----------
    dataset
        Holds `judgments`.
    entity_types
        `pin`, `product`, `query`; null for all.
    relevant_grade
        Grades from here on are relevant; null for `default_relevant_grade` of the judgments of all types.

    Raises
    ------
    DataError
        If the judgments are missing or not as they must be, or none is relevant.
    SettingError
        If `relevant_grade` is less than 1.
    """
    if relevant_grade is not None and relevant_grade < 1:
        raise SettingError(f"the grade from which a pair is relevant must be 1 or more, got {relevant_grade}")
    own = ["country"] if dataset.has_column("judgments", "country") else []
    columns = ["query", "entity_id", "entity_type", "grade", *own]
    dataset.require("judgments", *columns)
    judgments: pd.DataFrame = dataset.read("judgments", columns).to_pandas()
    highest = float(judgments["grade"].max())
    from_grade = default_relevant_grade(highest) if relevant_grade is None else relevant_grade
    if highest < from_grade:
        raise DataError(
            f"no judgment of {dataset.path} has a grade of {from_grade} or more, from which a pair is relevant: the "
            f"highest is {highest:g}; check the grades, or name a lower one with --relevant-grade"
        )
    if entity_types is not None:
        judgments = judgments[judgments["entity_type"].isin(list(entity_types))]
    parts: list[pd.DataFrame] = []
    judged: dict[str, int] = {}
    counts: dict[str, int] = {}
    for entity_type, members in judgments.groupby("entity_type", sort=True):
        agreed = as_qrels(members)
        relevant = agreed[agreed["relevance"] >= from_grade]
        judged[str(entity_type)], counts[str(entity_type)] = len(agreed), len(relevant)
        part = pd.DataFrame({"query": relevant["query_id"], "entity_id": relevant["doc_id"]})
        part["entity_type"] = str(entity_type)
        if own:
            of_pair = members[["query", "entity_id", "country"]].drop_duplicates()
            part = part.merge(of_pair, on=["query", "entity_id"], how="left")
        parts.append(part)
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if found.empty:
        shown = "" if entity_types is None else f" of type {', '.join(entity_types)}"
        raise DataError(
            f"no judged pair{shown} of {dataset.path} has a grade of {from_grade} or more by the median of its "
            "raters, so there is nothing to rank; name a lower grade with --relevant-grade, or another --entity-type"
        )
    if not own and dataset.has_column("queries", "country"):
        known: pd.DataFrame = dataset.read("queries", ["query", "country"]).to_pandas().drop_duplicates()
        found = found.merge(known, on="query", how="left")
    fields = [pa.field(name, pa.string()) for name in found.columns]
    return JudgedPositives(
        pa.Table.from_pandas(found, pa.schema(fields), preserve_index=False), from_grade, judged, counts
    )


def positives_of_split(dataset: Dataset, found: JudgedPositives, part: str) -> tuple[pa.Table, dict[str, str]]:
    """The relevant pairs in a part of the dataset's split, or in `all`; entity type -> a sentence that says which.

    A split by a column that judgments do not have, such as the time of a log, does not part them: then all count.
    """
    table, split, end = found.table, dataset.info.split, ""
    if part != "all" and split is not None:
        if split.column in table.column_names:
            table = split_rows(table, split, part)
            end = f", of which those of the part '{part}' count"
        else:
            end = f"; judgments have no {split.column}, so that the split does not part them"
    return table, {
        entity_type: "Positives are the judged pairs with a grade of "
        f"{found.relevant_grade} or more by the median of their raters (the lower of two in the middle), "
        f"{found.relevant[entity_type]:,} of {judged:,}{end}."
        for entity_type, judged in found.judged.items()
    }


@dataclass(frozen=True)
class GroupRecall:
    """Recall@k of each system on one group, and its differences to the reference systems.

    Attributes
    ----------
    pairs, queries
        What was measured, counted once each.
    recall
        System -> Recall@k with its interval.
    differences
        Reference system -> system -> its recall less the reference's on the same resamples.
    """

    pairs: int
    queries: int
    recall: dict[str, Interval]
    differences: dict[str, dict[str, Interval]]


@dataclass(frozen=True)
class RecallByGroup:
    """Recall@k of each group (country), and the mean of the groups' figures, each group weighing the same."""

    groups: dict[str, GroupRecall]
    average: GroupRecall


def recall_by_group(
    ranks: Mapping[str, IntArray],
    pairs: EvaluationPairs,
    groups: Mapping[str, BoolArray],
    *,
    k: int = 10,
    references: Sequence[str] = (),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> RecallByGroup:
    """Recall@k by group and on average over the groups, with intervals and paired differences.

    Parameters
    ----------
    ranks
        System -> ranks int64 (P,) of the pairs' positives, however they were made.
    pairs
        What was ranked.
    groups
        Country -> members bool (P,); see `JudgedPositives.countries`. Groups may overlap.
    k
        Cut-off.
    references
        Systems that each system is compared with.
    resamples, level, seed
        Of the bootstrap over whole queries. One draw of the queries measures everything: all groups, their mean and all
        differences. A resample that draws none of a group's pairs has the mean of the other groups.

    Raises
    ------
    SettingError
        If `k` is less than one, a reference is not among the systems, or `resamples` or `level` is wrong.
    DataError
        If there is no group, or one has no pair.
    """
    check_ks((k,))
    unknown = next((name for name in references if name not in ranks), None)
    if unknown is not None:
        raise SettingError(f"there is no system '{unknown}' to compare with; choose from {', '.join(ranks)}")
    names = list(ranks)
    hits_PS = (np.column_stack([ranks[name] for name in names]) <= k).astype(np.float64)
    ratios = _group_ratios(hits_PS, pairs, groups, resamples=resamples, level=level, seed=seed)
    shape = (len(groups), len(names))

    def figures(place: int, members: BoolArray) -> GroupRecall:
        """Of the group at this place, the last of which is the mean of all."""

        def of_group(figures_M: FloatArray) -> FloatArray:
            figures_GS = figures_M.reshape(*figures_M.shape[:-1], *shape)
            return mean_over_groups(figures_GS) if place == shape[0] else figures_GS[..., place, :]

        own = ratios.combined(of_group)
        differences = {
            reference: dict(zip(names, own.less(names.index(reference)).intervals(), strict=True))
            for reference in references
        }
        recall = dict(zip(names, own.intervals(), strict=True))
        queries = len(np.unique(pairs.pair_queries[members]))
        return GroupRecall(int(members.sum()), queries, recall, differences)

    found = {name: figures(place, members) for place, (name, members) in enumerate(groups.items())}
    anywhere = np.logical_or.reduce(list(groups.values()))
    return RecallByGroup(found, figures(shape[0], anywhere))


def group_mean_figures(
    values_PS: FloatArray,
    pairs: EvaluationPairs,
    groups: Mapping[str, BoolArray],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Ratios:
    """Mean over the groups of each group's mean over its pairs: S figures, resampled by whole queries.

    Parameters
    ----------
    values_PS : float64 (P, S)
        Of each pair and system, such as hits or reciprocal ranks.

    Other parameters and errors as in `recall_by_group`.
    """
    ratios = _group_ratios(values_PS, pairs, groups, resamples=resamples, level=level, seed=seed)
    shape = (len(groups), values_PS.shape[1])
    return ratios.combined(lambda figures_M: mean_over_groups(figures_M.reshape(*figures_M.shape[:-1], *shape)))


def _group_ratios(
    values_PS: FloatArray,
    pairs: EvaluationPairs,
    groups: Mapping[str, BoolArray],
    *,
    resamples: int,
    level: float,
    seed: int,
) -> Ratios:
    """A figure for each group and system, (G x S,) in rows of groups."""
    if not groups:
        raise DataError(
            "the judged pairs have no country, so there is no mean over countries; give judgments a country"
        )
    empty = next((name for name, members in groups.items() if not members.any()), None)
    if empty is not None:
        raise DataError(f"group '{empty}' has no pair; leave it out")
    sums, counts = [], []
    for members in groups.values():
        own, count = per_query_sums(values_PS[members], pairs.pair_queries[members], len(pairs.queries))
        sums.append(own)
        counts.append(np.repeat(count[:, None], own.shape[1], axis=1))
    return Ratios.make(np.hstack(sums), np.hstack(counts), resamples=resamples, level=level, seed=seed)
