"""Relevance of rankings against judgments: NDCG, average precision and the like, through ir-measures.

Rankings are ordered by (-score, id) before they are measured, because the library underneath breaks ties by
descending id. What was not judged counts as irrelevant. Queries without a positive judgment have no ideal ranking;
they are left out of the means and counted apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from omnifeat.data.dataset import Dataset
from omnifeat.data.schema import ENTITY_TYPES, did_you_mean
from omnifeat.errors import DataError, SettingError

__all__ = ["GAINS", "JudgedFigures", "as_qrels", "as_run", "judged_figures", "judgments_of_type"]

GAINS = ("linear", "exponential")
_LARGEST_GRADE = 30  # of exponential gains: beyond it they leave the range of the library's integers


@dataclass(frozen=True)
class JudgedFigures:
    """Measures of one run.

    Attributes
    ----------
    measures : tuple of str (S,)
        Names, with their parameters: `nDCG@10`.
    queries : list of str (Q,)
        Queries with at least one positive judgment, sorted.
    values : float64 (Q, S)
        Of each query; 0 where the run holds nothing for it.
    queries_without_positive
        How many judged queries have no positive judgment and are left out.
    queries_without_run
        How many of `queries` have no row in the run; they count as 0.
    unjudged
        Rows of the run, of judged queries, that were not judged and count as irrelevant.
    unscored
        Rows of the run without a finite score (null, NaN, infinite); they stand last.
    conflicting
        Pairs whose judgments differ; the lower median counts.
    """

    measures: tuple[str, ...]
    queries: list[str]
    values: npt.NDArray[np.float64]
    queries_without_positive: int
    queries_without_run: int
    unjudged: int
    unscored: int
    conflicting: int = 0

    def mean(self, measure: str) -> float:
        """Mean over the queries with a positive judgment; NaN if there are none."""
        column = self.values[:, self.measures.index(measure)]
        return float(column.mean()) if len(column) else float("nan")


def judgments_of_type(dataset: Dataset, columns: Sequence[str], entity_type: str | None) -> pd.DataFrame:
    """Columns of a dataset's judgments, of one entity type alone if it is given; `entity_type` then is among them.

    Raises
    ------
    DataError
        If the table or a column is not there, or no judgment is of the type.
    SettingError
        If there is no such type.
    """
    needed = list(dict.fromkeys([*columns, *([] if entity_type is None else ["entity_type"])]))
    dataset.require("judgments", *needed)
    judgments: pd.DataFrame = dataset.read("judgments", needed).to_pandas()
    if entity_type is not None:
        if entity_type not in ENTITY_TYPES:
            raise SettingError(
                f"there is no entity type '{entity_type}'; choose from {', '.join(ENTITY_TYPES)}"
                f"{did_you_mean(entity_type, ENTITY_TYPES)}"
            )
        kinds = set(judgments["entity_type"].dropna())
        judgments = judgments[judgments["entity_type"] == entity_type]
        if judgments.empty:
            there = ", ".join(sorted(kinds))
            raise DataError(f"{dataset.path} has no judgments with entity_type '{entity_type}'; it has {there}")
    return judgments


def as_qrels(judgments: pd.DataFrame, gain: str = "linear") -> pd.DataFrame:
    """Judgments (query, entity_id, grade) as trec-style qrels (query_id, doc_id, relevance).

    Several judgments of one pair (raters) become their median, the lower one of two in the middle. `exponential` gain
    turns a grade g into 2^g - 1.

    Raises
    ------
    DataError
        If a grade is null, negative or not a whole number.
    SettingError
        If the gain is unknown.
    """
    if gain not in GAINS:
        raise SettingError(f"there is no gain '{gain}'; choose one of {', '.join(GAINS)}")
    grades = pd.to_numeric(judgments["grade"], errors="coerce").to_numpy(dtype=np.float64)
    invalid = ~np.isfinite(grades) | (grades < 0) | (np.floor(grades) != grades)
    if gain == "exponential":
        invalid |= grades > _LARGEST_GRADE
    if invalid.any():
        row = int(invalid.argmax())
        found = judgments["grade"].iloc[row]
        raise DataError(
            f"row {row + 1} of the judgments has grade {found} for query '{judgments['query'].iloc[row]}'; grades must "
            "be whole numbers from 0 (irrelevant)" + (f" to {_LARGEST_GRADE}" if gain == "exponential" else "")
        )
    qrels = pd.DataFrame(
        {"query_id": judgments["query"].astype(str), "doc_id": judgments["entity_id"].astype(str), "relevance": grades}
    )
    one = qrels.groupby(["query_id", "doc_id"], sort=True)["relevance"].quantile(0.5, interpolation="lower")
    relevance = one.to_numpy().astype(np.int64)
    merged = one.reset_index()
    merged["relevance"] = 2**relevance - 1 if gain == "exponential" else relevance
    return merged


def as_run(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Scored pairs (query, entity_id, `score`) as a trec-style run (query_id, doc_id, score) without ties.

    The new score is minus the place by (-score, id) within the query. What is not finite comes last.

    Raises
    ------
    DataError
        If the score is not numeric, or a pair stands twice.
    """
    if not pd.api.types.is_numeric_dtype(rows[score]):
        raise DataError(f"column '{score}' of the run is not numeric ({rows[score].dtype}); name score columns only")
    run = pd.DataFrame(
        {
            "query_id": rows["query"].astype(str),
            "doc_id": rows["entity_id"].astype(str),
            "score": _finite(rows[score]),
        }
    )
    double = run.duplicated(["query_id", "doc_id"])
    if double.any():
        row = int(double.to_numpy().argmax())
        raise DataError(
            f"row {row + 1} of the run repeats the pair of query '{run['query_id'].iloc[row]}' and entity "
            f"'{run['doc_id'].iloc[row]}'; keep one row for each pair"
        )
    run = run.sort_values(["query_id", "score", "doc_id"], ascending=[True, False, True], na_position="last")
    run["score"] = -run.groupby("query_id").cumcount().astype(np.float64)
    return run.reset_index(drop=True)


def judged_figures(
    judgments: pd.DataFrame,
    rows: pd.DataFrame,
    score: str,
    measures: Sequence[str] = ("nDCG@10",),
    *,
    gain: str = "linear",
) -> JudgedFigures:
    """Measures of a run, per query.

    Parameters
    ----------
    judgments
        Columns query, entity_id, grade (see `as_qrels`).
    rows
        Columns query, entity_id and the score.
    score
        Name of the score column; higher is better.
    measures
        Names that ir-measures knows: `nDCG@10`, `AP`, `RR`, `P@10`, `R@100`. Those that only tell relevant from not,
        all but nDCG of these, take grades of 1 and more as relevant, or from `rel` on: `AP(rel=3)`, `P(rel=3)@10`.
    gain
        Of nDCG and the like. `linear`: the gain of a grade is the grade; `exponential`: 2^grade - 1. `rel` is a grade
        either way.

    Raises
    ------
    DataError
        If the judgments or the run are not as they must be.
    SettingError
        If a measure or the gain is unknown.
    """
    import ir_measures

    parsed = [_parse(name) for name in measures]
    qrels, run = as_qrels(judgments), as_run(rows, score)
    gains = as_qrels(judgments, gain)
    best = qrels.groupby("query_id", sort=True)["relevance"].max()
    queries = [str(query) for query in best.index[best > 0]]
    # Short ids: text with spaces or line breaks has no place in trec-style ids.
    number = {query: str(row) for row, query in enumerate(queries)}
    judged_run = run[run["query_id"].isin(best.index)]
    keys = pd.MultiIndex.from_frame(judged_run[["query_id", "doc_id"]])
    unjudged = ~keys.isin(pd.MultiIndex.from_frame(qrels[["query_id", "doc_id"]]))

    kept = run[run["query_id"].isin(number)]
    without_run = len(number) - kept["query_id"].nunique()
    kept = kept.assign(query_id=kept["query_id"].map(number))
    values = np.zeros((len(queries), len(measures)))
    if len(kept):
        # what compares with a grade (`rel`) must see grades, not gains
        graded = [measure for measure in parsed if "rel" in measure.SUPPORTED_PARAMS]
        gained = [measure for measure in parsed if "rel" not in measure.SUPPORTED_PARAMS]
        for chosen, judged in ((graded, qrels), (gained, gains)):
            known = judged[judged["query_id"].isin(number)]
            known = known.assign(query_id=known["query_id"].map(number))
            for result in ir_measures.iter_calc(chosen, known, kept) if chosen else ():
                values[int(result.query_id), parsed.index(result.measure)] = result.value
    return JudgedFigures(
        tuple(measures),
        queries,
        values,
        int((best == 0).sum()),
        without_run,
        int(unjudged.sum()),
        int(_finite(rows[score]).isna().sum()),
        int((judgments.groupby(["query", "entity_id"])["grade"].nunique() > 1).sum()),
    )


def _finite(scores: "pd.Series[Any]") -> "pd.Series[float]":
    """Scores as float64, NaN for what is not finite."""
    values = scores.astype("float64")
    return values.where(np.isfinite(values))


def _parse(name: str) -> Any:
    import ir_measures

    try:
        measure = ir_measures.parse_measure(name)
    except (NameError, ValueError, SyntaxError, KeyError) as error:
        raise SettingError(f"there is no measure '{name}'; use names such as nDCG@10, AP, RR, P@10 or R@100") from error
    for setting in ("cutoff", "rel"):
        value = measure.params.get(setting, 1)
        if isinstance(value, int | float) and value < 1:  # trec_eval ends the process
            raise SettingError(f"the {setting} of the measure '{name}' must be 1 or more")
    return measure
