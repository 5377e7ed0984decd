"""The comparison of rankers: figures by hand, an A/A that shows nothing, a signal that shows, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import Result

from evaluation.pretrained_columns import PRETRAINED_COLUMNS, pretrained_columns
from evaluation.ranking_comparison import CompareSettings, RankingComparison, compare_rankers
from evaluation.ranking_reports import comparison_markdown, write_comparison
from evaluation.ranking_stages import COMPARED_STAGES, FitSettings
from omnifeat.data.dataset import Dataset, DatasetInfo, DatasetWriter
from omnifeat.data.splits import TimeSplit
from omnifeat.errors import DataError, SettingError
from omnifeat.frozen import FrozenEncoder
from tests.commands import omnifeat
from tests.ranking.test_rank_features import make_encoder

MARCH = datetime(2024, 3, 1, tzinfo=UTC)
COLOURS = ["red", "blue", "green", "black", "white", "pink"]
THINGS = ["hat", "shoe", "lamp", "cup"]
ONE = FitSettings(keep=2)


def codes_of(*queries: str) -> tuple[np.ndarray, int]:
    known = list(dict.fromkeys(queries))
    return np.array([known.index(query) for query in queries], dtype=np.int64), len(known)


def divided(totals: tuple[np.ndarray, np.ndarray]) -> float:
    return float(totals[0].sum() / totals[1].sum())


def test_l2_by_hand() -> None:
    rows = pa.table(
        {
            "request_id": ["r1", "r1", "r2", "r2", "r3"],
            "query": ["a", "a", "a", "a", "b"],
            "action": ["click", None, None, "save", None],
        }
    )
    codes, queries = codes_of(*rows["query"].to_pylist())
    scores = np.array([1.0, 2.0, 1.0, 2.0, 1.0])
    found = COMPARED_STAGES["l2"].measure(rows, scores, codes, queries, ONE)
    # r1: the click stands second; r2: the save stands first; r3 has no action and says nothing
    assert divided(found["NDCG@10"]) == pytest.approx((1 / np.log2(3) + 1) / 2)
    assert divided(found["MRR"]) == pytest.approx(0.75)
    assert found["MRR"][1].tolist() == [2, 0]


def test_l1_by_hand() -> None:
    shown = pa.table(
        {
            "query": ["a", "a", "a", "a", "b"],
            "entity_id": ["x", "y", "z", "x", "x"],
            "entity_type": ["pin"] * 5,
            "action": ["save", None, "click", None, "click"],
            "day": [1, 1, 1, 2, 1],
        }
    )
    rows = COMPARED_STAGES["l1"].prepare(shown)
    assert rows.select(["query", "entity_id", "day", "acted"]).to_pylist() == [
        {"query": "a", "entity_id": "y", "day": 1, "acted": False},
        {"query": "a", "entity_id": "z", "day": 1, "acted": True},
        {"query": "a", "entity_id": "x", "day": 2, "acted": True},  # as it was shown last
        {"query": "b", "entity_id": "x", "day": 1, "acted": True},
    ]
    codes, queries = codes_of(*rows["query"].to_pylist())
    # of a's three candidates y and x are let through: one of two with an action; b's are let through whole
    found = COMPARED_STAGES["l1"].measure(rows, np.array([3.0, 1.0, 2.0, 0.0]), codes, queries, ONE)
    assert found["kept in first 2"][0].tolist() == [1, 0]
    assert found["kept in first 2"][1].tolist() == [2, 0]


def test_engagement_by_hand() -> None:
    rows = pa.table({"query": ["a", "a", "b", "b"], "action": ["long_click", "click", "long_click", None]})
    codes, queries = codes_of(*rows["query"].to_pylist())
    scores = np.array([0.9, 0.2, 0.2, 0.1])
    found = COMPARED_STAGES["ads-engagement"].measure(rows, scores, codes, queries, ONE)
    # of the four pairs of a long click with another row: two won by 0.9, one half and one by 0.2
    assert divided(found["AUC"]) == pytest.approx(3.5 / 4)
    loss = -np.mean(np.log([0.9, 0.8, 0.2, 0.9])) / np.log(2)
    assert divided(found["normalised entropy"]) == pytest.approx(loss)


def test_relevance_by_hand() -> None:
    rows = pa.table({"query": ["a", "a", "b"], "grade": [0.0, 2.0, 0.0]})
    codes, queries = codes_of("a", "a", "b")
    found = COMPARED_STAGES["relevance"].measure(rows, np.array([2.0, 1.0, 0.0]), codes, queries, ONE)
    second = 1 / np.log2(3)
    assert divided(found["NDCG@10"]) == pytest.approx(second)
    assert found["weighted relevance of the first 8"][0].tolist() == pytest.approx([2 * second / (1 + second), 0])


class Letters:
    """Vectors of the counts of letters: stands in for an encoder that was not trained here."""

    def encode(self, texts: Any) -> np.ndarray:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return np.array([[text.count(letter) for letter in letters] for text in texts], dtype=np.float32)


def write(folder: Path, **replaced: Any) -> Path:
    """Hats and shoes by colour; who asks for a colour takes what has it, which most titles say."""
    rng = np.random.default_rng(0)
    ids = [f"e{row:03}" for row in range(120)]
    colour = rng.integers(len(COLOURS), size=120)
    thing = rng.integers(len(THINGS), size=120)
    titled = rng.random(120) < 0.8
    titles = [f"{COLOURS[c]} {THINGS[t]}" if some else None for c, t, some in zip(colour, thing, titled, strict=True)]
    pins, products = slice(0, 60), slice(60, 120)
    queries = [f"{one} {other}" for one in COLOURS for other in THINGS]
    shown: dict[str, list[Any]] = {name: [] for name in ("request_id", "query", "entity_id", "entity_type", "position",
                                                         "action", "timestamp")}  # fmt: skip
    for request in range(500):
        wanted = rng.integers(len(queries))
        for position, row in enumerate(rng.choice(120, size=6, replace=False), start=1):
            fits = int(colour[row] == wanted // len(THINGS)) + int(thing[row] == wanted % len(THINGS))
            acted = rng.random() < (0.05, 0.3, 0.8)[fits]
            action = ("save" if row < 60 else "long_click") if acted else None
            values = (f"r{request}", queries[wanted], ids[row], "pin" if row < 60 else "product", position, action,
                      MARCH + timedelta(hours=request))  # fmt: skip
            for name, value in zip(shown, values, strict=True):
                shown[name].append(value)
    impressions = pa.table(shown)
    judged = [(query, row) for query in range(len(queries)) for row in rng.choice(120, size=12, replace=False)]
    grades = [int(colour[r] == q // len(THINGS)) + int(thing[r] == q % len(THINGS)) for q, r in judged]
    tables: dict[str, Any] = {
        "pins": pa.table({"id": ids[pins], "title": titles[pins]}),
        "products": pa.table({"id": ids[products], "title": titles[products]}),
        "queries": pa.table({"query": queries, "country": ["US", "FR"] * 12}),
        "engagements": impressions.filter(pa.compute.is_valid(impressions["action"])).drop(["position", "request_id"]),
        "impressions": impressions,
        "judgments": pa.table(
            {
                "query": [queries[q] for q, _ in judged],
                "entity_id": [ids[r] for _, r in judged],
                "entity_type": ["pin" if r < 60 else "product" for _, r in judged],
                "grade": [float(grade) for grade in grades],
            }
        ),
    } | replaced
    split = TimeSplit(development_from=MARCH + timedelta(days=12), test_from=MARCH + timedelta(days=14), gap_days=0)
    with DatasetWriter(folder, DatasetInfo(name="colours", split=split), overwrite=True) as writer:
        for name, table in tables.items():
            if table is not None:
                writer.write(name, table)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("colours") / "data")


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    return make_encoder(0)


SETTINGS = CompareSettings(fit=FitSettings(trees=8, leaves=7, threads=1, keep=3), resamples=50)


@pytest.fixture(scope="module")
def comparison(dataset: Path, encoder: FrozenEncoder) -> RankingComparison:
    """Two arms of one encoder, and what was not trained here."""
    return compare_rankers(
        Dataset.open(dataset), {"one": encoder, "zwei": encoder}, SETTINGS, pretrained=Letters(), threads=1
    )


def test_one_encoder_under_two_names_is_one(comparison: RankingComparison) -> None:
    assert [stage.stage for stage in comparison.stages] == list(SETTINGS.stages)
    assert comparison.skipped == {}
    for stage in comparison.stages:
        for group in [stage.overall, *(group for some in stage.groups.values() for group in some.values())]:
            for figure, arms in group.figures.items():
                assert repr(arms["one"]) == repr(arms["zwei"])  # to the bit; NaN where a group has nothing
                null = group.difference(figure, "zwei", "one")
                assert null is not None
                assert null.value == 0 or np.isnan(arms["one"].value)
                assert not null.excludes_zero


def test_differences_turn_round(comparison: RankingComparison) -> None:
    relevance = next(stage for stage in comparison.stages if stage.stage == "relevance").overall
    assert relevance.figures["NDCG@10"]["none"].value > 0.7
    assert set(relevance.figures["NDCG@10"]) == {"none", "pretrained", "one", "zwei"}
    turned = relevance.difference("NDCG@10", "none", "one")
    straight = relevance.difference("NDCG@10", "one", "none")
    assert turned is not None
    assert straight is not None
    assert (turned.value, turned.low, turned.high) == (-straight.value, -straight.high, -straight.low)


def test_arms_share_rows_and_features(comparison: RankingComparison, dataset: Path) -> None:
    assert comparison.arms["none"] == ()
    assert comparison.arms["pretrained"] == PRETRAINED_COLUMNS
    assert comparison.arms["one"] == tuple(name.replace("zwei", "one") for name in comparison.arms["zwei"])
    assert {"bm25_title", "entity_rate", "pair_engaged"} <= set(comparison.shared)
    assert not {"position", "grade", "one_cosine"} & set(comparison.shared)
    for stage in comparison.stages:
        asked = stage.importances
        assert set(asked["one"]) == set(asked["zwei"])
        assert "position" not in asked["one"]
        if stage.stage != "l1":  # which chooses its own
            assert set(asked["none"]) < set(asked["one"])
            assert "cosine" in asked["one"]


def test_groups_part_the_rows(comparison: RankingComparison) -> None:
    for stage in comparison.stages:
        assert set(stage.groups) == {"frequency", "country", "title"}
        for by in ("country", "title"):
            assert sum(group.rows for group in stage.groups[by].values()) == stage.test_rows
        assert set(stage.groups["country"]) == {"US", "FR"}


def test_the_report(comparison: RankingComparison, tmp_path: Path) -> None:
    written = write_comparison(tmp_path / "out", comparison, SETTINGS, {"dataset": "colours", "pretrained": "letters"})
    assert [path.name for path in written] == ["comparison.json", "comparison.md", "comparison.png"]
    told = json.loads(written[0].read_text())
    l2 = told["stages"]["l2"]["overall"]["figures"]["NDCG@10"]
    of_l2 = comparison.stages[0].overall
    assert l2["one"]["value"] == of_l2.figures["NDCG@10"]["one"].value
    assert l2["zwei"]["less"]["one"]["value"] == 0
    assert told["encoders"]["one"] == comparison.fingerprints["one"]
    text = written[1].read_text()
    assert text == comparison_markdown(comparison, SETTINGS, {"dataset": "colours", "pretrained": "letters"})
    assert f"{100 * of_l2.figures['NDCG@10']['none'].value:.1f} [" in text
    assert written[2].read_bytes().startswith(b"\x89PNG")


def test_a_signal_in_the_vectors_shows(tmp_path: Path) -> None:
    """Titles are gone; who knows what each thing is has to win, and to a degree that no draw of queries undoes."""
    folder = write(tmp_path / "untitled")
    whole = Dataset.open(folder)
    known = {kind: whole.read(f"{kind}s") for kind in ("pin", "product")}
    secret = {
        one: text or "" for table in known.values() for one, text in zip(*table.to_pydict().values(), strict=True)
    }
    blind = {f"{kind}s": table.set_column(1, "title", pa.nulls(60, pa.string())) for kind, table in known.items()}
    renamed = {name: table.append_column("description", table["id"]) for name, table in blind.items()}
    folder = write(tmp_path / "untitled", **renamed)

    class Knowing(Letters):
        def encode(self, texts: Any) -> np.ndarray:
            return super().encode([secret.get(text, text) for text in texts])

    settings = CompareSettings(stages=("relevance",), fit=SETTINGS.fit, resamples=200, counts=False)
    found = compare_rankers(Dataset.open(folder), {}, settings, pretrained=Knowing(), threads=1)
    gain = found.stages[0].overall.difference("NDCG@10", "pretrained", "none")
    assert gain is not None
    assert gain.low > 0.05


def test_pretrained_columns_by_hand(dataset: Path, tmp_path: Path) -> None:
    pins = pa.table(
        {
            "id": ["p", "q"],
            "title": ["ab", None],
            "description": [None, None],
            "engaged_queries": pa.array([["Ab", "a"], []], pa.list_(pa.string())),
        }
    )
    with DatasetWriter(tmp_path / "d", DatasetInfo(name="d")) as writer:
        writer.write("pins", pins)
    pairs = pa.table({"query": ["ab", "a", "a", "a"], "entity_id": ["p", "p", "q", "x"], "entity_type": ["pin"] * 4})
    (found,) = pretrained_columns(str(tmp_path / "d"), [pairs], Letters(), ["title", "description"])
    half = 1 / np.sqrt(2)
    assert found["pretrained_cosine"].to_pylist() == [pytest.approx(1), pytest.approx(half), None, None]
    # "Ab" is the query "ab" written otherwise, and left out; capitals are no letters of the stand-in
    engaged = found["pretrained_max_cosine_engaged_queries"].to_pylist()
    assert engaged == [pytest.approx(half), pytest.approx(0), None, None]


def refused(result: Result, *parts: str) -> None:
    """One sentence with the parts in it, and exit code 2."""
    assert result.exit_code == 2, result.output
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("error: ")
    for part in parts:
        assert part in message


def test_the_command(dataset: Path, encoder: FrozenEncoder, tmp_path: Path) -> None:
    folder = encoder.save_pretrained(tmp_path / "encoder")
    common = ("rank", "compare", dataset, "-o", tmp_path / "out", "--trees", 5, "--bootstrap", 20, "--threads", 1)
    done = omnifeat(*common, "--encoder", f"ours={folder}", "--stage", "l2", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert list(told["stages"]) == ["l2"]
    assert told == json.loads((tmp_path / "out" / "comparison.json").read_text()) | {"output": str(tmp_path / "out")}
    refused(omnifeat(*common, "--encoder", f"ours={folder}"), "not empty", "--overwrite")
    again = omnifeat(*common, "--encoder", f"ours={folder}", "--stage", "l2", "--overwrite")
    assert "NDCG@10" in again.stdout
    assert told["stages"] == json.loads((tmp_path / "out" / "comparison.json").read_text())["stages"]


def test_what_is_refused(dataset: Path, encoder: FrozenEncoder, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def run(*arguments: object) -> Result:
        return omnifeat("rank", "compare", dataset, "-o", out, *arguments)

    refused(run("--encoder", tmp_path), "needs a name")
    refused(run("--encoder", f"ours={tmp_path}"), "is no encoder", str(tmp_path))
    refused(run(), "nothing to compare")
    whole = Dataset.open(dataset)
    for settings, message in (
        ({"stages": ("l3",)}, "no stage 'l3'"),
        ({"stages": ()}, "once, and one at least"),
        ({"train_parts": ("test",)}, "no part to train on 'test'"),
        ({"reference": "other"}, "no arm 'other'"),
        ({"level": 1.5}, "must lie between 0 and 1"),
    ):
        with pytest.raises(SettingError, match=message):
            compare_rankers(whole, {"ours": encoder}, CompareSettings(**settings))
    with pytest.raises(SettingError, match="'none' is taken"):
        compare_rankers(whole, {"none": encoder}, CompareSettings())
    shown = write(tmp_path / "shown", judgments=None)
    with pytest.raises(DataError, match="neither impressions nor judgments"):
        compare_rankers(Dataset.open(shown), {"ours": encoder}, CompareSettings(stages=("relevance",)))
    assert not out.exists()


def test_a_stage_without_rows_is_named(encoder: FrozenEncoder, tmp_path: Path) -> None:
    shown = Dataset.open(write(tmp_path / "shown", judgments=None))
    settings = CompareSettings(stages=("l2", "relevance"), fit=FitSettings(trees=2, threads=1), resamples=0)
    found = compare_rankers(shown, {"ours": encoder}, settings)
    assert [stage.stage for stage in found.stages] == ["l2"]
    assert found.skipped == {"relevance": "the dataset has no judgments"}
    assert np.isnan(found.stages[0].overall.figures["MRR"]["ours"].low)
