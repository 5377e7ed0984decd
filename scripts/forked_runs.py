"""Runs of `omnifeat` as children of one process that has imported the libraries once, and computed nothing with them.

A run then costs its work and not its imports. To fork after torch, faiss or LightGBM have computed would hang.
"""

import importlib
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = ("torch", "transformers", "lightgbm", "duckdb", "pyarrow.parquet", "scipy.sparse", "matplotlib.figure",
             "sklearn.linear_model", "accelerate", "pandas", "optuna")  # fmt: skip
_TIMEOUT = 300.0


# Commands that compute with no model: all that they import is soon imported.
_LIGHT = ("simulate", "enrich boards", "enrich queries", "pairs")
_LIGHT_LIBRARIES = ("duckdb", "pyarrow.parquet", "pandas")


def prepare(lines: Sequence[str]) -> None:
    """Import what these commands import, such as `enrich boards world -o out`."""
    from omnifeat import cli

    if all(line.startswith(_LIGHT) for line in lines):
        for name in _LIGHT_LIBRARIES:
            importlib.import_module(name)
        return
    for name in (*LIBRARIES, *(module for module, _ in cli.COMMANDS.values()), "omnifeat.frozen", "omnifeat.embed",
                 "omnifeat.enrich.text", "omnifeat.featurize", "omnifeat.training.trainer", "ranking.ranker",
                 "evaluation.reproduction.study"):  # fmt: skip
        importlib.import_module(name)


@dataclass(frozen=True)
class Run:
    """A run that was begun: its process, and where what it says goes."""

    process: int
    said: Path

    def wait(self, timeout: float = _TIMEOUT) -> int:
        """Wait for the end; the exit status, negative for a signal's number."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        self.kill()
        raise TimeoutError(f"{self.said}: still running after {timeout} s")

    def kill(self) -> None:
        """Kill it hard and wait for its end; nothing where it has ended by itself."""
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)

    def text(self) -> str:
        """What it said on both outputs."""
        return self.said.read_text(encoding="utf-8", errors="replace")


def start(command: str | Sequence[str], folder: Path, said: Path, temporary: Path) -> Run:
    """Begin `omnifeat COMMAND` in a folder, with temporary files in another."""
    words = shlex.split(command) if isinstance(command, str) else list(command)
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return Run(process, said)
    status = 70
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        os.environ["TMPDIR"] = str(temporary)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        import tempfile

        tempfile.tempdir = None
        sys.argv = ["omnifeat", *words]
        from omnifeat import cli

        cli.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
    finally:
        if sys.exc_info()[0] is not None:  # the interpreter would print it if it came to its end
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
