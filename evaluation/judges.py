"""Who judges what a system retrieved: the judgments of a table, or the raters of a simulated world."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from omnifeat.data.dataset import Dataset
from omnifeat.data.files import read_table
from omnifeat.errors import DataError
from omnifeat.simulator.panel import HIGHEST_GRADE, RaterPanel

__all__ = ["Judge", "PanelJudge", "TableJudge"]

_NEEDED = ("query", "entity_id", "grade")


class Judge(Protocol):
    """Judges pairs.

    Attributes
    ----------
    description
        A sentence for reports.
    highest_grade
        The best grade that is given.
    queries
        Queries that may be asked for; null for all.
    """

    description: str
    highest_grade: float
    queries: set[str] | None

    def judge(self, queries: Sequence[str], entity_ids: Sequence[str], entity_type: str) -> pa.Table:
        """Judgments of those of the pairs that are judged: `query`, `entity_id`, `grade`, and `rater` if known."""
        ...


class PanelJudge:
    """The raters of a simulated world, who judge any pair (see `omnifeat.simulator.panel`)."""

    def __init__(self, world: str | Path, seed: int = 0) -> None:
        self._panel = RaterPanel(world, seed)
        self.description = (
            "Three of a panel of nine raters of the simulated world judged each retrieved pair, with bias, noise and "
            f"slips (seed {seed})."
        )
        self.highest_grade = float(HIGHEST_GRADE)
        self.queries: set[str] | None = None

    def judge(self, queries: Sequence[str], entity_ids: Sequence[str], entity_type: str) -> pa.Table:
        """Three judgments of each pair."""
        return self._panel.judge(queries, entity_ids, entity_type)


class TableJudge:
    """The judgments of a table: what it does not hold stays unjudged.

    Parameters
    ----------
    judgments
        `query`, `entity_id`, `grade`; `entity_type` and `rater` where they are known.
    entity_type
        Only judgments of this type count, where the table tells types.
    name
        What reports and messages call the table.

    Raises
    ------
    DataError
        If a column is missing, a grade is not a finite number, or nothing of the type is judged.
    """

    def __init__(self, judgments: pa.Table, entity_type: str, name: str) -> None:
        missing = [column for column in _NEEDED if column not in judgments.column_names]
        if missing:
            raise DataError(
                f"{name} has no column '{missing[0]}'; a table of judgments needs {', '.join(_NEEDED)}, and rater if "
                "several judged a pair"
            )
        try:
            grades = judgments["grade"].cast(pa.float64()).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"column 'grade' of {name} is not numeric; give grades as numbers") from error
        if not np.isfinite(grades).all():
            row = int(np.argmin(np.isfinite(grades))) + 1
            raise DataError(f"row {row} of {name} has no finite grade; fill it or leave the row out")
        for column in ("query", "entity_id"):
            empty = pc.index(pc.is_null(judgments[column]), pa.scalar(True)).as_py()
            if empty >= 0:
                raise DataError(f"row {empty + 1} of {name} has no {column}; fill it or leave the row out")
        if "entity_type" in judgments.column_names:
            judgments = judgments.filter(pc.equal(judgments["entity_type"], entity_type))
        if judgments.num_rows == 0:
            raise DataError(f"{name} holds no judgment of a {entity_type}; give --entity-type, or other judgments")
        kept = [*_NEEDED, *(["rater"] if "rater" in judgments.column_names else [])]
        rows: pd.DataFrame = judgments.select(kept).to_pandas()
        self._rows = rows.astype({"query": str, "entity_id": str, "grade": float})
        self.description = f"Judgments are those of {name}; retrieved pairs that it does not hold are not judged."
        self.highest_grade = float(self._rows["grade"].max())
        self.queries: set[str] | None = set(self._rows["query"])

    @classmethod
    def of_dataset(cls, dataset: Dataset, entity_type: str) -> "TableJudge":
        """The dataset's own judgments. Raises `DataError` if it has none."""
        dataset.require("judgments", *_NEEDED, "entity_type")
        own = ["rater"] if dataset.has_column("judgments", "rater") else []
        return cls(dataset.read("judgments", [*_NEEDED, "entity_type", *own]), entity_type, dataset.place("judgments"))

    @classmethod
    def of_file(cls, path: str, entity_type: str) -> "TableJudge":
        """A table file, such as `judgments.parquet`, that `omnifeat evaluate humans` wrote."""
        return cls(read_table(path), entity_type, path)

    def judge(self, queries: Sequence[str], entity_ids: Sequence[str], entity_type: str) -> pa.Table:
        """Judgments of those of the pairs that the table holds."""
        asked = pd.DataFrame({"query": list(queries), "entity_id": list(entity_ids)}).drop_duplicates()
        found = asked.merge(self._rows, on=["query", "entity_id"], how="inner")
        return pa.Table.from_pandas(found, preserve_index=False)
