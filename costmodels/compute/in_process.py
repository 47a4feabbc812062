"""The pool that has nobody else: one item after the other, here. The oracle of the others, and their fake in tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .pool import Finished, Item, Recipe, Result


class InProcess:
    """Nothing is pickled, and nothing runs before it is asked for."""

    def map(self, recipe: Recipe[Item, Result], items: Iterable[Item]) -> Iterator[Finished[Result]]:
        """As ``Pool.map``, in order."""
        work = recipe()
        for place, item in enumerate(items):
            yield place, work(item)
