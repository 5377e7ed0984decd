"""Encoders on the hub, which is stood in for: what is asked of it, and one sentence where it fails."""

from pathlib import Path
from typing import Any

import pytest

from omnifeat.errors import EncoderError, OutputError
from omnifeat.models import hub
from omnifeat.models.hub import encoder_folder_of, upload_encoder


class FakeApi:
    """Notes what is asked of it."""

    asked: list[tuple[str, dict[str, Any]]]
    fails: Exception | None = None

    def __init__(self, token: str | bool | None) -> None:
        type(self).asked = [("token", {"token": token})]

    def create_repo(self, repo_id: str, **named: Any) -> str:
        if self.fails is not None:
            raise self.fails
        self.asked.append(("create_repo", {"repo_id": repo_id, **named}))
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, **named: Any) -> None:
        self.asked.append(("upload_folder", named))


def test_a_folder_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(hub, "snapshot_download", never)
    assert encoder_folder_of(str(tmp_path)) == tmp_path
    (tmp_path / "file").touch()
    for name in (tmp_path / "file", tmp_path / "missing", "missing", f"{tmp_path.name}/a/b"):
        with pytest.raises(EncoderError, match="There is no encoder folder"):
            encoder_folder_of(name)


def test_an_encoder_is_fetched_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetch(name: str, **named: Any) -> str:
        asked.append((name, named))
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    found = encoder_folder_of(
        "someone/encoder", revision="v1", cache_dir="cache", token="secret", local_files_only=True
    )
    assert found == tmp_path
    named = {"revision": "v1", "cache_dir": "cache", "token": "secret", "local_files_only": True}
    assert asked == [("someone/encoder", named)]

    def fail(*_: Any, **__: Any) -> str:
        raise OSError("no such\nplace.")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(EncoderError, match=r"came from the hub \(no such\);") as caught:
        encoder_folder_of("someone/encoder")
    assert "\n" not in str(caught.value)


def test_an_encoder_is_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HfApi", FakeApi)
    address = upload_encoder(
        tmp_path, "someone/encoder", private=True, token="secret", commit_message="First", branch="main"
    )
    assert address == "https://hub.example/someone/encoder"
    assert FakeApi.asked == [
        ("token", {"token": "secret"}),
        ("create_repo", {"repo_id": "someone/encoder", "private": True, "exist_ok": True}),
        (
            "upload_folder",
            {"repo_id": "someone/encoder", "folder_path": tmp_path, "commit_message": "First", "revision": "main"},
        ),
    ]
    monkeypatch.setattr(FakeApi, "fails", OSError("no network"))
    with pytest.raises(OutputError, match=r"could not be uploaded to 'someone/encoder' \(no network\)"):
        upload_encoder(tmp_path, "someone/encoder")
