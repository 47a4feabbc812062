"""From executed kernels back to the ONNX nodes they came from.

The runtime keeps no record of what it fused. What it does keep are traces: values that it materialises mostly have
their own names, and a fused node mostly extends the name of a node that it swallowed. So before the optimiser runs
every node gets a name that can be recognised; a node without a trace of its own was fused with its neighbours, on the
side where the value between them is no longer visible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx
from onnx import AttributeProto, TensorProto

_MARK = re.compile(r"edgecost<(\d+)>")
#: What the runtime writes before or after a value's name when it makes a node or a value from it.
_DECORATION = re.compile(r"^InsertedPrecisionFreeCast_|(_bn|_mul)?_nchwc(_token_\d+)?$")
#: Nodes that no runtime executes where it optimises at all: their output is their input.
_PASSING = frozenset({"Identity", "Dropout"})
#: Kernels that move or convert data and that the runtime inserts for its own purposes.
_MOVERS = frozenset(
    "ReorderInput ReorderOutput MemcpyFromHost MemcpyToHost Cast Transpose Reshape Squeeze Unsqueeze".split()
)
#: Nodes that begin a kernel: they are fused with what reads them, never into the kernel before.
_LEADING = frozenset(
    "Pad DequantizeLinear Conv ConvTranspose ConvInteger MatMul MatMulInteger Gemm MaxPool "
    "AveragePool GlobalAveragePool GlobalMaxPool Resize Upsample Concat Transpose".split()
)
#: Values known once shapes are: the runtime folds them into constants.
_SHAPE_READERS = frozenset({"Constant", "Shape", "Size"})


@dataclass(frozen=True)
class NodeMap:
    """Where the nodes of a graph went.

    Attributes:
        kernels: for each kernel the positions, ascending, of the nodes that it came from or serves; never empty.
        folded: positions of the nodes that cost nothing at run time.
    """

    kernels: tuple[tuple[int, ...], ...]
    folded: tuple[int, ...]


def mark_nodes(graph: onnx.GraphProto) -> None:
    """Give the nodes names that are recognised after optimisation. Nodes of subgraphs keep theirs."""
    for position, node in enumerate(graph.node):
        node.name = f"edgecost<{position}>"


def unmark(name: str, names: Sequence[str]) -> str:
    """A name that the optimiser made, with the marks in it replaced by the names of the nodes."""
    return _MARK.sub(lambda found: names[int(found[1])], name)


def marks(name: str) -> tuple[int, ...]:
    """Positions of the marked nodes that a name mentions."""
    return tuple(int(position) for position in _MARK.findall(name))


def node_reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values a node reads, those that its subgraphs capture from outside included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
            inner = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            inner.update(name for inside in graph.node for name in inside.output)
            yield from (name for inside in graph.node for name in node_reads(inside) if name not in inner)
            yield from (value.name for value in graph.output if value.name not in inner)


def map_nodes(original: onnx.GraphProto, constants: frozenset[str], executed: Sequence[onnx.NodeProto]) -> NodeMap:
    """Find the nodes of every kernel.

    Every node of ``original`` is in at least one kernel or among the folded. An If, Loop or Scan is one node and one
    kernel, unless the runtime knows beforehand which branch it takes; kernels of such an inlined branch, or of a
    model-local function, belong to the node that calls it. A kernel that the runtime inserts to move data belongs to
    the nodes it serves: the producer if it restores a value of the graph, the readers otherwise.

    Args:
        original: the graph, marked by ``mark_nodes`` before it was optimised.
        constants: names of its initialisers.
        executed: the nodes of the optimised graph in order of execution.
    """
    source = _Source(original, constants)
    search = _Search(source, executed)
    search.seed()
    search.spread()
    kernels = search.kernels()
    owned = {position for nodes in kernels for position in nodes}
    folded = tuple(position for position in range(len(original.node)) if position not in owned)
    return NodeMap(kernels, folded)


class _Source:
    """The graph as written: who produces and reads which value, and which values are one and the same."""

    def __init__(self, graph: onnx.GraphProto, constants: frozenset[str]) -> None:
        self.nodes = list(graph.node)
        self.inputs = {value.name for value in graph.input} - constants
        self.constants = constants
        self.reads = [list(node_reads(node)) for node in self.nodes]
        self.producer = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        self.roots: dict[str, str] = {}
        self.twins: dict[int, list[int]] = {}
        self._find_twins(graph)
        self.readers: list[list[int]] = [[] for _ in self.nodes]
        for i, reads in enumerate(self.reads):
            for made in {self.producer[name] for name in reads if name in self.producer}:
                self.readers[made].append(i)

    def root(self, name: str) -> str:
        """The value under the name of the node that first computes it."""
        return self.roots.get(name, name)

    def maker(self, name: str) -> int | None:
        """The node that computes a value, behind nodes that only pass it on."""
        position = self.producer.get(name)
        while position is not None and self.nodes[position].op_type in _PASSING:
            position = self.producer.get(self.nodes[position].input[0])
        return position

    def _find_twins(self, graph: onnx.GraphProto) -> None:
        """Equal nodes on equal values: the runtime computes them once."""
        first: dict[tuple[object, ...], int] = {}
        same: dict[bytes, str] = {}
        for tensor in graph.initializer:
            nameless = TensorProto()
            nameless.CopyFrom(tensor)
            nameless.ClearField("name")
            self.roots[tensor.name] = same.setdefault(nameless.SerializeToString(deterministic=True), tensor.name)
        for i, node in enumerate(self.nodes):
            if node.op_type in _PASSING and node.output[0] and node.input:
                self.roots[node.output[0]] = self.root(node.input[0])
                continue
            attributes = tuple(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
            inputs = tuple(map(self.root, node.input))
            twin = first.setdefault((node.domain, node.op_type, attributes, inputs, len(node.output)), i)
            self.twins[i] = self.twins.get(twin, [])
            self.twins[i].append(i)
            if twin != i:
                pairs = zip(node.output, self.nodes[twin].output, strict=True)
                self.roots.update((name, self.root(other)) for name, other in pairs if name and other)


class _Search:
    """Assigns nodes to kernels: first those that left a trace, then their neighbours."""

    def __init__(self, source: _Source, executed: Sequence[onnx.NodeProto]) -> None:
        self.source = source
        self.executed = executed
        self.owners: list[set[int]] = [set() for _ in source.nodes]
        self.serves: dict[int, int] = {}
        self.standing: dict[str, str] = {}
        self.named = [frozenset(marks(node.name)) for node in executed]
        self.spoken_for = frozenset[int]().union(*self.named)

    def seed(self) -> None:
        """Nodes whose name or value is still there."""
        self._find_movers()
        for k, node in enumerate(self.executed):
            found = set(self.named[k])
            if k not in self.serves:
                for name in [*node.output, node.name]:
                    position = self._maker(name, self.named[k])
                    # The optimiser swaps nodes, and their outputs' names with them; then the node's own name decides.
                    if position is not None and not (self.named[k] and position in self.spoken_for):
                        found.add(position)
            if node.op_type not in _MOVERS and not self.named[k]:
                found |= {behind for position in found for behind in self._behind_movers(position)}
            for position in found:
                self.owners[position].add(k)

    def _behind_movers(self, position: int) -> Iterator[int]:
        """What fills the value of a node that only moves data: movers that cancel each other, and what they move.

        The runtime removes the movers, and lets the kernel before them write the last value.
        """
        node = self.source.nodes[position]
        while node.op_type in _MOVERS and (moved := self.source.maker(node.input[0])) is not None:
            # One that has a kernel of its own was not removed; it only stands on the way.
            if moved not in self.spoken_for:
                yield moved
            node = self.source.nodes[moved]

    def _find_movers(self) -> None:
        """Inserted copies and conversions; the value behind one that restores a value of the graph stands for it."""
        for k in reversed(range(len(self.executed))):
            node = self.executed[k]
            written = node.output[0]
            restored = written if written in self.source.producer else self.standing.get(written)
            position = self.source.maker(restored) if restored else None
            if node.op_type not in _MOVERS or self.named[k] or restored is None or position is None:
                continue
            if self.source.nodes[position].op_type != node.op_type:
                self.serves[k] = position
                self.standing.setdefault(node.input[0], restored)

    def _maker(self, name: str, named: frozenset[int]) -> int | None:
        value = self._value(name)
        if value is None or self.source.producer.get(value) in named:
            return None
        return self.source.maker(value)

    def _value(self, name: str) -> str | None:
        """The value of the original graph that a name of the optimised one stands for."""
        plain = _DECORATION.sub("", _DECORATION.sub("", name))
        known = self.source.producer.keys() | self.source.inputs if name else ()
        for candidate in (name, self.standing.get(name, ""), plain):
            if candidate in known:
                return candidate
        return None

    def spread(self) -> None:
        """Give every other node to the kernel of a neighbour, until nothing changes."""
        values = (name for node in self.executed for name in [*node_reads(node), *node.output])
        visible = {self.source.root(value) for value in map(self._value, values) if value is not None}
        visible |= self.source.inputs
        constant = self._constant_nodes()
        free = [i for i, owners in enumerate(self.owners) if not owners and i not in constant]
        free = [i for i in free if self.source.nodes[i].op_type not in _PASSING]
        while free:
            for i in free:
                self.owners[i] = self._behind(i, visible)
            for i in reversed(free):
                self.owners[i] |= set() if self.owners[i] else self._before(i)
            left = [i for i in free if not self.owners[i]]
            if len(left) == len(free):
                return
            free = left

    def _behind(self, position: int, visible: set[str]) -> set[int]:
        """The last kernel that reads or computes an operand which nobody else can see: it computes this node too."""
        for twin in self.source.twins.get(position, ()):
            if self.owners[twin]:
                return set(self.owners[twin])
        # Values in another layout have new names, so that they look hidden though the next kernel reads them.
        if self.source.nodes[position].op_type in _LEADING:
            return set()
        hidden = {self.source.root(name) for name in self.source.reads[position]} - visible
        makers = {self.source.producer[name] for name in hidden if name in self.source.producer}
        kernels = {kernel for maker in makers for kernel in self.owners[maker]}
        return {max(kernels)} if kernels else set()

    def _before(self, position: int) -> set[int]:
        """The kernels of the nodes that read this one, behind nodes that only pass it on."""
        found: set[int] = set()
        waiting = list(self.source.readers[position])
        while waiting:
            reader = waiting.pop()
            if self.source.nodes[reader].op_type in _PASSING and not self.owners[reader]:
                waiting.extend(self.source.readers[reader])
            found |= self.owners[reader]
        return found

    def _constant_nodes(self) -> set[int]:
        """Nodes that compute the same whatever is fed, and that are not executed."""
        constant: set[int] = set()
        fixed = set(self.source.constants)
        for i, node in enumerate(self.source.nodes):
            known = node.op_type in _SHAPE_READERS or all(name in fixed for name in self.source.reads[i])
            if known and not self.owners[i]:
                constant.add(i)
                fixed.update(node.output)
        return constant

    def kernels(self) -> tuple[tuple[int, ...], ...]:
        """The nodes of each kernel; those without a node of their own take those of the kernels around them."""
        found: list[set[int]] = [set() for _ in self.executed]
        for position, kernels in enumerate(self.owners):
            for kernel in kernels:
                found[kernel].add(position)
        for kernel, position in self.serves.items():
            found[kernel].add(position)
        maker = {name: k for k, node in enumerate(self.executed) for name in node.output if name}
        sources = [{maker[name] for name in node_reads(node) if name in maker} for node in self.executed]
        lacking = [k for k in range(len(found)) if not found[k]]
        for k in reversed(lacking):
            found[k].update(*(found[reader] for reader in range(k + 1, len(found)) if k in sources[reader]))
        for k in lacking:
            found[k] = found[k] or set().union(*(found[made] for made in sources[k])) or set(range(len(self.owners)))
        return tuple(tuple(sorted(nodes)) for nodes in found)
