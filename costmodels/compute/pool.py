"""The role of whatever runs the same work on many items. It decides nothing about the work, and keeps nothing of it.

Work is a *recipe*: called once in each worker (process or thread), it returns what is called with each item. So what
all items need travels once, and what a worker keeps between items is its own: no two of them share a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Protocol, TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
#: The place of an item among all, from 0, and what came of it.
Finished: TypeAlias = "tuple[int, Result]"
Recipe: TypeAlias = "Callable[[], Callable[[Item], Result]]"


class Pool(Protocol):
    """Runs work. Which worker takes which item is chance; what comes of an item is not."""

    def map(self, recipe: Recipe[Item, Result], items: Iterable[Item]) -> Iterator[Finished[Result]]:
        """Every item once, with its place, as they finish. Items are taken from the iterable when there is room.

        What the work raises is raised here, and nothing further begins.

        Args:
            recipe, items: can be pickled, and so can the results: they may be needed in another process.
        """
        ...


def in_order(finished: Iterable[Finished[Result]]) -> Iterator[Result]:
    """Results in the order of their items; what comes early waits. Pools do not run far ahead of the oldest."""
    early: dict[int, Result] = {}
    due = 0
    for place, result in finished:
        early[place] = result
        while due in early:
            yield early.pop(due)
            due += 1


Future = TypeVar("Future")


def run_ahead(
    items: Iterable[Item],
    submit: Callable[[Item], Future],
    wait: Callable[[Collection[Future]], Collection[Future]],
    ahead: Callable[[], int],
) -> Iterator[tuple[int, Future]]:
    """Futures of all items as they finish, of which so many at most are between the oldest that has not and the newest.

    Args:
        submit: begins an item.
        wait: returns when some have finished, with those.
        ahead: so many items, asked again and again: workers come and go.
    """
    waiting = enumerate(items)
    pending: dict[Future, int] = {}
    begun, is_over = 0, False
    while True:
        while not is_over and (not pending or begun - min(pending.values()) < ahead()):
            for place, item in waiting:
                pending[submit(item)] = place
                begun = place + 1
                break
            else:
                is_over = True
        if not pending:
            return
        for future in wait(list(pending)):
            yield pending.pop(future), future
