"""What one repetition of a layer may be, and what follows from the choices: its cells, and the shape behind it."""

from __future__ import annotations

from dataclasses import dataclass

from ...profiler.errors import UsageError
from .candidates import Candidate, identity
from .cell import BlockSpec, make_cell
from .flow import Depending, Flow
from .kinds import Shape
from .slots import CURRENT, Part
from .table import Table

Specs = tuple[BlockSpec, ...]
#: The value that a layer of several parts adds at its end.
_ADDED = "added"


@dataclass(frozen=True)
class Plan:
    """What one repetition of a layer may be.

    Attributes:
        before: what it gets.
        every: the blocks of each candidate, in order, by the choices of the whole space.
        specs: the same, and none where those choices leave the repetition out.
        reads: the values that go into the first block.
    """

    candidates: tuple[Candidate, ...]
    before: Flow
    every: Depending[tuple[Specs, ...]]
    specs: Depending[tuple[Specs, ...]]
    reads: Depending[tuple[str, ...]]


def parts_of(
    name: str, plan: Plan, chosen: dict[int, int], place: int | None, register: str, adds: bool
) -> tuple[Part, ...]:
    """The cells of one combination of choices.

    Args:
        register: a second name for what comes out; empty for none.
        adds: add what goes in, where the shape is kept.
    """
    index = 0 if place is None else chosen[place]
    if index < 0 or not (specs := plan.specs.at(chosen)[index]):
        return ()
    fixed = place is None and not plan.specs.scope
    shape, reads, found = plan.before.at(chosen), plan.reads.at(chosen), list[Part]()
    for spec in specs:
        found.append(Part(make_cell(name, "fixed" if fixed else "choice", spec, shape), reads))
        shape, reads = found[-1].cell.output_shape, (CURRENT,)
    if adds and shape == plan.before.at(chosen):
        total = BlockSpec("sum", shape[1], more=(("count", 2),))
        found.insert(0, Part(make_cell(name, "fixed", identity(shape[1]), shape), (CURRENT,), _ADDED))
        found.append(Part(make_cell(name, "fixed" if fixed else "choice", total, shape), (_ADDED, CURRENT)))
    if register:
        found.append(Part(make_cell(name, "fixed", identity(shape[1]), shape), (CURRENT,), register))
    return tuple(found)


def shape_behind(layer: Table, plan: Plan, chosen: dict[int, int]) -> Shape:
    """The shape behind a place, which its own candidates must not decide."""
    shapes = set()
    for specs in plan.specs.at(chosen):
        shape = plan.before.at(chosen)
        for spec in specs:
            shape = output_of(layer, spec, shape)
        shapes.add(shape)
    if len(shapes) != 1:
        raise layer.error("out", f"differs between candidates: {sorted(shapes)}", "All must give one shape.")
    return shapes.pop()


def output_of(given: Table, spec: BlockSpec, shape: Shape) -> Shape:
    """The shape behind a block; a block that cannot stand there is a fault of the table that gives it."""
    try:
        return spec.output_shape(shape)
    except UsageError as error:
        raise given.error("block", error.message, error.remedy or "Put another layer before it.") from error
