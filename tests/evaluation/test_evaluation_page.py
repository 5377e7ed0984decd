"""The examples of docs/evaluation.md run as they stand, and print what they say."""

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 5


def test_examples_print_what_they_say() -> None:
    names: dict[str, object] = {}
    for example in EXAMPLES:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example, "docs/evaluation.md", "exec"), names)
        said = [line.removeprefix("# ") for line in example.splitlines() if line.startswith("# ")]
        assert said, example
        assert printed.getvalue().splitlines() == said


@pytest.mark.parametrize("command", ["recall", "relevance", "agreement", "humans"])
def test_every_option_stands_on_the_command_page(command: str) -> None:
    import typer

    from omnifeat.commands.evaluate import app

    page = (Path(__file__).parents[2] / "docs" / "commands" / "evaluate.md").read_text(encoding="utf-8")
    section = page.split(f"## omnifeat evaluate {command}\n")[1].split("\n## ")[0]
    for option in typer.main.get_command(app).commands[command].params:
        for name in option.opts:
            if name.startswith("--") and name != "--out":
                assert f"`{name}" in section, name


def test_every_option_of_reproduce_stands_on_its_page() -> None:
    import typer

    from omnifeat.commands.reproduce import main

    page = (Path(__file__).parents[2] / "docs" / "commands" / "reproduce.md").read_text(encoding="utf-8")
    single = typer.Typer(add_completion=False)
    single.command()(main)
    for option in typer.main.get_command(single).params:
        for name in option.opts:
            if name.startswith("--"):
                assert f"`{name}" in page, name
