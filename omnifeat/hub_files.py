"""What comes from the hub by name, and is told within seconds where the hub cannot be reached."""

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from omnifeat.data.artefacts import LibraryCall
from omnifeat.errors import OmnifeatError

__all__ = ["ask_hub", "is_hub_name", "snapshot"]

# How long the hub may take to answer the first question. The library itself would wait without end.
_ANSWER_SECONDS = 6.0
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def is_hub_name(text: str, *, owned: bool = False) -> bool:
    """Whether a text that is no folder could be a name on the hub, and is no path of this machine.

    `owned` asks for `owner/name`; some old Transformers models have a name alone.
    """
    if _NAME.fullmatch(text) is None or ".." in text:
        return False
    return not Path(text).parent.is_dir() if "/" in text else not owned


def snapshot(
    name: str,
    *,
    what: str,
    error: type[OmnifeatError],
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    wanted: Sequence[str] | None = None,
    unwanted: Sequence[str] | None = None,
) -> Path:
    """The folder of a repository of the hub: fetched, or as it was fetched before where the hub does not answer.

    Parameters
    ----------
    what
        What is looked for, in the sentence: "encoder".
    wanted, unwanted
        Patterns of file names; all files if None.

    Raises
    ------
    error
        There is none of that name, or the hub does not answer and it was not fetched before.
    """
    failed = f"There is no folder '{name}', and no {what} of that name came from the hub"
    remedy = f"give {'an' if what[0] in 'aeiou' else 'a'} {what} folder or the name of one on the hub"
    silent = "it was not to be asked" if local_files_only else _silence(name, revision, token)

    def fetch(raises: type[OmnifeatError]) -> Path:
        with LibraryCall(failed, error=raises, remedy=remedy):
            fetched = snapshot_download(
                name,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=silent is not None,
                allow_patterns=None if wanted is None else list(wanted),
                ignore_patterns=None if unwanted is None else list(unwanted),
            )
            return Path(fetched)

    if silent is None:
        return fetch(error)
    try:
        return fetch(_SilentError)
    except _SilentError as fault:  # the library's own words are long, and of its cache
        raise error(f"{failed} ({silent}, and it was not fetched before); {remedy}.") from fault


def ask_hub(api: HfApi, name: str, revision: str | None = None) -> None:
    """Ask for a repository, which need not exist, with a limit on the time to answer.

    Raises whatever the library raises where there is no answer: what answers, be it with a refusal, is a hub.
    """
    try:
        api.repo_info(name, revision=revision, timeout=_ANSWER_SECONDS)
    except HfHubHTTPError:
        return


def _silence(name: str, revision: str | None, token: str | bool | None) -> str | None:
    """Why the hub does not answer; None where it does."""
    try:
        with LibraryCall("The hub did not answer", error=_SilentError):
            ask_hub(HfApi(token=token), name, revision)
    except _SilentError as fault:
        offline = isinstance(fault.__cause__, OfflineModeIsEnabled)
        return "HF_HUB_OFFLINE is set" if offline else "it did not answer: is there a network?"
    return None


class _SilentError(OmnifeatError):
    """The hub did not answer; it never leaves this module."""
