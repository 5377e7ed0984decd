"""What a study of human relevance is asked and what it finds (section 5.1); `evaluation.human_relevance` measures."""

from dataclasses import dataclass

import pyarrow as pa

from evaluation.agreement import Agreement
from evaluation.baselines import ENTITY_TEXT_FIELDS
from evaluation.bootstrap import Interval
from evaluation.study_rows import ROWS
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.errors import SettingError
from omnifeat.retrieval.lexical import LEXICAL_SCORERS

__all__ = [
    "FIGURES",
    "TOKEN_BASED",
    "Example",
    "HumanRelevance",
    "HumanSettings",
    "Shown",
    "StratumRelevance",
    "SystemRelevance",
]

FIGURES = ("relevant", "mean grade", "found")
TOKEN_BASED = tuple(name for name in LEXICAL_SCORERS if name != "random")


@dataclass(frozen=True, kw_only=True)
class HumanSettings:
    """What is compared.

    Attributes
    ----------
    systems
        Names in `evaluation.study_rows.ROWS`, at least two.
    reference
        The system that the others are compared with; null for the first token-based one, or else the last.
    entity_type
        What is retrieved.
    split
        Part of the recorded split whose queries are sampled, or `all`.
    queries
        Drawn of the head, and of the tail.
    share
        Share of the engagements that head queries make, and tail queries (see `evaluation.query_strata`).
    k
        Entities that each system retrieves for a query.
    relevant_grade
        Grades from here on are relevant; null for more than half of the highest that the judge gives.
    token_fields
        Columns of the text that token-based systems see of an entity.
    pretrained_fields
        The same of a pretrained encoder.
    examples
        Queries of each stratum that are shown with what each system retrieved: the first of those drawn.
    resamples, level, seed
        Of the bootstrap over queries; the seed draws the queries too.
    """

    systems: tuple[str, ...] = ("learned", "bm25-words")
    reference: str | None = None
    entity_type: str = "pin"
    split: str = "test"
    queries: int = 100
    share: float = 1 / 3
    k: int = 10
    relevant_grade: float | None = None
    token_fields: tuple[str, ...] = ENTITY_TEXT_FIELDS
    pretrained_fields: tuple[str, ...] = ("title", "description", "caption", "engaged_queries")
    examples: int = 3
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = next((name for name in self.systems if name not in ROWS), None)
        if unknown is not None:
            raise SettingError(f"there is no system '{unknown}'; choose from {', '.join(ROWS)}")
        if len(set(self.systems)) < 2 or len(set(self.systems)) < len(self.systems):
            raise SettingError(f"two or more different systems are compared, got {', '.join(self.systems) or 'none'}")
        if self.reference is not None and self.reference not in self.systems:
            raise SettingError(f"the reference '{self.reference}' is not among the systems {', '.join(self.systems)}")
        if self.entity_type not in ENTITY_TABLES:
            raise SettingError(f"there is no entity type '{self.entity_type}'; choose from {', '.join(ENTITY_TABLES)}")
        if self.k < 1:
            raise SettingError(f"k must be 1 or more, got {self.k}")
        if self.examples < 0:
            raise SettingError(f"the number of examples must be 0 or more, got {self.examples}")

    @property
    def compared_with(self) -> str:
        """The system that the others are compared with."""
        token_based = next((name for name in self.systems if name in TOKEN_BASED), self.systems[-1])
        return self.reference or token_based


@dataclass(frozen=True)
class SystemRelevance:
    """One system on one stratum.

    Attributes
    ----------
    figures
        Name in `FIGURES` -> its value with its interval.
    differences
        The same less the reference's, on the same resamples; null for the reference itself.
    retrieved, judged
        Pairs that it retrieved, and those of them that were judged.
    empty
        Places that stayed empty.
    """

    figures: dict[str, Interval]
    differences: dict[str, Interval] | None
    retrieved: int
    judged: int
    empty: int


@dataclass(frozen=True)
class StratumRelevance:
    """All systems on one stratum of queries: how many were drawn, of how many, and their share of the engagements."""

    queries: int
    population: int
    mass: float
    systems: dict[str, SystemRelevance]


@dataclass(frozen=True)
class Shown:
    """A retrieved entity of an example: null grade where it was not judged; `raters` are the single grades."""

    entity_id: str
    text: str
    score: float
    grade: float | None
    raters: tuple[float, ...]
    engaged: bool


@dataclass(frozen=True)
class Example:
    """A query of a stratum, and what each system retrieved."""

    query: str
    stratum: str
    systems: dict[str, list[Shown]]


@dataclass(frozen=True)
class HumanRelevance:
    """What was found.

    Attributes
    ----------
    strata
        `head`, `tail` and, of both together, `all`.
    reference, relevant_grade, corpus
        The system compared with, the grade from which a pair is relevant, and how many entities there are.
    judge
        A sentence on who judged.
    agreement
        Of the raters, on the retrieved pairs; null where none has two raters.
    examples
        Side by side.
    judgments
        Every judgment that was used: `query`, `entity_id`, `entity_type`, `grade` and, if known, `rater`.
    """

    strata: dict[str, StratumRelevance]
    reference: str
    relevant_grade: float
    corpus: int
    judge: str
    agreement: Agreement | None
    examples: list[Example]
    judgments: pa.Table
