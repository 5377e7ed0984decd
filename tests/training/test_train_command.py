import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from worlds import write_world

from omnifeat.cli import app
from omnifeat.frozen import FrozenEncoder

TINY = ["--preset", "tiny", "--steps", "4", "--device", "cpu", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("world") / "data"
    write_world(folder, products=False)
    return str(folder)


def test_json_tells_what_was_written(data: str, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    options = ["--dim", "16", "--matryoshka", "8:0.5", "--optimizer", "lamb", "--seed", "3", "--json"]
    result = CliRunner().invoke(app, ["train", data, *TINY, "-o", str(out), *options])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    encoder = FrozenEncoder.from_pretrained(out)
    assert told["fingerprint"] == encoder.fingerprint
    assert told["path"] == str(out)
    assert told["steps"] == 4
    assert Path(told["training_curve"]).is_file()
    assert set(told["metrics"]) == {"development_recall@10_pins", "development_recall@10_mean"}
    assert encoder.dim == 16
    assert encoder.config.matryoshka == {8: 0.5}
    assert encoder.training["settings"]["optimizer"] == "lamb"


def test_table_and_overwrite(data: str, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    first = CliRunner().invoke(app, ["train", data, *TINY, "-o", str(out)])
    assert first.exit_code == 0, first.output
    for text in ("loss", "development Recall@10", "fingerprint", str(out), "training_curve.png"):
        assert text in first.stdout
    again = CliRunner().invoke(app, ["train", data, *TINY, "-o", str(out)])
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert CliRunner().invoke(app, ["train", data, *TINY, "-o", str(out), "--overwrite"]).exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "huge"], "There is no preset 'huge'"),
        (["--batch-size", "0"], "'batch_size' setting must be at least 1"),
        (["--matryoshka", "half"], "--matryoshka must be WIDTH:WEIGHT"),
        (["--pooling", "max"], "query.pooling"),
        (["--text-layers", "2"], "The --text-layers are those of a --text-model, and none is given"),
        (["--text-model", "no-such-folder/no-such-model/at-all"], "No text encoder can be loaded"),
        (["--set", "block_weights.learned=0"], "block_weights.learned"),
        (["--query-model", "no-such-folder/no-such-model/at-all"], "No tokenizer can be loaded"),
    ],
)
def test_bad_settings_are_one_sentence_and_write_nothing(
    data: str, tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "encoder"
    result = CliRunner().invoke(app, ["train", data, *TINY, "-o", str(out), *options])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", str(tmp_path / "nothing"), *TINY, "-o", str(tmp_path / "encoder")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []
