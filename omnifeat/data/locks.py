"""One run at a time in a folder of work: what several runs would write there together is nobody's."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from omnifeat.data.publishing import sweep_folder
from omnifeat.data.writing import output_error
from omnifeat.errors import OutputError
from omnifeat.owned import stands_at, try_lock

__all__ = ["LOCK", "working_in"]

LOCK = ".lock"  # name of the file; hidden, so that it is part of no output
_TRIES = 100


@contextmanager
def working_in(folder: Path, name: object = None, *, keep: bool = True) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if there is none, and sweep what killed runs left in it.

    The lock is the system's: it goes with the process, however that ends, so that a killed run keeps nobody out.
    Where the file system knows no locks, nobody is kept out.

    Parameters
    ----------
    name
        What messages call the folder; its path if not given.
    keep
        Leave the folder there if it is empty in the end; one that was made here goes in any case.

    Raises
    ------
    OutputError
        Another run is working there (its process, host and beginning are named), or the folder cannot be written.
    """
    shown = folder if name is None else name
    try:
        new = not folder.exists()
        descriptor = _locked(folder, shown)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise output_error(shown, error) from error
    try:
        sweep_folder(folder)
        yield
    finally:
        with contextlib.suppress(OSError):
            if stands_at(descriptor, folder / LOCK):
                os.unlink(folder / LOCK)
                if new or not keep:
                    os.rmdir(folder)  # where nothing was made in it
        os.close(descriptor)


def _locked(folder: Path, shown: object) -> int:
    for _ in range(_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # A link would have the file that it leads to truncated; a folder of work may come from a stranger.
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            continue  # the run before has just removed the folder
        try:
            got = try_lock(descriptor)
            if got is False:
                raise OutputError(
                    f"another run ({_owner(descriptor)}) is working in {shown}: wait for it, or choose another place"
                )
            if stands_at(descriptor, folder / LOCK):
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the run before has just ended and taken its lock away
    raise OutputError(f"{shown} is taken by one run after another: choose another place")


def _sign(descriptor: int) -> None:
    """Say whose the lock is."""
    about = {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(about).encode(), 0)


def _owner(descriptor: int) -> str:
    try:
        about = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {about['process']} on {about['host']}, since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "whose name is not yet written"
