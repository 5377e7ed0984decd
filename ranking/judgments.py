"""Judgments of several raters brought to one grade for each pair."""

import pandas as pd
import pyarrow as pa

__all__ = ["agreed_grades"]

_PAIR = ["query", "entity_id", "entity_type"]


def agreed_grades(judgments: pa.Table) -> pa.Table:
    """One row for each (query, entity), with the median of its raters' grades.

    Between two middle grades the lower one counts, so that grades stay those of the scale. A table in which each pair
    stands once comes back as it is.

    Parameters
    ----------
    judgments
        `query`, `entity_id`, `entity_type`, `grade`; of other columns, the first rater's value is kept, but for
        `rater`, which is left out.

    Returns
    -------
    pa.Table
        Pairs in the order in which they first stand.
    """
    rows = judgments.select([*_PAIR, "grade"]).to_pandas()
    if not rows.duplicated(_PAIR).any():
        return judgments
    first = judgments.filter(pa.array(~rows.duplicated(_PAIR)))
    pairs = pd.MultiIndex.from_frame(first.select(_PAIR).to_pandas())
    grades = rows.groupby(_PAIR, dropna=False)["grade"].quantile(0.5, interpolation="lower").reindex(pairs)
    kept = [name for name in first.column_names if name != "rater"]
    place = kept.index("grade")
    column = pa.array(grades.to_numpy(), judgments.schema.field("grade").type)
    return first.select(kept).set_column(place, "grade", column)
