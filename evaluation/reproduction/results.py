"""What a study found, as it stands in `results.json`: everything that its report shows, and nothing else.

The report is made from this alone, so that it can be made anew without a training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from omnifeat.data.artefacts import read_bytes
from omnifeat.data.files import replace_when_whole
from omnifeat.data.locations import one_line
from omnifeat.errors import DataError

__all__ = [
    "CORPUS_SIZES",
    "Cell",
    "Claim",
    "Column",
    "CorpusCurve",
    "CurvePoint",
    "Difference",
    "Estimate",
    "Histogram",
    "Machine",
    "Query",
    "Retrieved",
    "Row",
    "Section",
    "StudyResults",
    "Table",
    "Trained",
]

_LARGEST = 2**30  # bytes

CORPUS_SIZES = "corpus sizes"
"""Key of the table of differences by size of the corpus."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Estimate(_Record):
    """A figure with its interval, from the bootstrap over queries; `low` and `high` are None without one."""

    value: float
    low: float | None = None
    high: float | None = None


class Difference(_Record):
    """A row's figure less another row's on the same pairs and resamples.

    `relative` is the difference over the other row's figure (0.2 is 20% more); None where that is zero. It is beyond
    noise where the interval leaves out zero.
    """

    to: str
    value: float
    low: float | None = None
    high: float | None = None
    relative: float | None = None

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class Cell(_Record):
    """One figure of a table.

    Attributes
    ----------
    ours
        Mean over the seeds where there are several; the interval then is of all of them together.
    per_seed
        The figure of each seed, where there are several.
    paper
        The paper's figure; None where it has none.
    paper_relative
        The paper's relative difference to the same row that `difference` is to.
    difference
        To the row that the table compares this one with.
    pairs, queries
        What the figure was measured on.
    """

    ours: Estimate
    per_seed: list[float] = Field(default_factory=list)
    paper: float | None = None
    paper_relative: float | None = None
    difference: Difference | None = None
    pairs: int
    queries: int


class Row(_Record):
    """A system in a table; a column that it has no figure for is not in `cells`."""

    key: str
    label: str
    cells: dict[str, Cell]


class Column(_Record):
    """A column: `group` is the heading over several columns, such as "Pin"; `unit` says how a value is written."""

    key: str
    label: str
    group: str
    unit: Literal["share", "plain"] = "share"


class Table(_Record):
    """A table beside the paper's.

    Attributes
    ----------
    key
        `2` to `6` for the paper's, a word for others (such as `matryoshka`).
    title, caption
        Heading, and what was compared, on what, and how; several sentences.
    notes
        Sentences under the table: what is missing, and why.
    """

    key: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str] = Field(default_factory=list)


class Claim(_Record):
    """A direction that the paper finds, held against what was found here.

    `verdict`: `shown` beyond noise; `not shown`, as the interval holds both; `contrary` beyond noise; `not measured`.
    """

    table: str
    text: str
    verdict: Literal["shown", "not shown", "contrary", "not measured"]
    evidence: str


class CurvePoint(_Record):
    """Loss of a training at a step, mean since the point before."""

    step: int
    loss: float


class Trained(_Record):
    """One training.

    Attributes
    ----------
    name, seed, what
        Its variation and seed, and a sentence on what is other than in the base.
    changes
        Setting -> value, as the variation declares them.
    tasks
        Names of the tasks that it was trained on.
    steps, batch_size, pairs_seen, seconds
        How long; `pairs_seen` is steps times the batch.
    peak_memory
        Largest resident size of its process in bytes; None where it is not known.
    used_by
        Keys of the tables that use it.
    """

    name: str
    seed: int
    what: str
    changes: dict[str, str]
    tasks: list[str]
    steps: int
    batch_size: int
    pairs_seen: int
    seconds: float
    peak_memory: int | None
    fingerprint: str
    final_loss: float
    curve: list[CurvePoint]
    used_by: list[str]


class Histogram(_Record):
    """How cosines lie: of queries with their positives, and with random entities of the same type.

    `edges` has one value more than each of the two lists, which are shares that sum to 1.
    """

    system: str
    entity_type: str
    edges: list[float]
    positive: list[float]
    random: list[float]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        bins = len(self.edges) - 1
        if bins < 1 or len(self.positive) != bins or len(self.random) != bins:
            raise ValueError(
                f"{len(self.edges)} edges do not fit {len(self.positive)} shares of positives and {len(self.random)} "
                "of random entities: an edge more than shares of each is needed"
            )
        return self


class CorpusCurve(_Record):
    """Recall@10 of one system's pairs against random corpora of growing size; one figure for each size."""

    system: str
    entity_type: str
    sizes: list[int]
    recall: list[Estimate]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.sizes) != len(self.recall):
            raise ValueError(f"{len(self.sizes)} sizes do not fit {len(self.recall)} figures: each needs its own")
        return self


class Retrieved(_Record):
    """An entity that a system retrieved: `grade` is the judgment where there is one, `engaged` of the test part."""

    entity_id: str
    entity_type: str
    text: str
    score: float
    grade: float | None = None
    engaged: bool = False


class Query(_Record):
    """A query of the gallery, and the first entities of each system."""

    query: str
    kind: str  # head or tail
    country: str | None = None
    systems: dict[str, list[Retrieved]]


class Section(_Record):
    """Anything else that the report tells, as paragraphs and an optional table."""

    key: str
    title: str
    paragraphs: list[str]
    table: Table | None = None


class Machine(_Record):
    """Where it was measured."""

    cores: int
    threads: int
    memory_gib: float
    accelerator: str | None
    system: str
    versions: dict[str, str]


class StudyResults(_Record):
    """A whole study.

    Attributes
    ----------
    finished
        Time in UTC, ISO 8601.
    command
        What makes it again.
    data
        Name of a count -> its number, in the order in which they are shown: entities, pairs of each part, and so on.
    settings
        What all trainings and measurements have in common: name -> value as text.
    seconds
        Of all trainings and measurements together, also those of earlier runs that this one went on from.
    peak_memory
        Largest resident size of the measuring process in bytes.
    """

    format_version: Literal[1] = 1
    title: str
    finished: str
    command: str
    dataset: str
    preset: str
    seeds: list[int]
    data: dict[str, int]
    settings: dict[str, str]
    tables: list[Table]
    claims: list[Claim]
    trained: list[Trained]
    histograms: list[Histogram] = Field(default_factory=list)
    corpus_curves: list[CorpusCurve] = Field(default_factory=list)
    gallery: list[Query] = Field(default_factory=list)
    sections: list[Section] = Field(default_factory=list)
    machine: Machine
    seconds: float
    peak_memory: int | None = None

    def save(self, path: Path) -> None:
        """Write the file; it appears when it is whole."""
        with replace_when_whole(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        Raises
        ------
        DataError
            The file is missing or not what it must be.
        """
        try:
            return cls.model_validate_json(read_bytes(path, limit=_LARGEST, remedy="run the study that writes it"))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "its content"
            raise DataError(f"{path}: {where} is wrong ({one_line(first['msg'])}): run the study anew") from error
