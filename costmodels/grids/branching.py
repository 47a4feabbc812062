"""Where cells of one family become other kernels: a tree of questions about their sizes, grown until each leaf is pure.

A runtime changes layouts and fusions where channels stop to be a multiple of its vector, or are fewer than one. Those
are the questions, and no others: what they do not tell apart stays impure, and is priced the slow way.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.graph import Kernel
from .forms import Ints, KernelForm, Sizes, fit_forms, structure_of

Flags = npt.NDArray[np.bool_]
_MULTIPLES = (2, 4, 8, 16, 32)
_LIMITS = (2, 3, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Question:
    """Whether a size is a multiple of something, below it, or equal to another size."""

    name: str
    kind: Literal["multiple", "below", "same"]
    value: int = 0
    other: str = ""

    def of(self, sizes: Sizes) -> Flags:
        """Shape (cells,)."""
        one = sizes[self.name]
        found: Flags
        if self.kind == "multiple":
            found = one % self.value == 0
        else:
            found = one < self.value if self.kind == "below" else one == sizes[self.other]
        return found


@dataclass(frozen=True)
class Leaf:
    """Cells that become the same kernels up to sizes; ``forms`` is None where no law was found for them."""

    forms: tuple[KernelForm, ...] | None

    def leaves(self, sizes: Sizes, chosen: Ints) -> Iterator[tuple[Leaf, Ints]]:
        """This one with all the cells it is asked of."""
        if len(chosen):
            yield self, chosen


@dataclass(frozen=True)
class Branch:
    """A question, and where its answers lead.

    Attributes:
        rivals: other questions that part all cells from which the tree was grown in the same way, and whether yes and
            no change places. Which one the runtime asks, other cells have to tell.
    """

    question: Question
    yes: Tree
    no: Tree
    rivals: tuple[tuple[Question, bool], ...] = ()

    def leaves(self, sizes: Sizes, chosen: Ints) -> Iterator[tuple[Leaf, Ints]]:
        """The leaves below with the cells that fall into each; ``chosen`` are places in ``sizes``."""
        answer = self.question.of({name: column[chosen] for name, column in sizes.items()})
        yield from self.yes.leaves(sizes, chosen[answer])
        yield from self.no.leaves(sizes, chosen[~answer])

    def contested(self, sizes: Sizes, chosen: Ints) -> Iterator[Ints]:
        """For each rival here and below, the cells that it would send the other way."""
        own = {name: column[chosen] for name, column in sizes.items()}
        answer = self.question.of(own)
        for rival, is_turned in self.rivals:
            yield chosen[answer != (rival.of(own) ^ is_turned)]
        for side, below in ((self.yes, chosen[answer]), (self.no, chosen[~answer])):
            if isinstance(side, Branch):
                yield from side.contested(sizes, below)


Tree = Leaf | Branch


def grow(graphs: Sequence[Sequence[Kernel]], sizes: Sizes) -> Tree:
    """The tree that tells all known cells apart.

    Args:
        graphs: the kernels of each cell.
        sizes: of each cell, shape (cells,).
    """
    numbers: dict[tuple[object, ...], int] = {}
    labels = np.array([numbers.setdefault(structure_of(graph), len(numbers)) for graph in graphs], np.int64)
    return _grow(graphs, sizes, labels, list(questions(sizes)))


def questions(sizes: Sizes) -> Iterator[Question]:
    """All of them."""
    for name in sizes:
        yield from (Question(name, "multiple", value) for value in _MULTIPLES)
        yield from (Question(name, "below", value) for value in _LIMITS)
    yield from (Question(name, "same", other=other) for name, other in combinations(sizes, 2))


def _grow(
    graphs: Sequence[Sequence[Kernel]], sizes: Sizes, labels: Ints, asked: Sequence[Question]
) -> Tree:  # fmt: skip
    if len(set(labels.tolist())) == 1:
        forms = fit_forms(graphs, sizes)
        return Leaf(forms) if forms is not None else _grow_by_law(graphs, sizes, labels, asked)
    before, best, gain = _entropy(labels), None, 1e-9
    for question in asked:
        answer = question.of(sizes)
        if answer.all() or not answer.any():
            continue
        share = float(answer.mean())
        gained = before - share * _entropy(labels[answer]) - (1 - share) * _entropy(labels[~answer])
        if gained > gain + 1e-9:
            best, gain = question, gained
    return Leaf(None) if best is None else _branch(best, graphs, sizes, labels, asked)


def _grow_by_law(
    graphs: Sequence[Sequence[Kernel]], sizes: Sizes, labels: Ints, asked: Sequence[Question]
) -> Tree:  # fmt: skip
    """One structure, but no law for all of it: the first question on both sides of which there is one."""
    for question in asked:
        answer = question.of(sizes)
        if answer.all() or not answer.any():
            continue
        sides = [_part(graphs, sizes, one) for one in (answer, ~answer)]
        found = [fit_forms(*side) for side in sides]
        if None not in found:
            return Branch(question, Leaf(found[0]), Leaf(found[1]), _rivals(question, sizes, asked))
    return Leaf(None)


def _branch(
    question: Question, graphs: Sequence[Sequence[Kernel]], sizes: Sizes, labels: Ints, asked: Sequence[Question]
) -> Branch:
    answer = question.of(sizes)
    yes, no = (_grow(*_part(graphs, sizes, one), labels[one], asked) for one in (answer, ~answer))
    return Branch(question, yes, no, _rivals(question, sizes, asked))


def _rivals(question: Question, sizes: Sizes, asked: Sequence[Question]) -> tuple[tuple[Question, bool], ...]:
    answer, found = question.of(sizes), []
    for other in asked:
        its = other.of(sizes)
        if other != question and (np.array_equal(its, answer) or np.array_equal(its, ~answer)):
            found.append((other, not np.array_equal(its, answer)))
    return tuple(found)


def _part(graphs: Sequence[Sequence[Kernel]], sizes: Sizes, chosen: Flags) -> tuple[list[Sequence[Kernel]], Sizes]:
    return (
        [graphs[place] for place in np.flatnonzero(chosen).tolist()],
        {name: column[chosen] for name, column in sizes.items()},
    )


def _entropy(labels: Ints) -> float:
    counts = Counter(labels.tolist()).values()
    return -sum(count / len(labels) * math.log(count / len(labels)) for count in counts)
