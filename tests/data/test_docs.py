"""The pages' examples run, and the example rows are rows of their tables."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from omnifeat.data.info import DatasetInfo
from omnifeat.data.schema import TABLES
from omnifeat.data.validate import validate

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_python_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks("python"):
        exec(compile(block, "docs/data.md", "exec"), {})
    assert capsys.readouterr().out.startswith(blocks("text")[0])


def test_example_rows_make_a_sound_dataset(tmp_path: Path) -> None:
    *rows, info = blocks("json")
    DatasetInfo.model_validate_json(info)
    (tmp_path / "dataset.json").write_text(info)
    lines = [line for block in rows for line in block.splitlines()]
    required: dict[str, Callable[[dict], bool]] = {
        name: lambda row, schema=schema: (
            set(row) <= {c.name for c in schema.columns} | {"f_popularity"} and set(schema.required) <= set(row)
        )
        for name, schema in TABLES.items()
    }
    seen = set()
    for line in lines:
        row = json.loads(line)
        # the narrowest table whose columns hold the row: a pin's row would do for a product too
        table = next(name for name in TABLES if required[name](row))
        seen.add(table)
        with (tmp_path / f"{table}.jsonl").open("a") as file:
            file.write(line + "\n")
    assert seen == set(TABLES)
    problems = [problem.message for problem in validate(tmp_path).problems]
    # the page shows a child interest alone, without its parent
    assert len(problems) == 1
    assert "parent_id 'i1' is not in" in problems[0]
