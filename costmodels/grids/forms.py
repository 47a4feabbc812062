"""Kernels with symbols for sizes: how each number of a kernel follows from the parameters of its cell.

A number is a constant, a parameter that may be padded to a multiple, a straight line in one, or a product of two. What
fits all known cells is taken, the simplest first; whether it holds for others is for ``learning`` to find out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.graph import Kernel
from ..kernel_arrays.rows import Extents, KernelRows

Ints = npt.NDArray[np.int64]
Sizes = Mapping[str, Ints]

#: What runtimes pad channels to: ONNX Runtime to 4, 8 or 16.
_MULTIPLES = (1, 4, 8, 16, 32, 64)
#: Attributes of whole numbers, as ``Kernel`` writes them.
_WHOLE = re.compile(r"-?\d+(x-?\d+)*")


@dataclass(frozen=True)
class Term:
    """(times · Π up(parameter, multiple) + plus) / over, which is a whole number wherever it holds.

    Attributes:
        factors: parameters with the multiple that each is padded to; none for a constant.
    """

    factors: tuple[tuple[str, int], ...] = ()
    times: int = 1
    plus: int = 0
    over: int = 1

    def of(self, sizes: Sizes, count: int) -> Ints:
        """Shape (cells,)."""
        if not self.factors:
            return np.full(count, self.plus, np.int64)
        return (self.times * _product(self.factors, sizes) + self.plus) // self.over


@dataclass(frozen=True)
class KernelForm:
    """As ``Kernel``, with a term for each number."""

    op: str
    dtype: str
    inputs: tuple[tuple[Term, ...] | None, ...]
    weights: tuple[tuple[Term, ...], ...]
    outputs: tuple[tuple[Term, ...] | None, ...]
    attributes: tuple[tuple[str, str | tuple[Term, ...]], ...]

    def rows(self, sizes: Sizes, count: int) -> KernelRows:
        """The kernels of so many cells."""

        def extents(terms: tuple[Term, ...]) -> Extents:
            return tuple(term.of(sizes, count) for term in terms)

        return KernelRows(
            count=count,
            op=self.op,
            dtype=self.dtype,
            inputs=tuple(None if terms is None else extents(terms) for terms in self.inputs),
            weights=tuple(map(extents, self.weights)),
            outputs=tuple(None if terms is None else extents(terms) for terms in self.outputs),
            attributes=tuple(
                (name, value if isinstance(value, str) else extents(value)) for name, value in self.attributes
            ),
        )

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those on which a number depends, sorted: cells that agree in them have the same kernel."""
        lists = [terms for terms in (*self.inputs, *self.weights, *self.outputs) if terms is not None]
        lists += [value for _, value in self.attributes if not isinstance(value, str)]
        return tuple(sorted({name for terms in lists for term in terms for name, _ in term.factors}))


def in_order(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """By the nodes that each came from: of branches the runtime's order changes from session to session."""
    return tuple(sorted(kernels, key=lambda kernel: (kernel.nodes, kernel.op, len(kernel.inputs))))


def structure_of(kernels: Sequence[Kernel]) -> tuple[object, ...]:
    """What two cells must share to have the same forms: everything but the numbers."""
    return tuple(
        (
            kernel.op,
            kernel.dtype,
            tuple(None if shape is None else len(shape) for shape in kernel.inputs),
            tuple(map(len, kernel.weights)),
            tuple(None if shape is None else len(shape) for shape in kernel.outputs),
            tuple((name, _counted(value)) for name, value in kernel.attributes),
        )
        for kernel in kernels
    )


def fit_forms(graphs: Sequence[Sequence[Kernel]], sizes: Sizes) -> tuple[KernelForm, ...] | None:
    """The forms of the kernels of cells that share a structure; None where a number follows no known law.

    Args:
        graphs: the kernels of each cell, of which there is at least one.
        sizes: the parameters of the cells, each of shape (cells,).
    """
    table = np.array([list(_numbers(graph)) for graph in graphs], np.int64).reshape(len(graphs), -1)
    candidates = list(_candidates(sizes))
    known: dict[bytes, Term | None] = {}
    terms: list[Term] = []
    for column in table.T:
        name = column.tobytes()
        if name not in known:
            known[name] = _fit(column, candidates)
        found = known[name]
        if found is None:
            return None
        terms.append(found)
    left = iter(terms)
    return tuple(_form(kernel, left) for kernel in graphs[0])


def _form(kernel: Kernel, terms: Iterator[Term]) -> KernelForm:
    """Put the terms where ``_numbers`` found the numbers; attributes that are constants stay texts."""

    def side(shapes: tuple[tuple[int, ...] | None, ...]) -> tuple[tuple[Term, ...] | None, ...]:
        return tuple(None if shape is None else tuple(next(terms) for _ in shape) for shape in shapes)

    inputs, weights, outputs = side(kernel.inputs), side(kernel.weights), side(kernel.outputs)
    attributes: list[tuple[str, str | tuple[Term, ...]]] = []
    for name, value in kernel.attributes:
        own = tuple(next(terms) for _ in range(value.count("x") + 1)) if _WHOLE.fullmatch(value) else ()
        attributes.append((name, own if any(term.factors for term in own) else value))
    return KernelForm(
        op=kernel.op,
        dtype=kernel.dtype,
        inputs=inputs,
        weights=tuple(terms or () for terms in weights),
        outputs=outputs,
        attributes=tuple(attributes),
    )


def _numbers(graph: Sequence[Kernel]) -> Iterator[int]:
    for kernel in graph:
        for shape in (*kernel.inputs, *kernel.weights, *kernel.outputs):
            yield from shape or ()
        for _, value in kernel.attributes:
            if _WHOLE.fullmatch(value):
                yield from map(int, value.split("x"))


def _counted(value: str) -> str | int:
    """Of whole numbers only how many there are."""
    return value.count("x") + 1 if _WHOLE.fullmatch(value) else value


def _candidates(sizes: Sizes) -> Iterator[tuple[tuple[tuple[str, int], ...], Ints]]:
    """Products of one or two parameters with their values, the simplest first. Constant ones tell nothing."""
    factors: list[tuple[tuple[str, int], ...]] = [((name, one),) for one in _MULTIPLES for name in sizes]
    factors += [((first, 1), (second, 1)) for first, second in combinations_with_replacement(sizes, 2)]
    for some in factors:
        values = _product(some, sizes)
        if values.min() != values.max():
            yield some, values


def _fit(column: Ints, candidates: Sequence[tuple[tuple[tuple[str, int], ...], Ints]]) -> Term | None:
    if column.min() == column.max():
        return Term(plus=int(column[0]))
    for factors, values in candidates:
        if np.array_equal(values, column):
            return Term(factors)
    for factors, values in candidates:
        term = _line(column, factors, values)
        if term is not None:
            return term
    return None


def _line(column: Ints, factors: tuple[tuple[str, int], ...], values: Ints) -> Term | None:
    """The straight line through the cells with the least and the largest value, if all others lie on it."""
    low, high = int(values.argmin()), int(values.argmax())
    slope = Fraction(int(column[high] - column[low]), int(values[high] - values[low]))
    shift = int(column[low]) - slope * int(values[low])
    over = slope.denominator * shift.denominator
    times, plus = int(slope * over), int(shift * over)
    return Term(factors, times, plus, over) if np.array_equal(times * values + plus, column * over) else None


def _product(factors: Sequence[tuple[str, int]], sizes: Sizes) -> Ints:
    found: Ints | None = None
    for name, multiple in factors:
        one = sizes[name] if multiple == 1 else -(-sizes[name] // multiple) * multiple
        found = one if found is None else found * one
    assert found is not None
    return found
