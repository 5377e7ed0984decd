"""Human relevance: figures by hand, judges, records for a study's report, and the command on a world."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from evaluation.bootstrap import Interval
from evaluation.human_relevance import judge_retrievals
from evaluation.human_reports import gallery_queries, human_section
from evaluation.human_results import HumanRelevance, HumanSettings
from evaluation.human_study import human_study
from evaluation.judges import TableJudge
from evaluation.query_strata import Stratum
from evaluation.reproduction.results import Section
from evaluation.top import Retrieval
from omnifeat.cli import app
from omnifeat.data.dataset import Dataset
from omnifeat.errors import DataError, SettingError
from omnifeat.frozen import FrozenEncoder
from omnifeat.simulator import simulate

IDS = ["p0", "p1", "p2", "p3"]
STRATA = {"head": Stratum(5, 0.3, ["h"]), "tail": Stratum(50, 0.3, ["t", "u"])}
SETTINGS = HumanSettings(systems=("learned", "bm25-words"), k=2, examples=1, resamples=50)


def table(*rows: tuple[str, str, float, str]) -> pa.Table:
    return pa.table(
        {
            name: list(column)
            for name, column in zip(("query", "entity_id", "grade", "rater"), zip(*rows, strict=True), strict=True)
        }
    )


JUDGED = table(
    ("h", "p0", 4, "x"), ("h", "p0", 3, "y"), ("h", "p0", 0, "z"),  # median 3, mean 7/3
    ("h", "p1", 2, "x"), ("h", "p1", 4, "y"),  # the lower of two in the middle: 2, mean 3
    ("t", "p2", 0, "x"), ("t", "p2", 1, "y"),
    ("t", "p3", 3, "x"), ("t", "p3", 3, "y"),
    ("u", "p0", 1, "x"), ("u", "p0", 1, "z"),
)  # fmt: skip


def retrieval(*rows: Sequence[int]) -> Retrieval:
    found = np.array(rows)
    return Retrieval(found, np.where(found >= 0, 1.0 - found / 10, np.nan).astype(np.float32))


RETRIEVED = {
    "learned": retrieval((0, 1), (3, 2), (0, 3)),  # (u, p3) is not judged
    "bm25-words": retrieval((1, -1), (2, -1), (-1, -1)),  # nothing for u
}


def by_hand(chosen: HumanSettings = SETTINGS) -> HumanRelevance:
    judge = TableJudge(JUDGED, "pin", "the table")
    engaged = frozenset({("h", "p1")})
    return judge_retrievals(
        STRATA, RETRIEVED, pa.array(IDS), ["zero", "one", "", "three"], judge, chosen, engaged=engaged
    )


def test_figures_by_hand() -> None:
    found = by_hand()
    assert (found.relevant_grade, found.reference, found.corpus) == (3, "bm25-words", 4)
    head, tail, both = (found.strata[name] for name in ("head", "tail", "all"))
    assert (head.queries, head.population, tail.queries, both.queries, both.population) == (1, 5, 2, 3, 55)
    learned, tokens = head.systems["learned"], head.systems["bm25-words"]
    assert learned.figures["relevant"].value == 1 / 2
    assert learned.figures["mean grade"].value == pytest.approx((7 / 3 + 3) / 2)
    assert learned.figures["found"].value == 1 / 2
    assert (tokens.figures["relevant"].value, tokens.figures["mean grade"].value) == (0, 3)
    assert (tokens.retrieved, tokens.judged, tokens.empty) == (1, 1, 1)
    # tail: learned judged (t, p3) 3, (t, p2) 0 and (u, p0) 1; (u, p3) was not judged
    learned, tokens = tail.systems["learned"], tail.systems["bm25-words"]
    assert (learned.retrieved, learned.judged, learned.empty) == (4, 3, 0)
    assert learned.figures["relevant"].value == pytest.approx(1 / 3)
    assert learned.figures["mean grade"].value == pytest.approx((3 + 0.5 + 1) / 3)
    assert learned.figures["found"].value == 1 / 4
    assert (tokens.figures["relevant"].value, tokens.empty) == (0, 3)
    # all: 2 of 5 judged pairs against 0 of 2; 2 of 6 places against 0 of 6
    less = both.systems["learned"].differences
    assert less is not None
    assert less["relevant"].value == pytest.approx(2 / 5)
    assert less["found"].value == pytest.approx(2 / 6)
    assert both.systems["bm25-words"].differences is None
    assert less["relevant"].low <= 2 / 5 <= less["relevant"].high
    # the retrieved pairs that were judged, each counted once, all by two raters or three
    assert found.agreement is not None
    assert (found.agreement.pairs, found.agreement.judgments) == (5, 11)
    # another threshold
    lower = by_hand(HumanSettings(systems=("learned", "bm25-words"), k=2, relevant_grade=2, resamples=0))
    assert lower.strata["head"].systems["bm25-words"].figures["relevant"].value == 1


def test_systems_may_have_any_names() -> None:
    judge = TableJudge(JUDGED, "pin", "the table")
    named = {"OmniSearchSage": RETRIEVED["learned"], "tokens": RETRIEVED["bm25-words"]}
    found = judge_retrievals(STRATA, named, pa.array(IDS), [""] * 4, judge, SETTINGS, reference="tokens")
    renamed = {"learned": "OmniSearchSage", "bm25-words": "tokens"}
    for stratum, one in by_hand().strata.items():
        assert {renamed[name]: system for name, system in one.systems.items()} == found.strata[stratum].systems
    with pytest.raises(SettingError, match="'bm25-words' is not among the systems OmniSearchSage, tokens"):
        judge_retrievals(STRATA, named, pa.array(IDS), [""] * 4, judge, SETTINGS)


def test_examples_side_by_side() -> None:
    first, second = by_hand().examples
    assert (first.query, first.stratum, second.query, second.stratum) == ("h", "head", "t", "tail")
    (one, two), (only,) = first.systems["learned"], first.systems["bm25-words"]
    assert (one.entity_id, one.text, one.grade, one.raters, one.engaged) == ("p0", "zero", 3, (4, 3, 0), False)
    assert (two.entity_id, two.grade, two.engaged) == ("p1", 2, True)
    assert only.entity_id == "p1"


def test_no_agreement_of_one_rater() -> None:
    judge = TableJudge(JUDGED.filter(pa.compute.equal(JUDGED["rater"], "x")), "pin", "the table")
    found = judge_retrievals(STRATA, RETRIEVED, pa.array(IDS), [""] * 4, judge, SETTINGS)
    assert found.agreement is None
    anonymous = TableJudge(JUDGED.drop_columns("rater"), "pin", "the table")
    found = judge_retrievals(STRATA, RETRIEVED, pa.array(IDS), [""] * 4, anonymous, SETTINGS)
    assert found.agreement is None
    assert found.judgments.column_names == ["query", "entity_id", "grade", "entity_type"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=12, max_size=12), st.integers(0, 4))
def test_systems_that_retrieve_the_same_do_not_differ(grades: list[int], empty: int) -> None:
    rows = np.array([[0, 1, 2, 3]] * 3)
    rows[1, 4 - empty :] = -1
    same = Retrieval(rows, np.where(rows >= 0, 1.0, np.nan).astype(np.float32))
    pairs = [(query, one) for query in ("h", "t", "u") for one in IDS]
    judged = table(*((query, one, float(grade), "x") for (query, one), grade in zip(pairs, grades, strict=True)))
    chosen = HumanSettings(systems=("learned", "tfidf"), k=4, relevant_grade=3, resamples=20)
    judge = TableJudge(judged, "pin", "t")
    found = judge_retrievals(STRATA, {"learned": same, "tfidf": same}, pa.array(IDS), [""] * 4, judge, chosen)
    kept = [grade for (_, one), grade, row in zip(pairs, grades, rows.ravel(), strict=True) if row >= 0]
    learned = found.strata["all"].systems["learned"]
    assert learned.figures["relevant"].value == pytest.approx(np.mean([grade >= 3 for grade in kept]))
    assert learned.figures["mean grade"].value == pytest.approx(np.mean(kept))
    assert learned.figures["found"].value == pytest.approx(sum(grade >= 3 for grade in kept) / 12)
    assert learned.differences is not None
    for less in learned.differences.values():
        # a resample of the one query without a place has nothing to compare
        assert less == Interval(0, 0, 0) or math.isnan(less.low)


def test_records_of_a_study() -> None:
    found = by_hand()
    section = human_section(found, SETTINGS)
    assert Section.model_validate_json(section.model_dump_json()) == section
    assert section.table is not None
    assert [column.key for column in section.table.columns][:3] == ["head/relevant", "head/mean grade", "head/found"]
    learned, tokens = section.table.rows
    cell = learned.cells["all/relevant"]
    assert (cell.ours.value, cell.pairs, cell.queries) == (pytest.approx(2 / 5), 5, 3)
    assert cell.difference is not None
    assert cell.difference.to == "bm25-words"
    assert cell.difference.relative is None  # nothing that bm25 found is relevant
    mean = learned.cells["head/mean grade"].difference
    assert mean is not None
    assert mean.relative == pytest.approx(((7 / 3 + 3) / 2 - 3) / 3)
    assert tokens.cells["all/relevant"].difference is None
    assert any("left 4 places empty" in note for note in section.table.notes)
    gallery = gallery_queries(found, SETTINGS)
    assert [(query.query, query.kind) for query in gallery] == [("h", "head"), ("t", "tail")]
    assert gallery[0].systems["learned"][1].engaged


def test_bad_settings_and_judges(dataset: Dataset, tmp_path: Path) -> None:
    for wrong, said in (
        ({"systems": ("learned",)}, "two or more different systems are compared, got learned"),
        ({"systems": ("learned", "learned")}, "two or more different systems"),
        ({"systems": ("learned", "bm26")}, "there is no system 'bm26'"),
        ({"reference": "tfidf"}, "'tfidf' is not among the systems learned, bm25-words"),
        ({"entity_type": "board"}, "no entity type 'board'"),
        ({"k": 0}, "k must be 1 or more"),
        ({"examples": -1}, "examples must be 0 or more"),
    ):
        with pytest.raises(SettingError, match=said):
            HumanSettings(**wrong)
    with pytest.raises(DataError, match="t has no column 'grade'"):
        TableJudge(JUDGED.drop_columns("grade"), "pin", "t")
    with pytest.raises(DataError, match="column 'grade' of t is not numeric"):
        TableJudge(pa.table({"query": ["q"], "entity_id": ["e"], "grade": ["good"]}), "pin", "t")
    with pytest.raises(DataError, match="row 2 of t has no finite grade"):
        TableJudge(pa.table({"query": ["q", "q"], "entity_id": ["e", "f"], "grade": [1.0, None]}), "pin", "t")
    with pytest.raises(DataError, match="row 1 of t has no query"):
        TableJudge(pa.table({"query": pa.array([None], pa.string()), "entity_id": ["e"], "grade": [1.0]}), "pin", "t")
    with pytest.raises(DataError, match="holds no judgment of a product"):
        TableJudge.of_dataset(dataset, "product")
    judge = TableJudge(table(("h", "p3", 1, "x")), "pin", "t")
    nothing = {name: retrieval((0, 1), (0, 1), (0, 1)) for name in ("learned", "bm25-words")}
    with pytest.raises(DataError, match="none of the 6 retrieved pairs was judged"):
        judge_retrievals(STRATA, nothing, pa.array(IDS), [""] * 4, judge, SETTINGS)
    brands = HumanSettings(systems=("tfidf", "random"), split="all", token_fields=("brand",))
    with pytest.raises(DataError, match="none of the columns brand that token-based systems see"):
        human_study(dataset, None, TableJudge.of_dataset(dataset, "pin"), brands)
    with pytest.raises(SettingError, match="row 'learned' needs a trained encoder"):
        human_study(dataset, None, TableJudge.of_dataset(dataset, "pin"), HumanSettings(split="all"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("humans") / "world"
    simulate(path, scale="tiny")
    return path


def humans(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", "humans", *map(str, arguments)])


def test_the_command_on_a_world(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder) -> None:
    monkeypatch.setattr(FrozenEncoder, "from_pretrained", staticmethod(lambda path, **options: encoder))
    out = tmp_path / "out"
    arguments = (world, "--world", world, "--encoder", "any", "--queries", 20, "--bootstrap", 50)
    result = humans(*arguments, "-o", out)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        "humans.json",
        "humans.md",
        "humans.png",
        "judgments.parquet",
    ]
    written = json.loads((out / "humans.json").read_text())
    assert list(written["strata"]) == ["head", "tail", "all"]
    tokens = written["strata"]["all"]["systems"]["bm25-words"]
    assert tokens["differences"] is None
    assert tokens["judged"] == tokens["retrieved"]
    # letters alone are no match for words
    assert written["strata"]["all"]["systems"]["learned"]["differences"]["relevant"]["high"] < 0
    judged = pq.read_table(out / "judgments.parquet").to_pandas()
    assert judged.groupby(["query", "entity_id"]).size().eq(3).all()
    assert written["agreement"]["alpha"]["value"] > 0.5
    markdown = (out / "humans.md").read_text()
    assert "## Tail queries" in markdown
    assert "| place | learned | bm25-words |" in markdown
    # the same again, byte for byte; and from the judgments that were written, the same figures
    again = tmp_path / "again"
    assert humans(*arguments, "-o", again).exit_code == 0
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in out.iterdir()
    }
    table_given = ("--judgments", out / "judgments.parquet", *arguments[3:])
    result = humans(world, *table_given, "-o", tmp_path / "third", "--relevant-grade", 3, "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["strata"] == written["strata"]


def test_the_datasets_own_judgments_leave_pairs_unjudged(world: Path, tmp_path: Path) -> None:
    result = humans(world, "--systems", "tfidf,random", "-o", tmp_path / "out", "--bootstrap", 0, "--json")
    assert result.exit_code == 0, result.output
    everything = json.loads(result.stdout)["strata"]["all"]["systems"]
    own = pd.read_parquet(world / "judgments.parquet")
    assert 0 < everything["tfidf"]["judged"] < everything["tfidf"]["retrieved"]
    written = json.loads((tmp_path / "out" / "humans.json").read_text())
    assert {example["query"] for example in written["examples"]} <= set(own["query"])
    assert any(one["grade"] is None for example in written["examples"] for one in example["systems"]["random"])


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--world", "WORLD", "--judgments", "x.parquet"), "--world and --judgments both say who judges"),
        (("--world", "nowhere"), "nowhere holds no truth/rates.json"),
        (("--judgments", "nowhere.parquet"), "nowhere.parquet"),
        (("--world", "WORLD", "--systems", "learned,bm25-words"), "needs a trained encoder"),
        (("--world", "WORLD", "--systems", "tfidf"), "two or more different systems"),
        (("--world", "WORLD", "--split", "tst"), "there is no split 'tst'"),
        (("--world", "WORLD", "--share", "0.7"), "at most 0.5, got 0.7"),
        (("--world", "WORLD", "--entity-type", "query"), "raters judge entities of type pin or product"),
        (("--world", "WORLD", "--seed", "-1"), "seed"),
        (("--embeddings", "x.parquet"), "name it with --encoder"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    extra: tuple[str, ...], said: str, world: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    systems = () if "--systems" in extra else ("--systems", "tfidf,random")
    result = humans(world, *systems, *(str(world) if part == "WORLD" else part for part in extra), "-o", out)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("retrieving ")]
    assert line.startswith("error: ")
    assert said in line
    assert not out.exists()
