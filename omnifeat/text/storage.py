"""Vocabularies on disk: `ngrams.safetensors` beside `ngrams.json`, no pickle."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from omnifeat.data.artefacts import read_object
from omnifeat.data.files import replace_when_whole
from omnifeat.data.tensor_files import read_tensors
from omnifeat.errors import EncoderError

__all__ = ["DEFINITION", "read_vocabularies", "write_vocabularies"]

# Names the definition of tokens and hashes; a change to either must change it, as saved hashes lose their meaning.
DEFINITION = "omnifeat-ngrams-1"
_FORMAT_VERSION = 1
_TENSORS = "ngrams.safetensors"
_SETTINGS = "ngrams.json"
_REMEDY = "give a folder that a tokenizer was saved to, or fit the tokenizer again"


def write_vocabularies(
    folder: str | os.PathLike[str],
    hashes: Mapping[str, npt.NDArray[np.uint64]],
    fingerprint: str,
    unicode_version: str,
) -> None:
    """Write the hashes of each kind; each file is put in place when whole, the settings last.

    Raises
    ------
    OutputError
        The folder can't be written.
    """
    settings = {
        "format_version": _FORMAT_VERSION,
        "definition": DEFINITION,
        "sizes": {kind: len(values) for kind, values in hashes.items()},
        "unicode_version": unicode_version,
        "fingerprint": fingerprint,
    }
    contents = {
        _TENSORS: safetensors.numpy.save(dict(hashes)),
        _SETTINGS: (json.dumps(settings, indent=2) + "\n").encode(),
    }
    target = Path(folder)
    for name, content in contents.items():
        with replace_when_whole(target / name) as partial:
            partial.write_bytes(content)


def read_vocabularies(
    folder: str | os.PathLike[str], kinds: Sequence[str]
) -> tuple[dict[str, npt.NDArray[np.uint64]], Callable[[str], None]]:
    """Read and check what `write_vocabularies` wrote.

    Returns
    -------
    tuple
        The hashes (uint64) of each kind, and a function that raises `EncoderError` for any fingerprint other than
        the saved one.

    Raises
    ------
    EncoderError
        A file is missing, unreadable, of another version, or not what was saved.
    """
    settings_path = Path(folder) / _SETTINGS
    tensors_path = Path(folder) / _TENSORS
    settings = _read_settings(settings_path, kinds)
    tensors = read_tensors(tensors_path, error=EncoderError, remedy=_REMEDY)
    if sorted(tensors) != sorted(kinds):
        raise _changed(tensors_path, f"holds {sorted(tensors)} where {sorted(kinds)} are expected")
    for kind in kinds:
        values = tensors[kind]
        if values.dtype != np.uint64 or values.shape != (settings["sizes"][kind],):
            raise _changed(
                tensors_path,
                f"has '{kind}' as {values.dtype} of shape {values.shape} "
                f"where uint64 of shape ({settings['sizes'][kind]},) is expected",
            )
        if len(np.unique(values)) != len(values) or (values == 0).any():
            raise _changed(tensors_path, f"has '{kind}' with a token that is zero or stands twice")

    def check(fingerprint: str) -> None:
        if fingerprint != settings["fingerprint"]:
            raise _changed(
                tensors_path,
                f"has fingerprint {fingerprint[:12]} where {_SETTINGS} says {settings['fingerprint'][:12]}",
            )

    return tensors, check


def _read_settings(path: Path, kinds: Sequence[str]) -> dict[str, Any]:
    settings = read_object(path, error=EncoderError, remedy=_REMEDY)
    version, definition = settings.get("format_version"), settings.get("definition")
    if version != _FORMAT_VERSION or definition != DEFINITION:
        raise EncoderError(
            f"{path} is of format {str(version)[:20]} and definition {str(definition)[:40]!r} where "
            f"{_FORMAT_VERSION} and {DEFINITION!r} are read; use the version of omnifeat that saved it, or fit the "
            "tokenizer again."
        )
    sizes, fingerprint = settings.get("sizes"), settings.get("fingerprint")
    if (
        not isinstance(fingerprint, str)
        or not isinstance(sizes, dict)
        or not all(type(sizes.get(kind)) is int for kind in kinds)
    ):
        raise _changed(path, "lacks the sizes of the vocabularies or their fingerprint")
    return settings


def _changed(path: Path, what: str) -> EncoderError:
    return EncoderError(f"{path} {what}; it was changed or damaged after saving, so copy or fit the tokenizer again.")
