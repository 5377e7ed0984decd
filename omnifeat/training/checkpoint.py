"""Checkpoints: all that a run needs to go on as if it had never stopped.

A checkpoint is one file, `checkpoints/step-00001200.pt`, written beside and renamed when whole; the two newest are
kept. It is read with `weights_only=True`, so nothing in it can run code.
"""

import re
from pathlib import Path
from typing import Any

import torch

from omnifeat.data.files import replace_when_whole
from omnifeat.errors import SettingError

__all__ = ["latest_checkpoint", "load_checkpoint", "remove_checkpoints", "save_checkpoint"]

_KEPT = 2
_NAME = re.compile(r"step-(\d{8})\.pt")
_FORMAT = 1


def save_checkpoint(run_folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state after `step` steps, and remove all but the two newest.

    Parameters
    ----------
    run_folder
        Folder of the run.
    state
        Tensors, numbers, text, and lists and dicts of them.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    path = run_folder / "checkpoints" / f"step-{step:08d}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_whole(path) as partial:
        torch.save({"format": _FORMAT, "step": step, **state}, partial)
    for old in _checkpoints(run_folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors come to the CPU.

    Raises
    ------
    SettingError
        The file is damaged or of another version.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise SettingError(
            f"The checkpoint '{path}' cannot be read; remove it to go on from the one before."
        ) from error
    if state.get("format") != _FORMAT:
        raise SettingError(f"The checkpoint '{path}' is of another version of omnifeat; start the run anew.")
    return state


def latest_checkpoint(run_folder: Path) -> Path | None:
    """The newest checkpoint of a run, or None."""
    found = _checkpoints(run_folder)
    return found[-1] if found else None


def remove_checkpoints(run_folder: Path) -> None:
    """Remove all checkpoints of a run."""
    for path in _checkpoints(run_folder):
        path.unlink(missing_ok=True)


def _checkpoints(run_folder: Path) -> list[Path]:
    folder = run_folder / "checkpoints"
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name)) if folder.is_dir() else []
