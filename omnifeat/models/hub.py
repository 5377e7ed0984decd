"""Encoder folders on the hub: fetched by name, and uploaded."""

import re
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from omnifeat.errors import EncoderError, OutputError

__all__ = ["encoder_folder_of", "upload_encoder"]


def encoder_folder_of(
    path_or_id: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder itself, or the one that comes from the hub; parameters as in `huggingface_hub.snapshot_download`.

    Raises
    ------
    EncoderError
        There is no such folder, and no encoder of that name on the hub.
    """
    folder = Path(path_or_id)
    if folder.is_dir():
        return folder
    if folder.exists() or not _is_hub_name(str(path_or_id)):
        raise EncoderError(f"There is no encoder folder '{path_or_id}'; give the folder that `omnifeat train` wrote.")
    try:
        fetched = snapshot_download(
            str(path_or_id),
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise EncoderError(
            f"There is no folder '{path_or_id}', and no encoder of that name came from the hub ({reason}); "
            "give an encoder folder or the name of one on the hub."
        ) from error
    return Path(fetched)


def upload_encoder(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload encoder",
    branch: str | None = None,
) -> str:
    """Upload an encoder folder, making the repository if need be; its address is returned.

    Raises
    ------
    OutputError
        The hub cannot be reached or refuses.
    """
    api = HfApi(token=token)
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message, revision=branch)
    except (OSError, ValueError) as error:
        raise OutputError(f"The encoder could not be uploaded to '{repo_id}' ({error}).") from error
    return str(address)


def _is_hub_name(text: str) -> bool:
    """Whether a text that is no folder could be a name on the hub: `owner/name`, and no path of this machine."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", text) is not None and not Path(text).parent.is_dir()
