"""What a stage of ranking is to the commands: which model it trains, on which columns, and what measures it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnifeat.errors import SettingError
from ranking.base import LightGBMModel

__all__ = ["Evaluation", "FitData", "MeasureSettings", "Stage", "fit_ranker"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FitData:
    """What `fit` is given, column by column; None where there is none.

    `features` holds the features alone, n rows; `labels`, `query_ids`, `positions` and `split_ids` are (n,). The
    `eval_` ones are of the rows that early stopping watches.
    """

    features: pa.Table
    labels: Any
    query_ids: Any
    positions: Any = None
    split_ids: Any = None
    eval_features: pa.Table | None = None
    eval_labels: Any = None
    eval_query_ids: Any = None
    eval_positions: Any = None


@dataclass(frozen=True)
class MeasureSettings:
    """`k` is the cut-off of figures, `top` and `within` those of what L1 keeps."""

    k: int = 10
    top: int = 10
    within: tuple[int, ...] = (50, 100, 200)


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on a table.

    `per_query` holds float64 (Q,) for each figure that is a mean over queries, in the order of `queries`, NaN where
    it says nothing of a query. `totals` holds figures of the table as a whole, `counts` whole numbers to be read
    beside them.
    """

    queries: npt.NDArray[Any]
    per_query: dict[str, FloatArray] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def merged(self, other: "Evaluation") -> "Evaluation":
        """Both evaluations' figures of the same queries."""
        return replace(
            self,
            per_query={**self.per_query, **other.per_query},
            totals={**self.totals, **other.totals},
            counts={**self.counts, **other.counts},
        )


@dataclass(frozen=True)
class Stage:
    """A stage of ranking.

    Parameters
    ----------
    kind
        Kind of its model, as in `ranking.saving.MODELS`.
    label
        Column of labels unless another is named.
    fit
        Fits a model on the data; the model's settings are the user's.
    measure
        From the model, labels (n,), scores float64 (n,), query ids (n,) and settings, its figures.
    positions, teacher
        Whether `fit` takes positions, and whether labels may be another model's scores.
    as_shown
        Whether `predict` takes positions too, so that a log is scored as it was shown.
    entity_type
        `pin` or `product` where the model is of these alone, or None.
    pictures
        Writes pictures of labels (n,) and scores (n,) into a folder and gives their names.
    """

    kind: str
    label: str
    fit: Callable[[Any, FitData], None]
    measure: Callable[[Any, Any, FloatArray, Any, MeasureSettings], Evaluation]
    positions: bool = False
    teacher: bool = False
    as_shown: bool = False
    entity_type: str | None = None
    pictures: Callable[[Path, Any, FloatArray], list[str]] | None = None


def fit_ranker(model: LightGBMModel, data: FitData) -> None:
    """Call `fit` of a ranker that knows queries, with positions where there are any."""
    more: dict[str, Any] = {}
    if data.positions is not None:
        more["positions"] = data.positions
    if data.split_ids is not None:
        more["split_ids"] = data.split_ids
    if data.eval_features is not None:
        more |= {"eval_X": data.eval_features, "eval_y": data.eval_labels, "eval_query_ids": data.eval_query_ids}
    fit: Any = getattr(model, "fit", None)
    if fit is None:
        raise SettingError(f"A {type(model).__name__} cannot be fitted.")
    fit(data.features, data.labels, query_ids=data.query_ids, **more)
