"""Which kernels the cells of a grid become, learnt from some cells that the runtime optimised and checked on others.

The oracle is the runtime's optimiser. Cells are asked so that every two classes of sizes meet (classes by what layouts
depend on: powers of two that divide a size, and vectors that it does not fill), once to learn from, and other ones to
check what was learnt. A cell that comes out otherwise joins those that are learnt from, until a whole round agrees.
Leaves where none does are not guessed: the optimiser is asked for each of their cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.graph import Kernel
from .branching import Branch, Leaf, Tree, grow
from .cells import Box, Cells, Ints, Part
from .forms import Sizes, in_order

#: Asks the runtime for the kernels of one of some cells, in whatever order.
Ask = Callable[[Cells, int], tuple[Kernel, ...]]
#: Cells that are drawn to choose from, with equal chance and with an equal chance for each class of sizes. A family of
#: operators that none of them is of is asked cell by cell.
_EVEN_POOL, _CLASS_POOL = 200_000, 100_000
#: Rounds of learning and checking; each adds what the one before got wrong.
_ROUNDS = 6
#: Cells that each leaf is learnt from and checked on at least. From one cell any number looks like a constant: leaves
#: that the pool has fewer cells of are not trusted.
_LEAF_CELLS = 8
#: Cells that are asked about two questions between which the known cells do not decide.
_CONTESTED = 2
#: Further cells that a family is checked on, drawn with equal chance.
_EVEN_CHECKS = 100
#: Families of so few cells in the pool are asked cell by cell.
_FEW = 40
#: More than a size has classes: five divisors by five limits.
_CLASSES = 32
#: A class of a size: its largest divisor among the powers of two up to 16, and between which limits it lies.
_VECTOR, _LIMITS = 16, (2, 4, 8, 16)


@dataclass(frozen=True)
class Family:
    """Cells of the same operators.

    Attributes:
        tree: how sizes decide; the cells of leaves without forms are asked one by one.
        learnt_from: cells whose kernels the tree was made to fit.
        checked: other cells whose kernels were those of the tree in the last round, but for ``unsure`` leaves.
        unsure: leaves that did not agree with the optimiser, or had too few cells to tell, and lost their forms.
    """

    tree: Tree
    learnt_from: int
    checked: int
    unsure: int = 0


@dataclass(frozen=True)
class Learnt:
    """What is known of one kind of block: a family for each number of ``Cells.families`` that was met."""

    families: dict[int, Family] = field(default_factory=dict)

    @property
    def checked(self) -> int:
        """Cells whose kernels were compared with the optimiser's, after learning."""
        return sum(family.checked for family in self.families.values())

    @property
    def learnt_from(self) -> int:
        return sum(family.learnt_from for family in self.families.values())

    @property
    def unsure(self) -> int:
        return sum(family.unsure for family in self.families.values())


class Source(Protocol):
    """Cells of one kind of block to learn from: a part of a grid, or the cells of a space."""

    @property
    def block(self) -> str: ...

    @property
    def size(self) -> int: ...

    def cells(self, ranks: Ints) -> Cells:
        """Those with these numbers in 0 … size - 1, which ascend."""


def learn(part: Source, ask: Ask, seed: int = 0, progress: Callable[[str], None] = lambda note: None) -> Learnt:
    """Learn every family of one kind of block; raises what the runtime raises for a cell that it cannot take.

    Args:
        progress: is told which family comes next.
    """
    rng = np.random.default_rng(seed)
    is_whole = part.size <= _EVEN_POOL
    if is_whole:
        pool = part.cells(np.arange(part.size))
    else:
        drawn = [rng.integers(part.size, size=_EVEN_POOL)]
        if isinstance(part, Part):
            drawn.append(_draw_by_class(part, _CLASS_POOL, rng))
        pool = part.cells(np.unique(np.concatenate(drawn)))
    learnt, families = Learnt(), pool.families
    numbers = np.unique(families).tolist()
    for place, number in enumerate(numbers, 1):
        progress(f"{part.block}, {place} of {len(numbers)}")
        learnt.families[number] = _Lesson(pool.take(families == number), is_whole, ask, rng).learn()
    return learnt


class _Lesson:
    """One family: the cells to choose from (all of them, or not), and those whose kernels are known by now."""

    def __init__(self, pool: Cells, is_whole: bool, ask: Ask, rng: np.random.Generator) -> None:
        self.pool, self.is_whole, self.ask, self.rng = pool, is_whole, ask, rng
        self.classes = [_dense(classes_of(sizes)) for sizes in pool.sizes.values()]
        self.known: dict[int, tuple[Kernel, ...]] = {}
        self.is_known = np.zeros(pool.count, bool)

    def learn(self) -> Family:
        if self.pool.count <= _FEW:
            return Family(Leaf(None), 0, 0)
        self._add(self._pairs())
        for _ in range(_ROUNDS):
            tree, learnt_from = self._grown(), len(self.known)
            fresh = self._fresh(tree)
            thin = [leaf for leaf, places in self._leaves(tree) if self._is_thin(places, fresh)]
            self._add(fresh.tolist())
            wrong = [leaf for leaf, places in self._leaves(tree, fresh) if not self._agrees(leaf, places)]
            if not wrong:
                break
        unsure = [leaf for leaf in [*wrong, *thin] if leaf.forms is not None]
        return Family(_without(tree, unsure), learnt_from, len(fresh), len(unsure))

    def _add(self, places: Iterable[int]) -> None:
        for place in places:
            if not self.is_known[place]:
                self.known[place] = in_order(self.ask(self.pool, place))
                self.is_known[place] = True

    def _pairs(self) -> list[int]:
        """Cells in which every two classes of two sizes meet that meet in any cell; other ones each time."""
        order = self.rng.permutation(self.pool.count)
        codes = [first[order] * _CLASSES + other[order] for first, other in combinations(self.classes, 2)]
        seen: list[set[int]] = [set() for _ in codes]
        chosen = []
        for place, column in enumerate(codes):
            for code, at in zip(*(one.tolist() for one in np.unique(column, return_index=True)), strict=True):
                if code not in seen[place]:
                    chosen.append(int(order[at]))
                    for some, other in zip(seen, codes, strict=True):
                        some.add(int(other[at]))
        return chosen

    def _grown(self) -> Tree:
        """The tree of what is known, when no cell is left that would tell more: each leaf knows enough cells, and some
        of each class of each size that it has; and no question has a rival that a cell would tell from it."""
        while True:
            places = list(self.known)
            tree = grow([self.known[place] for place in places], self._sizes(places))
            for _, of_leaf in self._leaves(tree):
                known = int(np.count_nonzero(self.is_known[of_leaf]))
                self._add(self._some(of_leaf, _LEAF_CELLS - known).tolist())
                self._add(self._unseen(of_leaf))
            if isinstance(tree, Branch):
                for cells in tree.contested(self.pool.sizes, np.arange(self.pool.count)):
                    self._add(self._some(cells, _CONTESTED).tolist())
            if len(self.known) == len(places):
                return tree

    def _unseen(self, of_leaf: Ints) -> list[int]:
        """A cell of each class of each size of which none of these cells is known."""
        found = []
        for classes in self.classes:
            shuffled = self.rng.permutation(of_leaf)
            present, first = np.unique(classes[shuffled], return_index=True)
            seen = np.unique(classes[of_leaf[self.is_known[of_leaf]]])
            found += shuffled[first[~np.isin(present, seen)]].tolist()
        return found

    def _fresh(self, tree: Tree) -> Ints:
        """Cells that are not known yet, to check with."""
        found = [np.array(self._pairs(), np.int64), self._some(np.arange(self.pool.count), _EVEN_CHECKS)]
        found += [self._some(of_leaf, _LEAF_CELLS) for _, of_leaf in self._leaves(tree)]
        every = np.unique(np.concatenate(found))
        unknown: Ints = every[~self.is_known[every]]
        return unknown

    def _is_thin(self, of_leaf: Ints, fresh: Ints) -> bool:
        """Whether a leaf has too few cells to learn from or to check with, and not all of them are learnt from."""
        learnt_from, checks = int(self.is_known[of_leaf].sum()), int(np.isin(of_leaf, fresh).sum())
        is_all = self.is_whole and learnt_from == len(of_leaf)
        return not is_all and min(learnt_from, checks) < _LEAF_CELLS

    def _leaves(self, tree: Tree, places: Ints | None = None) -> list[tuple[Leaf, Ints]]:
        """The leaves that have cells among those, or in the pool."""
        return list(tree.leaves(self.pool.sizes, np.arange(self.pool.count) if places is None else places))

    def _agrees(self, leaf: Leaf, places: Ints) -> bool:
        """Whether a leaf says of cells what the optimiser said; one without forms says nothing."""
        if leaf.forms is None:
            return True
        sizes = self._sizes(places)
        columns = [form.rows(sizes, len(places)).kernels() for form in leaf.forms]
        asked = [self.known[place] for place in places.tolist()]
        return list(zip(*columns, strict=True)) == asked if columns else not any(asked)

    def _sizes(self, places: Sequence[int] | Ints) -> Sizes:
        return {name: column[places] for name, column in self.pool.sizes.items()}

    def _some(self, places: Ints, count: int) -> Ints:
        """So many at random of those that are not known, or all."""
        unknown = places[~self.is_known[places]]
        chosen: Ints = self.rng.choice(unknown, min(max(count, 0), len(unknown)), replace=False)
        return chosen


def _without(tree: Tree, wrong: Sequence[Leaf]) -> Tree:
    """The tree whose wrong leaves have no forms."""
    if isinstance(tree, Leaf):
        return Leaf(None) if any(tree is one for one in wrong) else tree
    return replace(tree, yes=_without(tree.yes, wrong), no=_without(tree.no, wrong))


def classes_of(sizes: Ints) -> Ints:
    """A number for the class of each size."""
    return np.gcd(sizes, _VECTOR) * (len(_LIMITS) + 1) + np.searchsorted(_LIMITS, sizes, side="right")


def _dense(classes: Ints) -> npt.NDArray[np.int16]:
    """Numbered from 0 on, below ``_CLASSES``, in a type that NumPy sorts fast."""
    return np.unique(classes, return_inverse=True)[1].astype(np.int16)


def _draw_by_class(part: Part, count: int, rng: np.random.Generator) -> Ints:
    """Numbers of cells at random: a box, then for each of its axes a class, then a value of it."""
    box = np.sort(rng.integers(len(part.boxes), size=count))
    ranks = [
        part.starts[number] + _ranks_by_class(part.boxes[number], int(np.count_nonzero(box == number)), rng)
        for number in np.unique(box).tolist()
    ]
    return np.concatenate(ranks)


def _ranks_by_class(box: Box, count: int, rng: np.random.Generator) -> Ints:
    ranks = np.zeros(count, np.int64)
    for _, values in box.axes:
        classes = classes_of(np.array(values, np.int64))
        _, place, members = np.unique(classes, return_inverse=True, return_counts=True)
        drawn = rng.integers(len(members), size=count)
        by_class = np.argsort(place, kind="stable")
        first = np.concatenate([[0], np.cumsum(members)[:-1]])
        digit = by_class[first[drawn] + (rng.random(count) * members[drawn]).astype(np.int64)]
        ranks = ranks * len(values) + digit
    return ranks
