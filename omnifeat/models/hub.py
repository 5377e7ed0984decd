"""Encoder folders on the hub: fetched by name, and uploaded."""

from pathlib import Path

from huggingface_hub import HfApi

from omnifeat.data.artefacts import LibraryCall
from omnifeat.errors import EncoderError, OutputError
from omnifeat.hub_files import ask_hub, is_hub_name, snapshot

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
        There is no such folder, and no encoder of that name on the hub, or the hub does not answer within seconds.
    """
    folder = Path(path_or_id)
    if folder.is_dir():
        return folder
    if folder.exists() or not is_hub_name(str(path_or_id), owned=True):
        raise EncoderError(f"There is no encoder folder '{path_or_id}'; give the folder that `omnifeat train` wrote.")
    return snapshot(
        str(path_or_id),
        what="encoder",
        error=EncoderError,
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
    )


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
    with LibraryCall(
        f"The encoder could not be uploaded to '{repo_id}'",
        error=OutputError,
        remedy="check the name, the token and the network",
    ):
        api = HfApi(token=token)
        ask_hub(api, repo_id)
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message, revision=branch)
        return str(address)
