"""`omnifeat rank train|predict|evaluate` for the stages of relevance and ads."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from ranking.ads import AdsEngagementModel
from ranking.relevance import AdsRelevanceModel, RelevanceModel
from ranking.saving import load_model
from tests.commands import omnifeat, refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`pairs.parquet` and `other.parquet`: judged and shown pins and products with features."""
    for seed, name in enumerate(("pairs", "other")):
        rng = np.random.default_rng(seed)
        rows = 800
        good = rng.normal(size=rows)
        position = rng.integers(1, 6, size=rows)
        clicked = rng.random(rows) < 1 / (1 + np.exp(1 - 2 * good)) / position
        frame = pd.DataFrame(
            {
                "query": [f"q{n}" for n in rng.integers(60, size=rows)],
                "entity_id": [f"e{row}" for row in range(rows)],
                "entity_type": np.where(np.arange(rows) % 4 == 0, "pin", "product"),
                "grade": np.clip(np.round(good + rng.normal(scale=0.4, size=rows)), 0, 2).astype(int),
                "position": position,
                "action": np.where(clicked, "long_click", np.where(rng.random(rows) < 0.1, "save", None)),
                "good": good.astype(np.float32),
                "noise": rng.normal(size=rows),
            }
        )
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table.replace_schema_metadata({"omnifeat.fingerprint": "aaaa"}), tmp_path / f"{name}.parquet")
    return tmp_path


def train(folder: Path, stage: str, *more: object) -> Result:
    return omnifeat(
        *("rank", "train", folder / "pairs.parquet", "--stage", stage, "--features", "good,noise"),
        *("-o", folder / stage, "--trees", 20, "--threads", 1, *more),
    )


def test_relevance_from_training_to_a_feature_of_another_ranker(folder: Path) -> None:
    done = train(folder, "relevance", "--set", "head=multiclass", "--set", "calibration=isotonic", "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert (summary["kind"], summary["classes"], summary["encoder_fingerprint"]) == ("relevance", [0, 1, 2], "aaaa")
    assert summary["held_out_queries"] + summary["queries"] == 60
    model = load_model(folder / "relevance")
    assert isinstance(model, RelevanceModel)
    assert (model.head, model.calibration, model.n_estimators) == ("multiclass", "isotonic", 20)

    measured = omnifeat(
        *("rank", "evaluate", folder / "other.parquet", "--stage", "relevance", "--model", folder / "relevance"),
        *("-o", folder / "figures", "--bootstrap", 100, "--json"),
    )
    assert measured.exit_code == 0, measured.output
    figures = json.loads(measured.stdout)
    assert set(figures["figures"]) == {"NDCG@10", "weighted top-8 relevance", "Spearman within query"}
    assert figures["figures"]["NDCG@10"]["value"] > 0.85
    assert 0.5 < figures["totals"]["Spearman"] < 1

    columns = ("--score-column", "relevance", "-o")
    for name in ("pairs", "other"):
        table = folder / f"{name}.parquet"
        added = omnifeat(
            "rank", "predict", table, "--stage", "relevance", "--model", folder / "relevance", *columns,
            folder / f"{name}2.parquet",
        )  # fmt: skip
        assert added.exit_code == 0, added.output
    found = pq.read_table(folder / "other2.parquet")
    expected = model.predict(pq.read_table(folder / "other.parquet").select(["good", "noise"]))
    np.testing.assert_array_equal(found["relevance"].to_numpy(), expected)
    ndcg = {}
    for features in ("noise", "noise,relevance"):
        ranker = omnifeat(
            *("rank", "train", folder / "pairs2.parquet", "--stage", "l2", "--features", features, "--overwrite"),
            *("-o", folder / "l2", "--trees", 10, "--leaves", 4, "--threads", 1),
        )
        assert ranker.exit_code == 0, ranker.output
        measured = omnifeat(
            "rank", "evaluate", folder / "other2.parquet", "--model", folder / "l2", "--bootstrap", 0, "--json"
        )
        ndcg[features] = json.loads(measured.stdout)["figures"]["NDCG@10"]["value"]
    assert ndcg["noise,relevance"] > ndcg["noise"] + 0.1


def test_engagement_of_ads_with_positions(folder: Path) -> None:
    done = train(folder, "ads-engagement", "--position-column", "position", "--development", folder / "other.parquet")
    assert done.exit_code == 0, done.output
    assert "left out: 200 rows that are no products" in done.stdout
    assert "debiased by position" in done.stdout
    model = load_model(folder / "ads-engagement")
    assert isinstance(model, AdsEngagementModel)
    assert (model.rows_, model.held_out_rows_, model.uses_position_) == (600, 600, True)
    evaluate = ["rank", "evaluate", folder / "other.parquet", "--model", folder / "ads-engagement", "--bootstrap", 50]
    shown = omnifeat(*evaluate, "--position-column", "position", "-o", folder / "figures", "--json")
    assert shown.exit_code == 0, shown.output
    figures = json.loads(shown.stdout)
    assert figures["rows_of_other_types"] == 200
    assert figures["totals"]["AUC"] > 0.75
    assert figures["totals"]["normalised entropy"] < 0.95
    assert (folder / "figures" / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "figures" / "shap.png").exists()
    # at position 1 more would be clicked than were
    first = json.loads(omnifeat(*evaluate, "--json").stdout)["totals"]
    assert first["mean probability"] > 1.3 * first["base rate"]
    rows = pq.read_table(folder / "other.parquet")
    predicted = omnifeat(
        "rank", "predict", folder / "other.parquet", "--model", folder / "ads-engagement", "-o", folder / "ads.csv"
    )
    assert predicted.exit_code == 0, predicted.output
    np.testing.assert_allclose(
        pd.read_csv(folder / "ads.csv")["score"], model.predict(rows.select(["good", "noise"])), rtol=1e-12
    )


def test_relevance_of_ads_learns_from_products_alone(folder: Path) -> None:
    done = train(folder, "ads-relevance", "--json")
    assert json.loads(done.stdout)["rows"] == 600
    assert isinstance(load_model(folder / "ads-relevance"), AdsRelevanceModel)
    rows = pq.read_table(folder / "pairs.parquet").to_pandas()
    products = rows[rows["entity_type"] == "product"]
    same = AdsRelevanceModel(n_estimators=20, threads=1).fit(
        products[["good", "noise"]], products["grade"], query_ids=products["query"]
    )
    loaded = AdsRelevanceModel.load(folder / "ads-relevance")
    np.testing.assert_array_equal(loaded.predict(rows[["good", "noise"]]), same.predict(rows[["good", "noise"]]))


def test_bad_input_is_one_sentence(folder: Path) -> None:
    refused(train(folder, "relevance", "--features", "noise", "--label", "good"), "pairs.parquet", "grade of row")
    refused(train(folder, "relevance", "--position-column", "position"), "'relevance' takes no positions")
    refused(train(folder, "relevance", "--set", "haed=ordinal"), "no setting 'haed'", "did you mean 'head'")
    refused(train(folder, "relevance", "--set", "head=linear"), "'head' setting", "ordinal, multiclass")
    refused(
        train(folder, "ads-engagement", "--features", "good", "--label", "noise"), "pairs.parquet", "label of row 1"
    )
    refused(
        train(folder, "ads-engagement", "--features", "good", "--position-column", "noise"),
        "pairs.parquet",
        "position of row",
    )
    refused(train(folder, "ads-engagement", "--gains", "click=1"), "no setting 'action_gains'")
    pins = pq.read_table(folder / "pairs.parquet").to_pandas().query("entity_type == 'pin'")
    pq.write_table(pa.Table.from_pandas(pins, preserve_index=False), folder / "pins.parquet")
    refused(
        omnifeat("rank", "train", folder / "pins.parquet", "--stage", "ads-relevance", "-o", folder / "new"),
        "pins.parquet", "entity_type 'product'",
    )  # fmt: skip
    assert not {path.name for path in folder.iterdir()} & {"relevance", "ads-engagement", "ads-relevance", "new"}
    assert train(folder, "relevance").exit_code == 0
    other = folder / "other.parquet"
    pq.write_table(pq.read_table(other).replace_schema_metadata({"omnifeat.fingerprint": "bbbb"}), other)
    evaluate = ["rank", "evaluate", other, "--model", folder / "relevance"]
    refused(omnifeat(*evaluate), "other.parquet", "aaaa", "bbbb")
    refused(omnifeat(*evaluate, "--stage", "ads-relevance"), "kind 'relevance'", "'ads-relevance'")
    refused(omnifeat(*evaluate, "--position-column", "position"), "leave --position-column out")
    assert not list(folder.glob(".*partial*"))
