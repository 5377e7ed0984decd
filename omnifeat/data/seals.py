"""A check sum of a JSON file's own content, kept in the file: whether somebody edited a manifest after it was written.

The sums in a manifest tell whether the files beside it are whole; this one tells the same of the manifest, so that a
setting, a name or the encoder's fingerprint cannot change without a word. It tells damage and careless hands, and no
intent: whoever edits a file can make the sum right, or take it out.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnifeat.data.json_form import json_form
from omnifeat.errors import DataError

__all__ = ["SEAL", "check_seal", "sealed"]

SEAL = "sha256_of_the_rest"

logger = logging.getLogger(__name__)


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in plain JSON form, with the SHA-256 of all of them under `SEAL`.

    Raises
    ------
    TypeError
        A value has no JSON form (see `omnifeat.data.json_form`).
    """
    plain: dict[str, Any] = json.loads(json.dumps(values, default=json_form))
    return {**plain, SEAL: _digest(plain)}


def check_seal(values: Mapping[str, Any], file: Path, *, remedy: str) -> None:
    """Refuse a JSON object that was changed after `sealed`; one of an older version, which has no sum, is told.

    Raises
    ------
    DataError
        The sum is another one.
    """
    if SEAL not in values:
        logger.warning(
            "%s has no check sum of itself, as older versions wrote it: nothing tells whether it was changed after it "
            "was saved; save it again to give it one.",
            file,
        )
        return
    if values[SEAL] != _digest({name: value for name, value in values.items() if name != SEAL}):
        raise DataError(f"File {file} was changed after it was saved; {remedy}.")


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
