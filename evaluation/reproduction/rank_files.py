"""Ranks of every system on every question, kept in files, so that tables cost no second measuring.

measures/NAME.npz    group -> ranks int32 (P,) among all and, under `without_training(group)`, in the corpus without the
                     query's training positives; and `key`: what they were measured on and with
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from omnifeat.data.array_files import read_arrays
from omnifeat.data.files import replace_when_whole
from omnifeat.data.writing import output_error
from omnifeat.errors import DataError

__all__ = ["Ranks", "kept_ranks", "without_training"]

_LARGEST = 2**34  # bytes of a file's ranks

Ranks = Mapping[str, npt.NDArray[np.int32]]


def without_training(group: str) -> str:
    """Under what the ranks of a group stand that were measured without training positives."""
    return f"{group} without training positives"


def kept_ranks(folder: Path, name: str, key: str, measure: Callable[[], Mapping[str, npt.NDArray[np.int64]]]) -> Ranks:
    """The ranks of a system by group: read if they were measured before, else measured and kept.

    Parameters
    ----------
    folder
        Of the files.
    name
        Of the system; `/` becomes `_` in the file's name.
    key
        Tells what the ranks depend on: the questions and the encoder's fingerprint. Ranks under another key are
        measured anew.
    """
    path = folder / f"{name.replace('/', '_')}.npz"
    if path.is_file():
        known = read_arrays(path, limit=_LARGEST, remedy="remove it, and it is made again")
        if str(known.get("key")) == key:
            return {group: _ranks(known[group], group, path) for group in known if group != "key"}
    found = {group: ranks.astype(np.int32) for group, ranks in measure().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    with replace_when_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, key=np.array(key), **found)  # type: ignore[arg-type]
    return found


def _ranks(found: npt.NDArray[np.int32], group: str, path: Path) -> npt.NDArray[np.int32]:
    if found.dtype != np.int32 or found.ndim != 1 or (len(found) and found.min() < 1):
        raise DataError(f"File {path} holds no ranks under '{group}'; remove it, and it is made again.")
    return found
