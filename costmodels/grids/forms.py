"""Kernels with symbols for sizes: how each number of a kernel follows from the parameters of its cell.

A number is a constant, a parameter that may be padded to a multiple, a product of two, a straight line in any of these,
or a sum of two. What fits all known cells is taken, the simplest first; whether it holds for others is for ``learning``
to find out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, combinations_with_replacement

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.graph import Kernel
from ..kernel_arrays.rows import Extents, KernelRows

Ints = npt.NDArray[np.int64]
Sizes = Mapping[str, Ints]
#: Parameters that are multiplied, each with the multiple that it is padded to.
Factors = tuple[tuple[str, int], ...]

#: What runtimes pad channels to: ONNX Runtime to 4, 8 or 16.
_MULTIPLES = (1, 4, 8, 16, 32, 64)
#: Attributes of whole numbers, as ``Kernel`` writes them.
_WHOLE = re.compile(r"-?\d+(x-?\d+)*")


@dataclass(frozen=True)
class Term:
    """(Σ times · Π up(parameter, multiple) + plus) / over, which is a whole number wherever it holds.

    Attributes:
        summands: each a factor and the parameters that are multiplied, with the multiple that each is padded to; none
            for a constant.
        multiple: what the whole is padded to.
    """

    summands: tuple[tuple[int, Factors], ...] = ()
    plus: int = 0
    over: int = 1
    multiple: int = 1

    def of(self, sizes: Sizes, count: int) -> Ints:
        """Shape (cells,)."""
        found = np.full(count, self.plus, np.int64)
        for times, factors in self.summands:
            found = found + times * _product(factors, sizes)
        return _up(found // self.over, self.multiple)

    @property
    def parameters(self) -> set[str]:
        """Those that it depends on."""
        return {name for _, factors in self.summands for name, _ in factors}


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
        return tuple(sorted({name for terms in lists for term in terms for name in term.parameters}))


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
    columns = {column.tobytes(): column for column in table.T}
    candidates = list(_candidates(sizes))
    fitted = {name: _fit(column, candidates) for name, column in columns.items()}
    known = [(term, columns[name]) for name, term in fitted.items() if term is not None]
    terms: list[Term] = []
    for column in table.T:
        # What is padded stands elsewhere without its padding.
        term = fitted[column.tobytes()] or _padded(column, known)
        if term is None:
            return None
        terms.append(term)
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
        attributes.append((name, own if any(term.summands for term in own) else value))
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


def _candidates(sizes: Sizes) -> Iterator[tuple[Factors, Ints]]:
    """Products of one or two parameters with their values, the simplest first. Constant ones tell nothing."""
    factors: list[Factors] = [((name, one),) for one in _MULTIPLES for name in sizes]
    factors += [((first, 1), (second, 1)) for first, second in combinations_with_replacement(sizes, 2)]
    for some in factors:
        values = _product(some, sizes)
        if values.min() != values.max():
            yield some, values


def _fit(column: Ints, candidates: Sequence[tuple[Factors, Ints]]) -> Term | None:
    if column.min() == column.max():
        return Term(plus=int(column[0]))
    for factors, values in candidates:
        if np.array_equal(values, column):
            return Term(((1, factors),))
    for factors, values in candidates:
        term = _line(column, factors, values)
        if term is not None:
            return term
    plain = [(factors, values) for factors, values in candidates if len(factors) == 1 and factors[0][1] == 1]
    planes = (_plane(column, first, second) for first, second in combinations(plain, 2))
    return next((term for term in planes if term is not None), None)


def _line(column: Ints, factors: Factors, values: Ints) -> Term | None:
    """The straight line through the cells with the least and the largest value, if all others lie on it."""
    low, high = int(values.argmin()), int(values.argmax())
    slope = Fraction(int(column[high] - column[low]), int(values[high] - values[low]))
    shift = int(column[low]) - slope * int(values[low])
    over = slope.denominator * shift.denominator
    times, plus = int(slope * over), int(shift * over)
    return Term(((times, factors),), plus, over) if np.array_equal(times * values + plus, column * over) else None


def _plane(column: Ints, first: tuple[Factors, Ints], second: tuple[Factors, Ints]) -> Term | None:
    """A sum of two parameters: what a concatenation makes of channels. Whole coefficients only."""
    design = np.column_stack([first[1], second[1], np.ones(len(column))]).astype(np.float64)
    found, _, rank, _ = np.linalg.lstsq(design, column.astype(np.float64))
    if rank < design.shape[1]:
        return None
    one, other, plus = np.rint(found).astype(np.int64).tolist()
    if not np.array_equal(one * first[1] + other * second[1] + plus, column):
        return None
    return Term(((one, first[0]), (other, second[0])), plus)


def _padded(column: Ints, known: Sequence[tuple[Term, Ints]]) -> Term | None:
    """Another number of these kernels, padded."""
    for term, values in known:
        for multiple in _MULTIPLES[1:]:
            if np.array_equal(_up(values, multiple), column):
                return replace(term, multiple=multiple)
    return None


def _product(factors: Factors, sizes: Sizes) -> Ints:
    found: Ints | None = None
    for name, multiple in factors:
        one = _up(sizes[name], multiple)
        found = one if found is None else found * one
    assert found is not None
    return found


def _up(values: Ints, multiple: int) -> Ints:
    return values if multiple == 1 else -(-values // multiple) * multiple
