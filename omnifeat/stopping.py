"""Stop when the user or the system says so: Ctrl-C, SIGTERM and SIGHUP all unwind, so that what is temporary goes.

A signal raises `KeyboardInterrupt` between two steps of Python. A library that computes for minutes in one step would
keep it waiting: what can be interrupted from another thread, such as DuckDB, is registered by `interruptible`, and a
thread that the signal wakes interrupts it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["exit_code", "handle_signals", "interruptible", "was_stopped"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

_received: list[int] = []
_handled: list[int] = []
_running: list[Any] = []
_woken: list[threading.Thread] = []


def handle_signals() -> None:
    """Let signals unwind this process, which must be at its beginning; what it ignores (`nohup`) it goes on ignoring.

    While a first signal unwinds, a second Ctrl-C ends the process at once, and what it left is swept by a later run.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    os.register_at_fork(after_in_child=_leave_to_parent)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
            _handled.append(number)


def was_stopped() -> bool:
    """Whether a signal has come."""
    return bool(_received)


def exit_code() -> int:
    """The exit status of a process that a signal stopped, as shells count it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_received[0] if _received else signal.SIGINT)


@contextmanager
def interruptible(connection: Any) -> Iterator[None]:
    """Call the connection's `interrupt()` from another thread when a signal that is handled here comes meanwhile."""
    if _handled and not _woken:
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        thread = threading.Thread(target=_wait, args=(read,), name="omnifeat-signals", daemon=True)
        thread.start()
        _woken.append(thread)
    _running.append(connection)
    try:
        yield
    finally:
        _running.remove(connection)


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_DFL if other == signal.SIGINT else signal.SIG_IGN)
    raise KeyboardInterrupt


def _wait(read: int) -> None:
    while numbers := os.read(read, 16):
        if any(number in _handled for number in numbers):
            _interrupt_all()


def _interrupt_all() -> None:
    for connection in list(_running):
        connection.interrupt()


def _leave_to_parent() -> None:
    """A worker process ends as its parent says."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)
        for number in _handled:
            signal.signal(number, signal.SIG_DFL)
    _handled.clear()
    _running.clear()
