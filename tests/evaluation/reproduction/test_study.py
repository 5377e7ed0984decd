"""A tiny study from end to end; what was done is not done again; what is planted is seen."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from evaluation.reproduction import study, trainings
from evaluation.reproduction.progress import silent
from evaluation.reproduction.questions import questions_of
from evaluation.reproduction.results import StudyResults
from evaluation.reproduction.sanity import run_sanity
from evaluation.reproduction.study import StudySettings, run_study, start_folder
from omnifeat.cli import app
from omnifeat.data.dataset import Dataset, DatasetWriter
from omnifeat.errors import DataError, OutputError, SettingError
from omnifeat.models.config import EncoderConfig
from omnifeat.training.frequency import ExactCounter

TINY = StudySettings(tables=("2", "3"), preset="tiny", steps=12, batch_size=64, threads=1, resamples=50, seeds=(0, 1))


def test_questions_of_the_tiny_world(pairs: Dataset) -> None:
    asked = questions_of(pairs, corpus_size=None, seed=0)
    assert set(asked.groups) == {"pin", "pin judged", "product", "product judged", "query"}
    assert {"pin/save", "pin/long_click", "pin/relevance", "product/save", "query/click"} <= set(asked.questions)
    engagements = pairs.read("engagements").to_pandas()
    split = pairs.info.split
    assert split is not None
    part = split.assign(pairs.read("engagements")).to_pylist()
    pins = engagements[(engagements["entity_type"] == "pin") & (np.array(part) == "test")]
    assert len(asked.groups["pin"].pairs.pair_queries) == len(pins[["query", "entity_id"]].drop_duplicates())
    for action in ("save", "long_click"):
        own = pins[pins["action"] == action][["query", "entity_id"]].drop_duplicates()
        assert asked.questions[f"pin/{action}"].pairs == len(own)
    log = pairs.read("log").to_pandas()  # the pairs' actions, and clicks
    train = log[(log["entity_type"] == "pin") & (np.array(split.assign(pairs.read("log")).to_pylist()) == "train")]
    known = set(zip(train["query"], train["entity_id"], strict=True))
    group = asked.groups["pin"]
    ids = group.pairs.entity_ids.to_pylist()
    for row, (query, positive) in enumerate(zip(group.pairs.pair_queries, group.pairs.pair_positives, strict=True)):
        assert group.seen[row] == ((group.pairs.queries[query], ids[positive]) in known)
    assert questions_of(pairs, corpus_size=None, seed=0).digest() == asked.digest()
    by = questions_of(pairs, corpus_size=None, seed=0, by="country", groups=("GB", "US"))
    assert [key for key in by.questions if key.startswith("pin/save/")] == ["pin/save/GB", "pin/save/US"]
    assert by.questions["pin/save/US"].pairs < by.questions["pin/save"].pairs
    assert questions_of(pairs, corpus_size=50, seed=0).digest() == asked.digest()  # the dataset lists its corpus


def test_a_study_from_end_to_end_that_was_killed(
    pairs: Dataset, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, settings = tmp_path / "study", dataclasses.replace(TINY, world=world)
    real, trained = trainings.train, []

    def counted(*args: Any, **named: Any) -> Any:
        if len(trained) == 3 and not (out / "killed").exists():
            raise KeyboardInterrupt
        trained.append(args[3].name)
        return real(*args, **named)

    monkeypatch.setattr(trainings, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        run_study(pairs, out, settings, command="omnifeat reproduce")
    (out / "killed").touch()
    results = run_study(pairs, out, settings, command="omnifeat reproduce")
    names = ("omnisearchsage", "searchsage", "native-text", "captions")
    assert trained == [f"{name}-seed{seed}" for name in names for seed in (0, 1)]  # each once
    assert StudyResults.load(out / "results.json") == results

    table = next(table for table in results.tables if table.key == "2")
    assert [row.key for row in table.rows] == [
        *("random", "bm25", "searchsage/existing", "omnisearchsage", "bm25+omnisearchsage")
    ]
    fused = table.rows[4].cells["pin/save"]
    assert fused.difference is not None
    assert fused.difference.to == "bm25"
    assert len(fused.per_seed) == 2
    base, sage = table.rows[3].cells["pin/save"], table.rows[2].cells["pin/save"]
    assert base.difference is not None
    assert base.difference.value == pytest.approx(base.ours.value - sage.ours.value)
    assert len(base.per_seed) == 2
    assert (base.paper, sage.paper) == (0.65, 0.39)
    assert {table.key for table in results.tables} == {"2", "3", "new pairs", "new pairs among all"}
    without, among = (next(t for t in results.tables if t.key == key) for key in ("new pairs", "new pairs among all"))
    assert [row.key for row in without.rows] == [row.key for row in among.rows] == [row.key for row in table.rows]
    for left, whole in zip(without.rows[:-1], among.rows[:-1], strict=True):
        assert all(left.cells[key].ours.value >= cell.ours.value for key, cell in whole.cells.items())
        assert all(left.cells[key].pairs == cell.pairs for key, cell in whole.cells.items())
    assert {claim.table for claim in results.claims} == {"2", "3"}
    assert len(results.gallery) == 16
    assert {histogram.entity_type for histogram in results.histograms} == {"pin", "product", "query"}
    for histogram in results.histograms:
        assert sum(histogram.positive) == pytest.approx(1)
        assert sum(histogram.random) == pytest.approx(1)
    assert results.sections[0].key == "human-relevance"
    assert all(record.steps == 12 for record in results.trained)

    # measured once more from the files, the tables are the same
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(trainings, "train", never)
    assert run_study(pairs, out, settings, command="omnifeat reproduce").tables == results.tables
    # also where the dataset is named in another way, or was moved
    (tmp_path / "elsewhere").symlink_to(Path(pairs.path).resolve(), target_is_directory=True)
    moved = Dataset.open(tmp_path / "elsewhere")
    assert run_study(moved, out, settings, command="omnifeat reproduce").tables == results.tables
    with pytest.raises(SettingError, match="was trained on other data or with other settings; give another folder"):
        run_study(pairs, out, dataclasses.replace(settings, steps=13), command="omnifeat reproduce")


def leaking(pairs: Dataset, folder: Path) -> Dataset:
    """The dataset with a leak: the engaged queries of each pin are those of the test part."""
    engagements = pairs.read("engagements")
    assert pairs.info.split is not None
    part = np.array(pairs.info.split.assign(engagements).to_pylist())
    rows = engagements.to_pandas()[part == "test"]
    later = rows[rows["entity_type"] == "pin"].groupby("entity_id")["query"].agg(list).to_dict()
    with DatasetWriter(folder, pairs.info) as writer:
        for table in ("products", "queries", "engagements", "log"):
            writer.write(table, pairs.read(table))
        pins = pairs.read("pins")
        texts = pa.array([later.get(one, []) for one in pins["id"].to_pylist()], pa.list_(pa.string()))
        place = pins.column_names.index("engaged_queries")
        writer.write("pins", pins.set_column(place, "engaged_queries", texts))
    return Dataset.open(folder)


def test_inputs_from_after_the_split_are_refused(pairs: Dataset, tmp_path: Path) -> None:
    leak = leaking(pairs, tmp_path / "leak")
    message = r"the engaged query .* leaks: .*; a study of such data says nothing"
    with pytest.raises(DataError, match=message):
        run_study(leak, tmp_path / "study", TINY, command="omnifeat reproduce")
    with pytest.raises(DataError, match=message):
        run_sanity(leak, tmp_path / "study", TINY, silent)
    assert not (tmp_path / "study").exists()


def test_the_self_check_trains_the_models_of_the_study(
    pairs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What --set changes of the models, it changes of those that the self-check trains."""
    trained: list[EncoderConfig] = []

    def noted(_: Dataset, config: EncoderConfig, *__: Any, **___: Any) -> Any:
        trained.append(config)
        raise KeyboardInterrupt  # nothing need be trained

    monkeypatch.setattr(trainings, "train", noted)
    arguments = ["reproduce", "--data", str(pairs.path), "-o", str(tmp_path / "check"), "--preset", "tiny", "--sanity",
                 "--set", "dim=24", "--query-model", "some/encoder"]  # fmt: skip
    CliRunner().invoke(app, arguments)
    (config,) = trained
    assert (config.dim, config.query.model) == (24, "some/encoder")


def checks_of(pairs: Dataset, out: Path) -> dict[str, bool]:
    settings = StudySettings(preset="tiny", steps=60, batch_size=128, threads=1, resamples=200)
    return {check.name: check.holds for check in run_sanity(pairs, out, settings, silent)}


def test_the_self_check_holds(pairs: Dataset, tmp_path: Path) -> None:
    checks = checks_of(pairs, tmp_path)
    assert {name.split(": ")[1] for name in checks} == {
        "shuffled pairs teach nothing", "true pairs teach something", "logQ has the right sign",
    }  # fmt: skip
    assert all(checks.values()), checks


def test_a_swapped_sign_of_logq_is_seen(pairs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ExactCounter.log_q
    monkeypatch.setattr(ExactCounter, "log_q", lambda self, ids: -real(self, ids))
    checks = checks_of(pairs, tmp_path)
    assert not checks["pin: logQ has the right sign"]


def test_pairs_that_do_not_belong_together_are_seen(
    pairs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every training is on shuffled pairs: the base does not learn."""
    real = trainings.train

    def shuffled(dataset: Dataset, config: Any, settings: Any, *args: Any, **named: Any) -> Any:
        return real(dataset, config, dataclasses.replace(settings, shuffled_pairs=True), *args, **named)

    monkeypatch.setattr(trainings, "train", shuffled)
    assert not checks_of(pairs, tmp_path)["pin: true pairs teach something"]


def test_the_command(pairs: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "study"
    arguments = ["reproduce", "--data", str(pairs.path), "-o", str(out), "--tables", "2", "--preset", "tiny", "--steps",
                 "4", "--batch-size", "32", "--bootstrap", "20", "--threads", "1"]  # fmt: skip
    ran = CliRunner().invoke(app, [*arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert [table["key"] for table in told["tables"]] == ["2", "new pairs", "new pairs among all"]
    assert {"report.html", "report.md", "results.json", "trainings", "measures"} <= {
        path.name for path in out.iterdir()
    }
    results = StudyResults.load(out / "results.json")
    assert results.command == (
        "omnifeat reproduce --data pairs --out study --tables 2 --preset tiny --steps 4 --batch-size 32 --bootstrap 20"
    )
    assert str(tmp_path) not in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tables", "7"], "There is no table '7'"),
        (["--preset", "huge"], "There is no preset 'huge'"),
        (["--seeds", "a"], "--seeds must be whole numbers"),
        (["--seeds", "0,0"], "Seeds must be given, each once"),
        (["--baselines", "best"], "There is no baseline 'best'"),
        (["--tables", ""], "There is no table to make"),
        (["--world", "nowhere"], "nowhere"),
        (["--level", "2"], "level"),
        (["--set", "entity.colour=red"], "There is no setting 'entity.colour'"),
        (["--by", "colour"], "has a column 'colour' to group by"),
        (["--by", "country", "--groups", "XX"], "no test pair of"),
    ],
)
def test_wrong_settings_come_to_light_before_a_training(
    pairs: Dataset, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ran = CliRunner().invoke(app, ["reproduce", "--data", str(pairs.path), "-o", str(tmp_path / "out"), *arguments])
    assert ran.exit_code == 2
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"holds 'thesis\.txt', which is of no study"):
            start_folder(tmp_path / "mine", overwrite)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        start_folder(tmp_path / "file", False)
    old = tmp_path / "old"
    (old / "trainings").mkdir(parents=True)
    (old / "results.json").write_text("{}")
    start_folder(old, False)
    assert (old / "results.json").exists()
    start_folder(old, True)
    assert list(old.iterdir()) == []


def test_each_preset_has_its_training() -> None:
    for preset in ("tiny", "small", "paper"):
        settings = study.study_training(StudySettings(preset=preset))
        assert settings.steps is not None
    assert study.study_training(StudySettings(preset="small", steps=9)).steps == 9
