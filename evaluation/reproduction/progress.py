"""How a study and its self-check show how far they are."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

__all__ = ["Progress", "Steps", "silent"]

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Makes a context that shows a part of the work, from its name and its number of units, null where it is not known.

It gives a function that takes the number of units done since the last call.
"""


class Steps:
    """Turns the number of steps done, as a training tells it, into steps since the last call, as `Progress` has it."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance, self._done = advance, 0

    def __call__(self, step: int, steps: int) -> None:
        self._advance(step - self._done)
        self._done = step


def silent(_: str, __: int | None) -> AbstractContextManager[Callable[[int], None]]:
    """A `Progress` that shows nothing."""
    return nullcontext(lambda count: None)
