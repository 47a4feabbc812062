"""What a rule of work sees of a kernel, and what a rule says. Shapes only: no values, no device.

A kernel keeps its activations and its constants apart, each in the operator's order, and leaves out absent operands; so
which operand is which is worked out here from ranks and sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

Shape = tuple[int, ...]
#: How far a number of operations can be trusted.
#:
#: * ``counted``: it follows from the shapes.
#: * ``upper_bound``: data decide, and it is the most that can be (NonMaxSuppression, Compress), or a view that copies
#:   only where the runtime cannot share the memory (Reshape).
#: * ``lower_bound``: something is done that the kernel does not show.
#: * ``assumed``: no rule is known for the operator; one operation for each element of its largest value.
Basis = Literal["counted", "upper_bound", "lower_bound", "assumed"]


@dataclass(frozen=True)
class Operands:
    """The shapes of a kernel, none of them unknown.

    Attributes:
        inputs: activations, in the operator's order.
        weights: constants, in the operator's order.
        outputs: at least one.
        attributes: as the kernel holds them: text, numbers joined by ``x``.
    """

    inputs: tuple[Shape, ...]
    weights: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    attributes: Mapping[str, str]

    @property
    def all(self) -> tuple[Shape, ...]:
        """Activations, then constants."""
        return (*self.inputs, *self.weights)

    @property
    def first(self) -> Shape:
        """The operand that is worked on: the first activation, or the first constant where there is none."""
        return self.all[0] if self.all else ()

    @property
    def elements(self) -> int:
        """Elements of the first output."""
        return size(self.outputs[0])

    @property
    def read(self) -> int:
        """Elements of the first operand."""
        return size(self.first)

    def number(self, name: str, default: float) -> float:
        """An attribute that is one number; the default where it is absent or something else."""
        try:
            return float(self.attributes.get(name, default))
        except ValueError:
            return default

    def numbers(self, name: str) -> tuple[int, ...]:
        """An attribute that is a list of whole numbers; empty where it is absent."""
        text = self.attributes.get(name, "")
        return tuple(int(float(part)) for part in text.split("x")) if text else ()

    def count(self, name: str) -> int:
        """How many numbers an attribute lists; 0 where it is absent."""
        text = self.attributes.get(name, "")
        return text.count("x") + 1 if text else 0

    def extent(self, shape: Shape, axis_name: str, default: int) -> int:
        """The size of the axis that an attribute names; 1 for a scalar or an axis that is not there."""
        axis = int(self.number(axis_name, default))
        return shape[axis] if -len(shape) <= axis < len(shape) else 1

    def filter(self) -> Shape | None:
        """The filter of a convolution: the first constant with spatial axes, else the second such activation."""
        constant = [shape for shape in self.weights if len(shape) > 2]
        fed = [shape for shape in self.inputs if len(shape) > 2]
        if constant:
            return constant[0]
        return fed[1] if len(fed) > 1 else None

    def pairs(self) -> Iterator[tuple[Shape, Shape]]:
        """Two operands that may be the factors of a product, the likeliest first."""
        yield from product(self.inputs, self.weights)
        yield from combinations(self.inputs, 2)
        yield from combinations(self.weights, 2)


@dataclass(frozen=True)
class Rule:
    """How an operator's work follows from its operands.

    Attributes:
        operations: floating-point (or integer) operations; a multiply-add is two.
        basis: how far that number can be trusted.
        reads: which part of the first operand is read: ``all``, ``output`` (as many elements as are written: a gather
            does not read its whole table), or ``none`` (only its shape).
    """

    operations: Callable[[Operands], float]
    basis: Basis = "counted"
    reads: Literal["all", "output", "none"] = "all"


def size(shape: Shape) -> int:
    """Number of elements; 1 for a scalar."""
    return math.prod(shape)


def nothing(_: Operands) -> float:
    """Data are moved, nothing is computed."""
    return 0.0


def one_for_each(operands: Operands) -> float:
    """One operation for each element of the largest value."""
    return float(max(size(shape) for shape in (*operands.all, *operands.outputs)))


def per_output(operations: float) -> Callable[[Operands], float]:
    """So many operations for each element of the first output."""
    return lambda operands: operations * operands.elements


def per_input(operations: float) -> Callable[[Operands], float]:
    """So many operations for each element of the first operand."""
    return lambda operands: operations * operands.read
