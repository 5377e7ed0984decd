"""Human relevance of what systems retrieve, for head and tail queries (section 5.1 of the paper).

Each system retrieves its first k entities for a sample of head and of tail queries. Every retrieved pair is judged, by
the raters of a simulated world or by a table of judgments, and each system is measured by

    relevant      share of its judged pairs whose median grade (the lower of two in the middle) reaches a threshold
    mean grade    mean over its judged pairs of the mean of their raters
    found         relevant pairs over all places (k a query); a place that is empty or not judged counts as not relevant

with intervals over queries. A token-based system retrieves nothing that shares no token with the query: its places then
stay empty, which `found` holds against it and `relevant` does not.

Shapes: Q queries, N entities, K places, S systems, M figures.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from evaluation.agreement import Agreement, rater_agreement
from evaluation.human_results import (
    FIGURES,
    Example,
    HumanRelevance,
    HumanSettings,
    Shown,
    StratumRelevance,
    SystemRelevance,
)
from evaluation.judged_pairs import default_relevant_grade
from evaluation.judges import Judge
from evaluation.query_strata import Stratum
from evaluation.ratios import Ratios
from evaluation.top import Retrieval
from omnifeat.errors import DataError, SettingError

__all__ = ["judge_retrievals"]

FloatArray = npt.NDArray[np.float64]


def judge_retrievals(
    strata: Mapping[str, Stratum],
    retrievals: Mapping[str, Retrieval],
    entity_ids: pa.Array,
    texts: Sequence[str],
    judge: Judge,
    settings: HumanSettings,
    *,
    engaged: frozenset[tuple[str, str]] = frozenset(),
    reference: str | None = None,
) -> HumanRelevance:
    """Have what systems retrieved judged, and measure; however it was retrieved.

    Parameters
    ----------
    strata
        Name -> its queries; together, in this order, they are the Q queries of the retrievals.
    retrievals
        System -> what it retrieved, `settings.k` places. The names are the caller's; `settings.systems` is not read.
    entity_ids, texts
        Id and shown text of each entity (N).
    judge, settings
        Of the retrieved pairs; what is compared.
    engaged
        Pairs of query and entity id that people engaged with, which examples point out.
    reference
        System that the others are compared with; null for the settings' own.

    Raises
    ------
    DataError
        If nothing that was retrieved was judged.
    SettingError
        If the reference is not among the systems.
    """
    reference = reference or settings.compared_with
    if reference not in retrievals:
        raise SettingError(f"the reference '{reference}' is not among the systems {', '.join(retrievals)}")
    queries = [query for stratum in strata.values() for query in stratum.queries]
    ids: list[str] = entity_ids.to_pylist()
    asked = {
        (query, ids[row])
        for retrieval in retrievals.values()
        for query, rows in zip(queries, retrieval.rows.tolist(), strict=True)
        for row in rows
        if row >= 0
    }
    pairs = sorted(asked)
    given = judge.judge([query for query, _ in pairs], [entity_id for _, entity_id in pairs], settings.entity_type)
    if given.num_rows == 0:
        raise DataError(
            f"none of the {len(pairs):,} retrieved pairs was judged; give judgments of what these systems retrieve, or "
            "--world for a simulated world's raters"
        )
    relevant_grade = settings.relevant_grade
    if relevant_grade is None:
        relevant_grade = default_relevant_grade(judge.highest_grade)
    judgments: pd.DataFrame = given.to_pandas()
    raters: dict[tuple[str, str], tuple[float, ...]] = {}
    for query, entity_id, grade in zip(judgments["query"], judgments["entity_id"], judgments["grade"], strict=True):
        raters[query, entity_id] = (*raters.get((query, entity_id), ()), float(grade))
    median = {pair: sorted(grades)[(len(grades) - 1) // 2] for pair, grades in raters.items()}
    names = list(retrievals)
    sums, counts = _sums(queries, ids, retrievals, raters, median, relevant_grade)
    # one row for each query: bounds of the strata follow from their sizes
    bounds = np.cumsum([0, *(len(stratum.queries) for stratum in strata.values())]).tolist()
    parts = {name: slice(bounds[place], bounds[place + 1]) for place, name in enumerate(strata)}
    if len(parts) > 1:
        parts["all"] = slice(0, len(queries))
    found = {}
    for name, rows in parts.items():
        of = [strata[name]] if name in strata else list(strata.values())
        found[name] = StratumRelevance(
            rows.stop - rows.start,
            sum(stratum.population for stratum in of),
            sum(stratum.mass for stratum in of),
            _measure(names, reference, sums[rows], counts[rows], retrievals, rows, settings),
        )
    return HumanRelevance(
        found,
        reference,
        float(relevant_grade),
        len(ids),
        judge.description,
        _agreement(judgments, relevant_grade, settings),
        _examples(strata, parts, retrievals, ids, texts, raters, median, engaged, settings.examples),
        _with_type(given, settings.entity_type),
    )


def _sums(
    queries: list[str],
    ids: list[str],
    retrievals: Mapping[str, Retrieval],
    raters: Mapping[tuple[str, str], tuple[float, ...]],
    median: Mapping[tuple[str, str], float],
    relevant_grade: float,
) -> tuple[FloatArray, FloatArray]:
    """Sums and counts float64 (Q, S, 3) of the figures in the order of `FIGURES`."""
    sums = np.zeros((len(queries), len(retrievals), len(FIGURES)))
    counts = np.zeros_like(sums)
    for system, retrieval in enumerate(retrievals.values()):
        for place, (query, rows) in enumerate(zip(queries, retrieval.rows.tolist(), strict=True)):
            judged = [(query, ids[row]) for row in rows if row >= 0 and (query, ids[row]) in median]
            relevant = sum(median[pair] >= relevant_grade for pair in judged)
            sums[place, system] = relevant, sum(float(np.mean(raters[pair])) for pair in judged), relevant
            counts[place, system] = len(judged), len(judged), len(rows)
    return sums, counts


def _measure(
    names: list[str],
    reference: str,
    sums_QSF: FloatArray,
    counts_QSF: FloatArray,
    retrievals: Mapping[str, Retrieval],
    rows: slice,
    settings: HumanSettings,
) -> dict[str, SystemRelevance]:
    shape = (len(sums_QSF), -1)
    ratios = Ratios.make(
        sums_QSF.reshape(shape),
        counts_QSF.reshape(shape),
        resamples=settings.resamples,
        level=settings.level,
        seed=settings.seed,
    )
    width, place = len(FIGURES), names.index(reference)

    def less(figures_M: FloatArray) -> FloatArray:
        by_system = figures_M.reshape(*figures_M.shape[:-1], len(names), width)
        return (by_system - by_system[..., [place], :]).reshape(figures_M.shape)

    values, differences = ratios.intervals(), ratios.combined(less).intervals()
    found = {}
    for system, name in enumerate(names):
        own = slice(system * width, (system + 1) * width)
        retrieved = int((retrievals[name].rows[rows] >= 0).sum())
        found[name] = SystemRelevance(
            dict(zip(FIGURES, values[own], strict=True)),
            None if name == reference else dict(zip(FIGURES, differences[own], strict=True)),
            retrieved,
            int(counts_QSF[:, system, 0].sum()),
            retrievals[name].rows[rows].size - retrieved,
        )
    return found


def _agreement(judgments: pd.DataFrame, relevant_grade: float, settings: HumanSettings) -> Agreement | None:
    if "rater" not in judgments.columns:
        return None
    named = judgments[judgments["rater"].notna()]
    if not named.duplicated(["query", "entity_id"]).any():
        return None
    return rater_agreement(
        judgments, relevant_grade, resamples=settings.resamples, level=settings.level, seed=settings.seed
    )


def _examples(
    strata: Mapping[str, Stratum],
    parts: Mapping[str, slice],
    retrievals: Mapping[str, Retrieval],
    ids: list[str],
    texts: Sequence[str],
    raters: Mapping[tuple[str, str], tuple[float, ...]],
    median: Mapping[tuple[str, str], float],
    engaged: frozenset[tuple[str, str]],
    number: int,
) -> list[Example]:
    found = []
    for name, stratum in strata.items():
        for place, query in enumerate(stratum.queries[:number], parts[name].start):
            systems = {}
            for system, retrieval in retrievals.items():
                listed = zip(retrieval.rows[place].tolist(), retrieval.scores[place].tolist(), strict=True)
                systems[system] = [
                    Shown(
                        ids[row],
                        texts[row],
                        score,
                        median.get((query, ids[row])),
                        raters.get((query, ids[row]), ()),
                        (query, ids[row]) in engaged,
                    )
                    for row, score in listed
                    if row >= 0
                ]
            found.append(Example(query, name, systems))
    return found


def _with_type(judgments: pa.Table, entity_type: str) -> pa.Table:
    """The judgments with the columns of a dataset's table."""
    columns = ["query", "entity_id", "grade", *(["rater"] if "rater" in judgments.column_names else [])]
    kinds = pa.array([entity_type] * judgments.num_rows, pa.string())
    return judgments.select(columns).append_column("entity_type", kinds).replace_schema_metadata(None)
