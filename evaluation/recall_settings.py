"""What a recall study measures."""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.catalogue import CORPORA
from evaluation.fusion import RRF_K
from evaluation.hybrids import Hybrid
from evaluation.recall import check_ks
from evaluation.study_rows import ROWS
from omnifeat.data.schema import ENTITY_TABLES
from omnifeat.data.splits import SPLITS
from omnifeat.errors import SettingError

__all__ = ["REFERENCE", "RecallSettings", "choose"]

POSITIVES = ("engagements", "judgments")
REFERENCE = "learned"  # highlighted, and what the other rows are compared with unless other references are named


@dataclass(frozen=True, kw_only=True)
class RecallSettings:
    """What a study measures.

    Attributes
    ----------
    split
        Part of the recorded split whose pairs are evaluated, or `all`.
    positives
        `engagements`, or `judgments`: the relevant judged pairs (see `evaluation.judged_pairs`), by country where it is
        known. Judgments have no time, so that a split by time does not part them.
    relevant_grade
        Grades of judgments from here on are relevant; null for more than half of the highest.
    rows
        Names in `ROWS`; null for all that the input allows.
    entity_types
        `pin`, `product`, `query`; null for all that have pairs. Each has a corpus, and a study, of its own.
    actions
        Engagements that count; null for all.
    by
        Column of `engagements`, or else of `queries`, whose values make groups of pairs; null for none. The values of
        a list are groups each, and `language` also means a column `languages`. `seen` makes two groups: new pairs, and
        pairs that stand in the training part of the log, too; `frequency` and `has_title`: see `evaluation.groups`.
    groups
        Values of `by` that make groups, in this order; null for all.
    ks
        Cut-offs of recall; the first one is the main one.
    references
        Rows that each other row is compared with; null for `learned` where it is measured.
    most
        The largest rank that is told apart: those beyond count as 0 in the mean reciprocal rank, for every row. Null
        for all. With a corpus in tables, a small one saves time.
    corpus
        `table` for the entities that the dataset's table `corpus` lists, `all` for the whole catalogue, `auto` for the
        table where it has entities of the type, and else all.
    corpus_size
        Random entities in the corpus instead; null for none.
    leave_out_other_positives
        Whether the query's other positives do not count against the positive.
    hybrids, rrf_k
        Rows that fuse others by reciprocal rank (see `evaluation.fusion`), and the k of the formula.
    pretrained_fields
        Columns of the text that the pretrained encoder sees of an entity.
    resamples, level, seed
        Of the bootstrap; the seed also draws the corpus and the random row.
    """

    split: str = "test"
    positives: str = "engagements"
    relevant_grade: int | None = None
    rows: tuple[str, ...] | None = None
    entity_types: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    by: str | None = None
    groups: tuple[str, ...] | None = None
    ks: tuple[int, ...] = (10,)
    references: tuple[str, ...] | None = None
    most: int | None = None
    corpus: str = "auto"
    corpus_size: int | None = None
    leave_out_other_positives: bool = True
    hybrids: tuple[Hybrid, ...] = ()
    rrf_k: float = RRF_K
    pretrained_fields: tuple[str, ...] = ("title", "description", "caption", "engaged_queries")
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_ks(self.ks)
        if self.groups is not None and self.by is None:
            raise SettingError("groups are named but not the column that makes them; give --by with --groups")
        choose("kind of positives", (self.positives,), POSITIVES)
        if self.positives == "judgments" and self.actions is not None:
            raise SettingError("judgments have no action; leave out --action, or give --positives engagements")
        if self.positives != "judgments" and self.relevant_grade is not None:
            raise SettingError("engagements have no grade; leave out --relevant-grade, or give --positives judgments")
        if self.most is not None and self.most < max(self.ks):
            raise SettingError(
                f"ranks are told apart to {self.most}, but recall is asked at {max(self.ks)}; raise --most"
            )
        choose("corpus", (self.corpus,), CORPORA)
        choose("split", (self.split,), (*SPLITS, "all"))
        choose("row", self.rows or (), tuple(ROWS))
        twice = next(
            (one.name for one in self.hybrids if [other.name for other in self.hybrids].count(one.name) > 1), None
        )
        if twice is not None:
            raise SettingError(f"the hybrid {twice} is asked for twice; name each once")
        if not 0 <= self.rrf_k < float("inf"):
            raise SettingError(f"k of a reciprocal rank fusion must be a number of 0 or more, got {self.rrf_k}")
        choose("entity type", self.entity_types or (), tuple(ENTITY_TABLES))


def choose(what: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise `SettingError` if something given is not among what is allowed."""
    unknown = next((name for name in given if name not in allowed), None)
    if unknown is not None:
        raise SettingError(f"there is no {what} '{unknown}'; choose from {', '.join(allowed)}")
