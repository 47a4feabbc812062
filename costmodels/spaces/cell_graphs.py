"""Cells that are graphs, not chains: edges that each choose an operation, or nodes that choose operations and inputs.

``edge_cell`` is NAS-Bench-201's (Dong and Yang, ICLR 2020, §2.1): nodes in order, an edge between any two, a node is
the sum of its edges, the last one is the output. ``node_cell`` is DARTS's (Liu, Simonyan and Yang, ICLR 2019, §2.1):
two inputs, each node sums two operations on nodes before it, all nodes are concatenated.

An edge that does not lead from the input to the output is no part of the network: nobody executes dead code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .block_reader import block_fields
from .cell import BlockSpec, CellKind, make_cell
from .flow import Depending, Flow, one_shape
from .kinds import Shape
from .slots import CURRENT, Part, Slot
from .table import Table

if TYPE_CHECKING:
    from .layers import LayerReader

#: An operation that lets nothing through, and one that lets everything.
NONE, IDENTITY = "none", "identity"
CELL_BLOCKS = ("edge_cell", "node_cell")


def read_cells(reader: LayerReader, layer: Table) -> None:
    """Put the repetitions of a cell behind what is there, and move the reader's flow on.

    Raises:
        UsageError: a fault in the description of the cell.
    """
    template = reader.table.sub("cell", None).sub(layer.text("cell"), ["nodes", "edges"])
    repeat = layer.integer("repeat", 1, minimum=1)
    if layer.text("block") == "edge_cell":
        operations = Operations(reader, layer, _one_shape(reader.flow, layer))
        reader.sequence.extend([_edge_cell(reader, layer, template, operations)] * repeat)
        return
    for _ in range(repeat):
        _node_cell(reader, layer, template)


def _one_shape(flow: Flow, layer: Table) -> Shape:
    shapes = set(flow.values())
    if len(shapes) != 1:
        raise layer.error("block", "stands behind a shape that a choice decides", "Decide it before.")
    return shapes.pop()


@dataclass(frozen=True)
class Operations:
    """The named operations of a file at one shape."""

    reader: LayerReader
    layer: Table
    shape: Shape
    _made: dict[tuple[BlockSpec, tuple[str, ...], str, CellKind], Part] = field(default_factory=dict, repr=False)

    def spec(self, name: str, stride: int = 1) -> BlockSpec | None:
        """The block of an operation; None for one that lets nothing through.

        Raises:
            UsageError: there is no such operation.
        """
        table = self.reader.table.sub("operations", None)
        data = table.sub(name, None).data
        at_stride = data.get("reduces") if stride > 1 else None
        fields = {**data, **at_stride} if isinstance(at_stride, dict) else dict(data)
        fields.pop("reduces", None)
        block = fields.get("block")
        if block == NONE:
            return None
        if block == IDENTITY:
            return BlockSpec("identity", self.shape[1])
        known = ["block", *block_fields(str(block))]
        here = {"out": self.shape[1], "stride": stride}
        given = {**fields, **{name: value for name, value in here.items() if name in known}}
        return self.reader.blocks.read(Table(f"{table.where}: {name}", given, known), self.shape, 0)

    def part(self, spec: BlockSpec, reads: tuple[str, ...], writes: str, kind: CellKind = "choice") -> Part:
        """A cell of this layer and its place in the graph."""
        # The cells of all combinations of edges are few parts, many times.
        key = (spec, reads, writes, kind)
        if key not in self._made:
            self._made[key] = Part(make_cell(self.layer.text("name"), kind, spec, self.shape), reads, writes)
        return self._made[key]

    def joined(self, block: str, reads: tuple[str, ...], writes: str, kind: CellKind = "choice") -> Part:
        """Several values to one; a second name where there is only one."""
        if len(reads) == 1:
            return self.part(BlockSpec("identity", self.shape[1]), reads, writes, kind)
        return self.part(BlockSpec(block, self.shape[1], more=(("count", len(reads)),)), reads, writes, kind)


def _edge_cell(reader: LayerReader, layer: Table, template: Table, operations: Operations) -> Slot:
    """One slot over the choices of all edges: which of them are alive depends on each of them."""
    nodes = template.integer("nodes", minimum=2)
    edges = [(source, target) for target in range(1, nodes) for source in range(target)]
    names = template.data.get("edges")
    if not isinstance(names, list) or len(names) != len(edges):
        raise template.error("edges", f"is {names!r}", f"Name {len(edges)} choices: the edges into node 1, 2, ….")
    shared = [reader.resolver.shared.get(str(name)) for name in names]
    if None in shared:
        raise template.error("edges", f"is {names!r}", "Name a [[choice]] for each edge.")
    choices = [choice for choice in shared if choice is not None]
    of_name = {str(value): operations.spec(str(value)) for choice in choices for value in choice.values}
    scope = reader.depending_scope(layer, [choice.place for choice in choices])

    def parts(chosen: dict[int, int]) -> tuple[Part, ...]:
        specs = [of_name[str(choice.values[chosen[choice.place]])] for choice in choices]
        return _wired(operations, nodes, {edge: spec for edge, spec in zip(edges, specs, strict=True) if spec})

    found = Depending.on(scope, reader.candidates_of, parts)
    return Slot(layer.text("name"), scope, found.of)


def _wired(operations: Operations, nodes: int, specs: Mapping[tuple[int, int], BlockSpec]) -> tuple[Part, ...]:
    """The living edges in the order of their target, and the sums where they meet. No living edge, no part."""
    behind = {0}
    for target in range(1, nodes):
        behind |= {target for source in range(target) if source in behind and (source, target) in specs}
    before = {nodes - 1}
    for source in range(nodes - 2, -1, -1):
        before |= {source for target in range(source + 1, nodes) if target in before and (source, target) in specs}
    parts: list[Part] = []
    values = {0: CURRENT}
    for target in sorted(behind & before - {0}):
        arriving = []
        for source in range(target):
            if source in behind and (source, target) in specs:
                parts.append(operations.part(specs[source, target], (values[source],), f"edge{source}{target}"))
                arriving.append(parts[-1].writes)
        values[target] = CURRENT if target == nodes - 1 else f"node{target}"
        parts.append(operations.joined("sum", tuple(arriving), values[target]))
    return tuple(parts)


def _node_cell(reader: LayerReader, layer: Table, template: Table) -> None:
    """One cell: both inputs brought to its channels, two operations and a sum for each node, all nodes side by side."""
    channels, strides = layer.integer("channels", minimum=1), 2 if layer.flag("reduces", False) else 1
    shape = _one_shape(reader.flow, layer)
    earlier = reader.earlier or (CURRENT, shape)
    inside: Shape = (shape[0], channels, *shape[2:])
    ready = Operations(reader, layer, inside)
    first = [
        _prepared(layer, earlier, inside, _STATE.format(0)),
        _prepared(layer, (CURRENT, shape), inside, _STATE.format(1)),
        Part(make_cell(layer.text("name"), "fixed", BlockSpec("identity", shape[1]), shape), (CURRENT,), _EARLIER),
    ]
    after: Shape = (shape[0], channels, *(side // strides for side in shape[2:]))
    behind = Operations(reader, layer, after)
    reader.sequence.append(Slot(layer.text("name"), (), {(): tuple(first)}))
    nodes = template.integer("nodes", minimum=1)
    for node in range(nodes):
        for side in (0, 1):
            reader.sequence.append(_operation(reader, layer, template, (node, side), (ready, behind, strides)))
        summed = behind.joined("sum", (f"{node}.0", f"{node}.1"), _STATE.format(node + 2), "fixed")
        reader.sequence.append(Slot(layer.text("name"), (), {(): (summed,)}))
    states = tuple(_STATE.format(node + 2) for node in range(nodes))
    reader.sequence.append(Slot(layer.text("name"), (), {(): (behind.joined("concat", states, CURRENT, "fixed"),)}))
    reader.earlier = (_EARLIER, shape)
    reader.flow = one_shape((after[0], channels * nodes, *after[2:]))


_STATE = "state{}"
_EARLIER = "earlier"


def _prepared(layer: Table, source: tuple[str, Shape], inside: Shape, writes: str) -> Part:
    """An input of a cell at its channels: ReLU and a 1×1 convolution, or halved where it is twice as large."""
    register, shape = source
    if shape[2:] == inside[2:]:
        spec = BlockSpec("relu_conv", inside[1])
    elif all(side == 2 * half for side, half in zip(shape[2:], inside[2:], strict=True)):
        spec = BlockSpec("factorised_reduce", inside[1])
    else:
        raise layer.error("block", f"gets {shape} beside {inside}", "One input may be twice as large as the other.")
    return Part(make_cell(layer.text("name"), "fixed", spec, shape), (register,), writes)


def _operation(
    reader: LayerReader, layer: Table, template: Table, place: tuple[int, int], at: tuple[Operations, Operations, int]
) -> Slot:
    """One of the two operations of a node: what it does, and on which of the states before it."""
    node, side = place
    ready, behind, strides = at
    rows = template.data.get("edges")
    row = rows[node] if isinstance(rows, list) and node < len(rows) else None
    names = [str(name) for name in row] if isinstance(row, list) else []
    found = [reader.resolver.shared[name] for name in names if name in reader.resolver.shared]
    if len(found) != 3:
        raise template.error(
            "edges", f"holds {row!r} for node {node}", "Name three choices: the two states, and an operation on each."
        )
    pair, operation = found[0], found[1 + side]
    scope = reader.depending_scope(layer, [pair.place, operation.place])

    def parts(chosen: dict[int, int]) -> tuple[Part, ...]:
        states = str(pair.values[chosen[pair.place]]).split("+")
        if len(states) != 2 or not all(state.isdecimal() and int(state) < node + 2 for state in states):
            raise template.error("edges", f"lets node {node} read {states}", 'Write values like "0+1".')
        state, name = int(states[side]), str(operation.values[chosen[operation.place]])
        halves = strides > 1 and state < 2
        source = ready if state < 2 else behind
        spec = source.spec(name, strides if halves else 1)
        if spec is None:
            raise template.error("edges", f"offers {name!r}", "A node needs two operations that let something through.")
        return (source.part(spec, (_STATE.format(state),), f"{node}.{side}"),)

    return Slot(layer.text("name"), scope, Depending.on(scope, reader.candidates_of, parts).of)
