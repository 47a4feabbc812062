"""Kernels that differ in nothing but sizes, as one record of arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.graph import Kernel

Ints = npt.NDArray[np.int64]
#: The extents of a shape, each of shape (rows,).
Extents = tuple[Ints, ...]


@dataclass(frozen=True, eq=False)
class KernelRows:
    """As ``Kernel``, with an array for each number.

    Attributes:
        count: rows.
        inputs, weights, outputs: the shapes; None where the runtime does not tell one.
        attributes: by name, sorted: a text that all rows share, or whole numbers.
    """

    count: int
    op: str
    dtype: str
    inputs: tuple[Extents | None, ...]
    weights: tuple[Extents, ...]
    outputs: tuple[Extents | None, ...]
    attributes: tuple[tuple[str, str | Extents], ...]

    @property
    def attribute(self) -> Mapping[str, str | Extents]:
        return dict(self.attributes)

    def number(self, name: str, default: int) -> Ints:
        """An attribute that is one whole number, shape (rows,)."""
        return self.numbers(name, 1, default)[0]

    def numbers(self, name: str, count: int, default: int) -> Extents:
        """An attribute that lists so many whole numbers; the default where it is absent or something else."""
        value = self.attribute.get(name, "")
        if isinstance(value, str):
            parts = [int(float(part)) for part in value.split("x") if part]
            value = tuple(np.full(self.count, part, np.int64) for part in parts)
        if len(value) == count:
            return value
        return tuple(np.full(self.count, default, np.int64) for _ in range(count))

    def take(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> KernelRows:
        """Some of the rows."""
        count = int(np.count_nonzero(chosen)) if chosen.dtype == np.bool_ else len(chosen)

        def some(shape: Extents) -> Extents:
            return tuple(extent[chosen] for extent in shape)

        return KernelRows(
            count=count,
            op=self.op,
            dtype=self.dtype,
            inputs=tuple(None if shape is None else some(shape) for shape in self.inputs),
            weights=tuple(map(some, self.weights)),
            outputs=tuple(None if shape is None else some(shape) for shape in self.outputs),
            attributes=tuple(
                (name, value if isinstance(value, str) else some(value)) for name, value in self.attributes
            ),
        )

    def kernels(self) -> list[Kernel]:
        """One by one: some microseconds each."""
        inputs, weights, outputs = (_shapes(side, self.count) for side in (self.inputs, self.weights, self.outputs))
        names = [name for name, _ in self.attributes]
        values = [
            [value] * self.count if isinstance(value, str) else ["x".join(map(str, row)) for row in _rows(value)]
            for _, value in self.attributes
        ]
        texts = list(zip(*values, strict=True)) if values else [()] * self.count
        return [
            Kernel(self.op, into, held, made, tuple(zip(names, text, strict=True)), self.dtype)
            for into, held, made, text in zip(inputs, weights, outputs, texts, strict=True)
        ]

    def hashes(self) -> list[str]:
        """``Kernel.kernel_hash`` of each: the text that is hashed is put together once, with gaps for the numbers."""
        gaps: list[Ints] = []

        def gap(shape: Extents) -> str:
            gaps.extend(shape)
            return "x".join(["%d"] * len(shape))

        def told(text: str) -> str:
            return text.replace("%", "%%")

        inputs = " ".join("?" if shape is None else gap(shape) for shape in self.inputs)
        weights = " ".join(map(gap, self.weights))
        outputs = " ".join("?" if shape is None else gap(shape) for shape in self.outputs)
        notes = " ".join(
            f"{told(name)}={told(value) if isinstance(value, str) else gap(value)}" for name, value in self.attributes
        )
        parts = (told(self.op), inputs, f"· {weights}" if weights else "", f"→ {outputs}", notes)
        text = json.dumps(" ".join(part for part in parts if part), ensure_ascii=False)
        document = f'{{"dtype":{json.dumps(self.dtype)},"signature":{text}}}'
        filled = (document % row for row in _rows(gaps)) if gaps else [document % ()] * self.count
        return [hashlib.sha256(one.encode()).hexdigest() for one in filled]


def rows_of(kernels: Sequence[Kernel]) -> KernelRows:
    """Kernels of one operator, type, ranks and attributes (by name), of which there is at least one; attributes that
    differ must be whole numbers."""
    first = kernels[0]

    def extents(shapes: list[tuple[int, ...]]) -> Extents:
        return tuple(np.array(column, np.int64) for column in zip(*shapes, strict=True))

    def sides(of_kernel: list[tuple[tuple[int, ...] | None, ...]]) -> tuple[Extents | None, ...]:
        places = zip(*of_kernel, strict=True)
        return tuple(
            None if place[0] is None else extents([shape for shape in place if shape is not None]) for place in places
        )

    attributes: list[tuple[str, str | Extents]] = []
    for name, value in first.attributes:
        values = [kernel.attribute[name] for kernel in kernels]
        same = all(one == value for one in values)
        attributes.append((name, value if same else extents([tuple(map(int, one.split("x"))) for one in values])))
    return KernelRows(
        count=len(kernels),
        op=first.op,
        dtype=first.dtype,
        inputs=sides([kernel.inputs for kernel in kernels]),
        weights=tuple(shape or () for shape in sides([kernel.weights for kernel in kernels])),
        outputs=sides([kernel.outputs for kernel in kernels]),
        attributes=tuple(attributes),
    )


def _rows(columns: Sequence[Ints]) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _shapes(side: Sequence[Extents | None], count: int) -> list[tuple[tuple[int, ...], ...]]:
    """The shapes of one side, kernel by kernel."""
    columns = [[None] * count if shape is None else (_rows(shape) if shape else [()] * count) for shape in side]
    return list(zip(*columns, strict=True)) if columns else [()] * count
