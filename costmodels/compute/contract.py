"""What every pool must do. Subclass ``PoolContract`` in the tests of a pool; pytest finds its tests there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ...profiler.errors import UsageError
from .pool import Pool, in_order


@dataclass
class Curves:
    """Work with a memory of its own: the items that this worker had. What it answers does not depend on that."""

    scale: float
    had: list[int] = field(default_factory=list)

    def __call__(self, item: int) -> tuple[int, bytes]:
        self.had.append(item)
        # Unequal pieces of work, so that they finish out of order.
        x = np.linspace(0.1, 1.0 + item, 10 + 20_000 * (item % 3))
        return item, (self.scale * np.exp(-x) * np.log(x)).tobytes()


@dataclass(frozen=True)
class CurvesRecipe:
    """Makes ``Curves``."""

    scale: float

    def __call__(self) -> Curves:
        return Curves(self.scale)


@dataclass(frozen=True)
class RefusesRecipe:
    """Makes work that refuses one item."""

    refused: int

    def __call__(self) -> Callable[[int], int]:
        return self._work

    def _work(self, item: int) -> int:
        if item == self.refused:
            raise UsageError(f"item {item} is refused", remedy="leave it out")
        return item


class PoolContract:
    """Tests of one pool, made by ``pool``."""

    def pool(self) -> Pool:
        """The pool to test; override it."""
        raise NotImplementedError

    def test_every_item_comes_once_and_the_bits_are_those_of_this_process(self) -> None:
        found = dict(self.pool().map(CurvesRecipe(1.5), range(23)))
        work = Curves(1.5)
        assert found == {item: work(item) for item in range(23)}

    def test_results_can_be_put_in_the_order_of_their_items(self) -> None:
        found = [item for item, _ in in_order(self.pool().map(CurvesRecipe(2.0), range(20)))]
        assert found == list(range(20))

    def test_no_items_are_no_results(self) -> None:
        assert list(self.pool().map(CurvesRecipe(1.0), [])) == []

    def test_what_the_work_raises_arrives_whole_with_its_remedy(self) -> None:
        raised = None
        try:
            list(self.pool().map(RefusesRecipe(7), range(12)))
        except UsageError as error:
            raised = (error.message, error.remedy)
        assert raised == ("item 7 is refused", "leave it out")

    def test_items_are_taken_when_there_is_room_and_not_all_at_once(self) -> None:
        taken = 0

        def items() -> Iterator[int]:
            nonlocal taken
            for item in range(10_000):
                taken += 1
                yield item

        finished = self.pool().map(RefusesRecipe(-1), items())
        next(iter(finished))
        assert taken < 1_000
        finished.close()  # type: ignore[attr-defined]  # a generator, whose work ends here

    def test_a_pool_serves_one_map_after_another(self) -> None:
        pool = self.pool()
        first, second = (sorted(pool.map(RefusesRecipe(-1), range(4))) for _ in range(2))
        assert first == second == [(item, item) for item in range(4)]
