"""Encoders on the hub, which is stood in for: what is asked of it, and one sentence where it fails."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from omnifeat import hub_files
from omnifeat.errors import EncoderError, OutputError
from omnifeat.models import hub
from omnifeat.models.hub import encoder_folder_of, upload_encoder


class FakeApi:
    """Notes what is asked of it."""

    asked: list[tuple[str, dict[str, Any]]]
    fails: Exception | None = None
    silent: Exception | None = None

    def __init__(self, token: str | bool | None) -> None:
        type(self).asked = [("token", {"token": token})]

    def repo_info(self, name: str, **named: Any) -> None:
        assert named["timeout"] < 10
        if self.silent is not None:
            raise self.silent

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

    monkeypatch.setattr(hub_files, "snapshot_download", never)
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

    monkeypatch.setattr(hub_files, "snapshot_download", fetch)
    found = encoder_folder_of(
        "someone/encoder", revision="v1", cache_dir="cache", token="secret", local_files_only=True
    )
    assert found == tmp_path
    named = {"revision": "v1", "cache_dir": "cache", "token": "secret", "local_files_only": True}
    named |= {"allow_patterns": None, "ignore_patterns": None}
    assert asked == [("someone/encoder", named)]

    def fail(*_: Any, **__: Any) -> str:
        raise OSError("no such\nplace.")

    monkeypatch.setattr(hub_files, "HfApi", FakeApi)
    monkeypatch.setattr(hub_files, "snapshot_download", fail)
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


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_that_does_not_answer_is_told_in_one_short_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    class SilentApi(FakeApi):
        silent = OfflineModeIsEnabled("long\nwords") if offline else TimeoutError("timed out")

    monkeypatch.setattr(hub_files, "HfApi", SilentApi)
    said = "HF_HUB_OFFLINE is set" if offline else "is there a network"
    with pytest.raises(EncoderError, match=said) as told:
        encoder_folder_of("someone/encoder", cache_dir=tmp_path)
    assert len(str(told.value)) < 250
    monkeypatch.setattr(hub, "HfApi", SilentApi)
    with pytest.raises(OutputError, match="could not be uploaded"):
        upload_encoder(tmp_path, "someone/encoder")


def test_an_encoder_that_was_fetched_before_needs_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SilentApi(FakeApi):
        silent = TimeoutError()

    monkeypatch.setattr(hub_files, "HfApi", SilentApi)
    fetched = tmp_path / "models--someone--encoder" / "snapshots" / "0123"
    fetched.mkdir(parents=True)
    refs = tmp_path / "models--someone--encoder" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123")
    assert encoder_folder_of("someone/encoder", cache_dir=tmp_path) == fetched


SILENT = """
import socket, sys, time
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(8)
import os
os.environ["HF_ENDPOINT"], os.environ["HF_HUB_OFFLINE"] = f"http://127.0.0.1:{server.getsockname()[1]}", "0"
from omnifeat import hub_files
from omnifeat.errors import EncoderError
hub_files._ANSWER_SECONDS = 0.3
begun = time.monotonic()
try:
    hub_files.snapshot("someone/encoder", what="encoder", error=EncoderError, cache_dir=sys.argv[1])
except EncoderError as error:
    print(time.monotonic() - begun < 5, error)
"""


def test_a_server_that_accepts_and_stays_silent_is_given_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("True There is no folder 'someone/encoder'")
    assert "is there a network" in done.stdout
