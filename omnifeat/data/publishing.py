"""Put a file or a folder in its place in one step, so that a kill at any moment leaves the old one or the new one.

What is being made lies in a hidden folder beside its place, `.NAME.partial-TOKEN`, which belongs to the process that
writes (see `omnifeat.owned`). When it is whole, its bytes are brought to the disk and it takes the place by one rename;
a folder that stood there changes places with it (`renameat2` on Linux, `renamex_np` on macOS). Where a file system
can't exchange, the old folder steps aside first; a run that is killed between those two steps is finished by `mend`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from omnifeat.errors import OutputError
from omnifeat.owned import OwnedFolder, dead_folders, is_owned, sweep

__all__ = [
    "as_the_user_knows",
    "is_partial_of",
    "make_partial",
    "mend",
    "publish",
    "refuse_taken",
    "sweep_folder",
    "sweep_partials",
]

_ASIDE = "before"  # where a folder that is being replaced stands aside, beside the new one
_TRIES = 20
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # as a path object has it, one slash may be gone
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def is_partial_of(target: Path, name: str) -> bool:
    """Whether a name, as the system gives it in an error, is of what is being made for `target`."""
    return name.startswith(str(target.parent / _prefix(target)))


def as_the_user_knows(text: str, target: Path, name: object) -> str:
    """A message without the hidden folder in which the target is being made."""
    hidden = re.escape(str(target.parent / _prefix(target))) + "[0-9a-f]{16}" + re.escape(f"{os.sep}{target.name}")
    return re.sub(hidden, lambda _: str(name), text)


def make_partial(target: Path) -> OwnedFolder:
    """A folder of this process beside `target`, in which it is made under its own name; its parent is made if need be.

    What killed runs for the same target left is removed, and what one of them had not finished is finished.

    Raises
    ------
    OSError
        The system refused.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep_partials(target)
    return OwnedFolder.make(target.parent, _prefix(target))


def sweep_partials(target: Path) -> None:
    """Remove what killed runs for this target left; those of living runs stay."""
    mend(target)
    sweep(target.parent, _prefix(target))


def sweep_folder(folder: Path) -> None:
    """Remove what killed runs left in a folder of outputs, whatever their names."""
    for path in dead_folders(folder, r"\..+\.partial-"):
        _finish(path, folder / path.name[1:].rpartition(".partial-")[0])
        shutil.rmtree(path, ignore_errors=True)


def mend(target: Path) -> bool:
    """Finish the exchange of folders that a killed run began, so that nothing is missing; whether there was one."""
    if os.path.lexists(target):
        return False
    return any(_finish(folder, target) for folder in dead_folders(target.parent, re.escape(_prefix(target))))


def _finish(partial: Path, target: Path) -> bool:
    whole, before = partial / target.name, partial / _ASIDE
    if before.is_dir() and not os.path.lexists(target):  # it stood aside only when the new one was whole
        with contextlib.suppress(OSError):
            os.rename(whole if whole.is_dir() else before, target)
            return True
    return False


def refuse_taken(target: Path, name: object, overwrite: bool) -> None:
    """Refuse a place that is not free, or that no output may ever take.

    Raises
    ------
    OutputError
        Something stands there and `overwrite` is not set; or a link, a pipe or a device does; or it is no place for
        an output: the folder that one works in, an address, a name with a NUL.
    """
    fault = _no_place(target, str(name))
    if fault is not None:
        raise OutputError(f"{str(name).encode('unicode_escape').decode() or 'The output'} {fault}.")
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return  # nothing is there, or writing will tell
    if not overwrite:
        raise OutputError(f"{name} exists already; choose another place, or replace it with --overwrite.")
    if stat.S_ISLNK(mode):
        raise OutputError(
            f"{name} cannot be written: it is a link to {os.readlink(target)}; give the place itself, or remove the "
            "link."
        )
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OutputError(f"{name} cannot be written: it is a pipe or a device, not a file; choose another place.")


def _no_place(target: Path, name: str) -> str | None:
    """Why no output may ever be of this name; None where one may."""
    if "\0" in name or "\0" in str(target):
        return "cannot be written: the name holds a NUL character, which no file has; choose another name"
    if not name.strip():
        return "has an empty name; name a file or a folder to write"
    if _ADDRESS.match(name) and not name.lower().startswith("file:"):
        return (
            "is an address, and this output can only be written on this machine; name a local place and copy it there"
        )
    if os.path.normpath(target) == os.getcwd():
        return "is the folder that you work in; name a new file or folder"
    return None


def publish(whole: Path, target: Path, name: object, overwrite: bool) -> None:
    """Bring what is whole to the disk and put it in its place.

    Parameters
    ----------
    whole
        In a folder of `make_partial`; a folder that it replaces is found there, or beside it, afterwards.
    overwrite
        Replace what stands at `target`. Without it something that came there meanwhile is left and refused, by one
        step of the system where it has one (all common ones do); else it is looked for just before.

    Raises
    ------
    OutputError
        See `refuse_taken`.
    OSError
        The system refused, such as a file for a folder.
    """
    durable = not is_owned(target)  # else it goes with that folder, or to the disk with it
    if durable:
        _to_disk(whole)
    if overwrite:
        refuse_taken(target, name, True)
        _replace(whole, target)
    else:
        _place(whole, target, name)
    if durable:
        _sync(target.parent)


def _place(whole: Path, target: Path, name: object) -> None:
    """Take a place that is free."""
    try:
        if whole.is_dir():
            os.rename(whole, target)  # which replaces no folder but an empty one
        elif not _rename_with(_NO_REPLACE, whole, target):
            _link(whole, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) and os.path.lexists(target):
            refuse_taken(target, name, False)
        raise


def _link(whole: Path, target: Path) -> None:
    try:
        os.link(whole, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.rename(whole, target)


def _replace(whole: Path, target: Path) -> None:
    if not whole.is_dir():
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(target))
        os.replace(whole, target)
        return
    for _ in range(_TRIES):  # others may put their outputs there at the same time
        try:
            if not target.is_dir():
                os.rename(whole, target)
            elif not _rename_with(_EXCHANGE, whole, target):
                os.rename(target, whole.parent / _ASIDE)
                os.rename(whole, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST) or not whole.is_dir():
                raise
            _aside_again(whole, target)
    raise OSError(errno.EBUSY, "is replaced by others again and again", str(target))


def _aside_again(whole: Path, target: Path) -> None:
    """Make room for another folder to step aside: another run has put its own in the place meanwhile."""
    aside = whole.parent / _ASIDE
    if aside.exists() and os.path.lexists(target):
        os.rename(aside, whole.parent / f"{_ASIDE}-{len(os.listdir(whole.parent))}")


_EXCHANGE, _NO_REPLACE = "exchange", "no replace"


def _rename_with(how: str, source: Path, target: Path) -> bool:
    """Rename by a flag of the system; False where there is none.

    Raises
    ------
    OSError
        The system refused.
    """
    call = _flagged_rename(how)
    if call is None:
        return False
    number = call(os.fsencode(source), os.fsencode(target))
    if number == 0:
        return True
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(target))


@functools.cache
def _flagged_rename(how: str) -> Callable[[bytes, bytes], int] | None:
    """A function from two paths to an error number, 0 for none; None where the system has none such."""
    flags = {"linux": {_NO_REPLACE: 1, _EXCHANGE: 2}, "darwin": {_EXCHANGE: 2, _NO_REPLACE: 4}}.get(sys.platform)
    if flags is None:
        return None
    flag = flags[how]
    library = ctypes.CDLL(None, use_errno=True)
    at_folder = -100  # AT_FDCWD: paths are not of an open folder
    try:
        if sys.platform == "darwin":
            function, before = library.renamex_np, False
        else:
            function, before = library.renameat2, True
    except AttributeError:  # an old or a small C library
        return None

    def rename(source: bytes, target: bytes) -> int:
        paths = (at_folder, source, at_folder, target) if before else (source, target)
        return 0 if function(*paths, flag) == 0 else ctypes.get_errno()

    return rename


def _to_disk(path: Path) -> None:
    """Bring the bytes of a file, or of all files of a folder, to the disk, before a name says that they are there."""
    if not path.is_dir():
        _sync(path)
        return
    for folder, _, files in os.walk(path):
        for file in files:
            _sync(Path(folder) / file)
        _sync(Path(folder))


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        # what may not be read, and folders on Windows; links may lead nowhere
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP):
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (*_UNKNOWN, errno.EBADF, errno.EROFS):  # pipes and some file systems know no such thing
            raise
    finally:
        os.close(descriptor)
