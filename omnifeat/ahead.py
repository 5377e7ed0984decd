"""Work ahead: make the next items of an iterator on another thread while this one is busy with the last."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")

_END = object()


def ahead(items: Iterable[Item], threads: int, depth: int = 2) -> Iterator[Item]:
    """The same items in the same order, up to `depth` of them made ahead on one other thread.

    With one thread to use, they are made when they are asked for. What the iterator raises is raised here, in its turn.
    """
    if threads == 1:
        yield from items
        return
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Any]] = deque(pool.submit(next, iterator, _END) for _ in range(depth))
        while True:
            item = waiting.popleft().result()
            if item is _END:
                return
            waiting.append(pool.submit(next, iterator, _END))
            yield item
