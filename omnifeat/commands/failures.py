"""What ends a command that is no error of its input: signals, a full disk, too little memory, a closed pipe."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading

import typer

from omnifeat.errors import OmnifeatError
from omnifeat.stopping import exit_code, was_stopped

__all__ = ["ended_by", "flush_output", "quieten_threads", "say_and_exit"]

# how libraries that are not Python's say that there is no memory
_NO_MEMORY = ("bad_alloc", "out of memory", "can't allocate memory", "cannot allocate memory", "malloc of size")
_REASONS = {
    errno.ENOSPC: "no space is left on the disk: free some, or write elsewhere (for temporary files, set TMPDIR)",
    errno.EDQUOT: "the quota of the disk is used up: free some, or write elsewhere (for temporary files, set TMPDIR)",
    errno.EACCES: "there is no permission: allow it, or choose another place",
    errno.EPERM: "there is no permission: allow it, or choose another place",
    errno.EROFS: "the disk is read-only: choose another place",
    errno.EFBIG: "the file would be larger than the system allows: write elsewhere",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine: close some",
    errno.ENOENT: "it does not exist: check the path",
    errno.EISDIR: "it is a folder, where a file is needed",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EIO: "the disk does not answer (an input or output error): write or read elsewhere",
    errno.ESTALE: "the disk does not answer: read or write elsewhere",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}


def ended_by(error: BaseException) -> tuple[str, int] | None:
    """The line to print and the exit code for what ended a command; None for a mistake of the program.

    130 and 143 are those of a process that Ctrl-C or SIGTERM ended, 141 that of one whose reader left.
    """
    if isinstance(error, KeyboardInterrupt) or was_stopped():
        return "stopped: what was not finished is removed", exit_code()
    if isinstance(error, OmnifeatError):
        return f"error: {error}", 2
    if isinstance(error, BrokenPipeError):
        return "", 141
    if _is_of_memory(error):
        return "error: there is not enough memory: give smaller batches or fewer threads, or a machine with more", 2
    if isinstance(error, OSError) and error.errno in _REASONS:
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"error: {name}{_REASONS[error.errno]}", 2
    return None


def say_and_exit(line: str, code: int) -> typer.Exit:
    """Print the line, if any, on standard error; the exception that ends the command."""
    if line:
        typer.echo(line, err=True)
    flush_output()
    return typer.Exit(code)


def flush_output() -> None:
    """Write what is left to standard output; where nobody reads it any more (`| head`), let it go without a word."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try once more at the end, and complain
        with contextlib.suppress(OSError, ValueError):  # not every standard output is a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def quieten_threads() -> None:
    """Let a library's thread end without a traceback where the machine refused: the command itself says so."""
    shown = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is None or ended_by(arguments.exc_value) is None:
            shown(arguments)

    threading.excepthook = hook


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | ValueError) and any(words in str(error).lower() for words in _NO_MEMORY)
