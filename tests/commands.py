"""Running `omnifeat` in a test, and what a refusal must look like."""

from typer.testing import CliRunner, Result

from omnifeat.cli import app

__all__ = ["omnifeat", "refused"]


def omnifeat(*arguments: object) -> Result:
    """What the command with these arguments did."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *parts: str) -> None:
    """One sentence with the parts in it and nothing else, and exit code 2."""
    assert result.exit_code == 2, result.output
    message = result.stderr.strip()
    assert message.startswith("error: ")
    assert "\n" not in message
    for part in parts:
        assert part in message
