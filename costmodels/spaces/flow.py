"""What a place of the network hands on to the next: one shape, or one for each combination of the choices before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Generic, TypeVar

from .kinds import Shape

Key = tuple[int, ...]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Depending(Generic[Made]):
    """A value that depends on the candidates chosen at some positions.

    Attributes:
        scope: numbers of those positions, ascending.
        of: the value for each combination of candidates, in the order of the scope.
    """

    scope: tuple[int, ...]
    of: Mapping[Key, Made]

    @classmethod
    def on(
        cls, scope: Sequence[int], candidates: Callable[[int], Sequence[int]], made: Callable[[dict[int, int]], Made]
    ) -> Depending[Made]:
        """From a function of position → candidate, asked for every combination."""
        ordered = tuple(sorted(set(scope)))
        every = product(*(candidates(place) for place in ordered))
        return cls(ordered, {key: made(dict(zip(ordered, key, strict=True))) for key in every})

    def at(self, chosen: Mapping[int, int]) -> Made:
        """The value for candidates chosen at these positions; others than those of the scope are not looked at."""
        return self.of[tuple(chosen[place] for place in self.scope)]

    def reduced(self) -> Depending[Made]:
        """The same without the positions on which the value does not depend."""
        scope, of = list(self.scope), dict(self.of)
        for place in self.scope:
            at = scope.index(place)
            merged: dict[Key, Made] = {}
            if all(merged.setdefault(key[:at] + key[at + 1 :], made) == made for key, made in of.items()):
                scope.pop(at)
                of = merged
        return Depending(tuple(scope), of)

    def values(self) -> Iterator[Made]:
        """Every value."""
        return iter(self.of.values())


Flow = Depending[Shape]


def one_shape(shape: Shape) -> Flow:
    """A flow that depends on nothing."""
    return Depending((), {(): shape})
