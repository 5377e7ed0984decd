"""What a study asks: sets of held-out pairs, and the corpora that their positives are ranked in (section 4.2).

    pin/save, pin/long_click, product/save, product/long_click, query/click    engaged pairs of the test part
    pin/save/fr, ...               of one group, where groups are asked for (`by`), such as a language
    pin/relevance                  relevant judged pairs, mean over countries; of products too, where they are judged
    pin/relevance/US, ...          the same of one country

All questions about one entity type share a corpus: the dataset's table `corpus` where it has one, else all entities or
a random sample of them.

Shapes: P pairs, N entities.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.catalogue import catalogue_ids, listed_ids
from evaluation.groups import pair_groups
from evaluation.judged_pairs import JudgedPositives, judged_positives
from evaluation.recall import EvaluationPairs
from evaluation.training_positives import are_among, logged_positives
from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.data.splits import split_rows
from omnifeat.errors import DataError
from omnifeat.ranks import Excluded

__all__ = ["PairGroup", "Question", "QuestionSet", "questions_of"]

BoolArray = npt.NDArray[np.bool_]

# the paper's; where a log has none of them, clicks on pins and products count
_ACTIONS = {"pin": ("save", "long_click"), "product": ("save", "long_click"), "query": ("click",)}
_LABELS = {"save": "save", "long_click": "long-click", "click": "click"}


@dataclass(frozen=True, eq=False)
class PairGroup:
    """Pairs that are ranked together, in one corpus: the engaged pairs of an entity type, or the judged ones."""

    key: str
    entity_type: str
    pairs: EvaluationPairs
    seen: BoolArray  # (P,) pairs that the training part of the log has too, by any action
    training: Excluded | None = None  # entities that a query led to in that part; see `evaluation.training_positives`

    @property
    def exclusions(self) -> list[Excluded]:
        """What counts against no positive: the query's other positives, and these and its training positives."""
        others = self.pairs.excluded(True)
        return [others, others if self.training is None else others.union(self.training)]


@dataclass(frozen=True, eq=False)
class Question:
    """One figure of a table: the mean over `members` of the Recall@10 of those pairs of a group.

    Attributes
    ----------
    key, label, heading
        `pin/save`; how a column is named, and the heading over it.
    group
        Key of the `PairGroup`.
    members
        bool (P,) each; more than one for a mean over countries.
    """

    key: str
    label: str
    heading: str
    group: str
    members: tuple[BoolArray, ...]

    @property
    def pairs(self) -> int:
        """Number of pairs that count."""
        return int(np.logical_or.reduce(self.members).sum())

    def among(self, kept: BoolArray) -> Question | None:
        """The same question about some of the pairs; None where no pair is left in one of the members."""
        members = tuple(member & kept for member in self.members)
        if not all(member.any() for member in members):
            return None
        return Question(self.key, self.label, self.heading, self.group, members)


@dataclass(frozen=True, eq=False)
class QuestionSet:
    """All questions of a dataset."""

    groups: dict[str, PairGroup]
    questions: dict[str, Question]
    relevant_grade: int | None

    def digest(self) -> str:
        """Hash of the pairs and the corpora: figures of another set are not to be mixed with these."""
        digest = hashlib.sha256()
        for key in sorted(self.groups):
            pairs, left_out = self.groups[key].pairs, self.groups[key].exclusions[1]
            digest.update(key.encode())
            digest.update("\n".join(pairs.queries).encode())
            for array in (pairs.pair_queries, pairs.pair_positives, pairs.in_corpus, *vars(left_out).values()):
                digest.update(np.ascontiguousarray(array).tobytes())
            for text in pairs.entity_ids.to_pylist():
                digest.update(text.encode() + b"\n")
        return digest.hexdigest()


def questions_of(
    dataset: Dataset,
    *,
    corpus_size: int | None,
    seed: int,
    by: str | None = None,
    groups: tuple[str, ...] | None = None,
) -> QuestionSet:
    """The questions that a dataset allows, in the order of the paper's Table 2.

    Parameters
    ----------
    corpus_size, seed
        Random entities of a type to rank among where the dataset has no table `corpus`; null for all.
    by, groups
        Column of engagements or queries whose values make more questions, and those of its values that do, in their
        order; null for none, and for all.

    Raises
    ------
    DataError
        The dataset records no split, or has no engaged pair in its test part.
    """
    if dataset.info.split is None:
        raise DataError(f"{dataset.path} records no split, so that there is nothing held out: record one")
    groupers = [name for name in ([] if by is None else [by, f"{by}s"]) if dataset.has_column("engagements", name)]
    needed = ["query", "entity_id", "entity_type", "action", dataset.info.split.column, *groupers]
    columns = list(dict.fromkeys(needed))
    dataset.require("engagements", *columns)
    engagements = dataset.read("engagements", columns)
    test = split_rows(engagements, dataset.info.split, "test")
    held: set[str] = set()
    ranked: dict[str, PairGroup] = {}
    questions: dict[str, Question] = {}
    judged = _judged(dataset)
    for entity_type, (table, _) in ENTITY_TABLES.items():
        chosen = test.filter(pc.equal(test["entity_type"], entity_type))
        actions = _ACTIONS[entity_type]
        if not pc.any(pc.is_in(chosen["action"], pa.array(actions))).as_py():
            actions = ("click",)
        chosen = chosen.filter(pc.is_in(chosen["action"], pa.array(actions)))
        if not dataset.has(table):
            continue
        # a corpus that is listed goes before one that is drawn
        in_corpus = partial(
            EvaluationPairs.make, catalogue_ids=catalogue_ids(dataset, entity_type),
            corpus_ids=listed_ids(dataset, entity_type), corpus_size=corpus_size, seed=seed,
        )  # fmt: skip
        if len(chosen):
            pairs = in_corpus(*_texts(chosen))
            ranked[entity_type] = _group(entity_type, dataset, entity_type, pairs)
            of_values, _ = pair_groups(dataset, entity_type, ("engagements", chosen), pairs, by, None)
            held |= set(of_values)
            if groups is not None:
                of_values = {name: of_values[name] for name in groups if name in of_values}
            for action in actions:
                members = _among(chosen.filter(pc.equal(chosen["action"], action)), pairs)
                questions |= _engaged(entity_type, action, members, of_values)
        of_type = None if judged is None else judged.table.filter(pc.equal(judged.table["entity_type"], entity_type))
        if judged is not None and of_type is not None and len(of_type):
            relevant = in_corpus(*_texts(of_type))
            key = f"{entity_type} judged"
            ranked[key] = _group(key, dataset, entity_type, relevant)
            questions |= _relevance(entity_type, replace(judged, table=of_type), relevant)
    if not questions:
        raise DataError(
            f"{dataset.path} has no engagements of the test part with an action that is evaluated "
            "(save, long_click, or else click), and no relevant judged pair: choose another split"
        )
    missing = next((name for name in groups or () if name not in held), None)
    if missing is not None:
        raise DataError(
            f"no test pair of {dataset.path} has '{missing}' in {by}; the groups may be {', '.join(sorted(held))}"
        )
    return QuestionSet(ranked, questions, None if judged is None else judged.relevant_grade)


def _group(key: str, dataset: Dataset, entity_type: str, pairs: EvaluationPairs) -> PairGroup:
    training = logged_positives(dataset, entity_type, pairs)
    return PairGroup(key, entity_type, pairs, are_among(training, pairs), training)


def _judged(dataset: Dataset) -> JudgedPositives | None:
    if not dataset.has("judgments"):
        return None
    return judged_positives(dataset, entity_types=("pin", "product"))


def _engaged(
    entity_type: str, action: str, members: BoolArray, of_values: Mapping[str, BoolArray]
) -> dict[str, Question]:
    """Of all pairs of an action, and of those of each group; nothing where there is none."""
    if not members.any():
        return {}
    key, label, heading = f"{entity_type}/{action}", _LABELS[action], entity_type.title()
    found = {key: Question(key, label, heading, entity_type, (members,))}
    for value, of_value in of_values.items():
        if (members & of_value).any():
            name = f"{key}/{value}"
            found[name] = Question(name, f"{label} ({value})", heading, entity_type, (members & of_value,))
    return found


def _relevance(entity_type: str, judged: JudgedPositives, pairs: EvaluationPairs) -> dict[str, Question]:
    countries = judged.countries(pairs)
    everyone = (np.ones(len(pairs.pair_queries), dtype=bool),)
    base, heading, group = f"{entity_type}/relevance", entity_type.title(), f"{entity_type} judged"
    found = {base: Question(base, "relevance", heading, group, tuple(countries.values()) or everyone)}
    for country, members in countries.items():
        key = f"{base}/{country}"
        found[key] = Question(key, f"relevance ({country})", heading, group, (members,))
    return found


def _texts(rows: pa.Table) -> tuple[list[str], list[str]]:
    """Queries and entity ids of rows of a table."""
    return rows["query"].to_pylist(), rows["entity_id"].to_pylist()


def _among(rows: pa.Table, pairs: EvaluationPairs) -> BoolArray:
    """bool (P,): which of the pairs stand in rows of the table that the pairs were made of."""
    query_rows = pc.index_in(rows["query"].cast(pa.string()), pa.array(pairs.queries, pa.string())).to_numpy()
    entity_rows = pc.index_in(rows["entity_id"].cast(pa.string()), pairs.entity_ids).to_numpy()
    width = len(pairs.entity_ids)
    numbers = query_rows.astype(np.int64) * width + entity_rows
    members: BoolArray = np.isin(pairs.pair_queries * width + pairs.pair_positives, numbers)
    return members
