"""Checkpoints: all that a run needs to go on as if it had never stopped.

A checkpoint is one file, `checkpoints/step-00001200.pt`, written beside and renamed when whole; the two newest are
kept. Its last line holds the SHA-256 of all before it: torch's own check sums leave bytes out, and a damaged state
would be taken up with other values. It is read with `weights_only=True`, so nothing in it can run code.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch

from omnifeat.data.artefacts import LibraryCall, regular_file
from omnifeat.data.files import replace_when_whole
from omnifeat.errors import SettingError

__all__ = ["CHECKPOINT_REMEDY", "latest_checkpoint", "load_checkpoint", "remove_checkpoints", "save_checkpoint"]

CHECKPOINT_REMEDY = "remove it to go on from the one before, or start the run anew with --overwrite"
_KEPT = 2
_NAME = re.compile(r"step-(\d{8})\.pt")
_FORMAT = 2
# After the state, where torch's reader does not look: it finds the state's end from the end of the file.
_SEAL = "\nomnifeat checkpoint {format:04d} {digest}\n"
_SEAL_BYTES = len(_SEAL.format(format=_FORMAT, digest="0" * 64))


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
        torch.save({"step": step, **state}, partial)
        seal = _SEAL.format(format=_FORMAT, digest=_digest(partial, partial.stat().st_size))
        with partial.open("ab") as file:
            file.write(seal.encode("ascii"))
    for old in _checkpoints(run_folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors come to the CPU.

    Raises
    ------
    SettingError
        The file is damaged, of another step or of another version.
    """
    failed = f"The checkpoint '{path}' cannot be read"
    state_bytes = regular_file(path, error=SettingError, remedy=CHECKPOINT_REMEDY) - _SEAL_BYTES
    with LibraryCall(failed, error=SettingError, remedy=CHECKPOINT_REMEDY):
        with path.open("rb") as file:
            file.seek(max(state_bytes, 0))
            seal = file.read()
        whole = seal == _SEAL.format(format=_FORMAT, digest=_digest(path, state_bytes)).encode("ascii")
    if not whole:
        raise SettingError(
            f"{failed}: it is damaged, or of another version of omnifeat, as its check sum is not there or differs; "
            f"{CHECKPOINT_REMEDY}."
        )
    with LibraryCall(failed, error=SettingError, remedy=CHECKPOINT_REMEDY):
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    name = _NAME.fullmatch(path.name)
    if not isinstance(state, dict) or name is None or state.get("step") != int(name[1]):
        raise SettingError(f"{failed}: it does not hold the state after the step of its name; {CHECKPOINT_REMEDY}.")
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


def _digest(path: Path, size: int) -> str:
    """SHA-256 in hex of the first `size` bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()
