"""Edit ONNX graphs that hold subgraphs: one name for one value everywhere, and a branch in the place of its If node.

It knows nothing of probabilities or costs; ``control_flow.py`` decides which branch is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The bodies of a node, by the name of their attribute."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.name, attribute.g


def local_names(graph: onnx.GraphProto) -> list[str]:
    """The values that a graph makes or takes itself, those of its subgraphs left out."""
    names = [value.name for value in graph.input]
    names += [tensor.name for tensor in graph.initializer]
    names += [sparse.values.name for sparse in graph.sparse_initializer]
    names += [name for node in graph.node for name in node.output if name]
    return list(dict.fromkeys(names))


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node and its bodies read, the bodies' own values included."""
    yield from (name for name in node.input if name)
    for _, graph in subgraphs(node):
        yield from (value.name for value in graph.output)
        for inner in graph.node:
            yield from reads(inner)


def unique_names(graph: onnx.GraphProto, taken: set[str]) -> None:
    """Rename the values of subgraphs so that no name stands for two values anywhere in the model.

    ONNX lets the two branches of an If use one name for different values; in one graph they would clash.

    Args:
        taken: further names that are in use, such as weights outside the graph; the graph's own are added to it.
    """
    taken.update(local_names(graph))
    for node in graph.node:
        for _, body in subgraphs(node):
            _rename_body(body, taken, {})


def _rename_body(graph: onnx.GraphProto, taken: set[str], outer: Mapping[str, str]) -> None:
    names = dict(outer)
    for name in local_names(graph):
        names[name] = fresh_name(name, taken)
    # Notes on the types of values inside are of no use to a runtime, and would have to be renamed as well.
    del graph.value_info[:]
    for value in [*graph.input, *graph.output]:
        value.name = names.get(value.name, value.name)
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for sparse in graph.sparse_initializer:
        sparse.values.name = names[sparse.values.name]
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for _, body in subgraphs(node):
            _rename_body(body, taken, names)


def fresh_name(name: str, taken: set[str]) -> str:
    """The name, or one with a number behind it that nobody has; it is taken from now on."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found


def inline_branch(graph: onnx.GraphProto, index: int, attribute: str) -> None:
    """Put the branch ``attribute`` of the If node at ``index`` in the node's place. Names must be unique."""
    node = graph.node[index]
    branch = dict(subgraphs(node))[attribute]
    produced = {name for inner in branch.node for name in inner.output if name}
    ends = []
    for output, value in zip(node.output, branch.output, strict=True):
        if not output:
            continue
        if value.name in produced:
            _rename_value(branch.node, value.name, output)
        else:
            ends.append(helper.make_node("Identity", [value.name], [output]))
    nodes = [*graph.node[:index], *branch.node, *ends, *graph.node[index + 1 :]]
    graph.initializer.extend(branch.initializer)
    graph.sparse_initializer.extend(branch.sparse_initializer)
    copies = [onnx.NodeProto.FromString(item.SerializeToString()) for item in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _rename_value(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
        for _, body in subgraphs(node):
            for value in body.output:
                value.name = new if value.name == old else value.name
            _rename_value(body.node, old, new)


def fix_trips(node: onnx.NodeProto, graph: onnx.GraphProto, trips: int, taken: set[str], *, goes_on: bool) -> None:
    """Make the count a constant and the condition true; ``goes_on`` says that it is true already.

    The condition goes through an Or with true rather than being cut off: computing it is part of every trip.
    """
    count, true, after = (fresh_name(stem, taken) for stem in ("trips", "true", "goes_on"))
    graph.initializer.append(numpy_helper.from_array(np.array(trips, np.int64), count))
    inputs = [*node.input, "", ""][: max(2, len(node.input))]
    inputs[0] = count
    if not goes_on:
        inputs[1] = ""
    node.input[:] = inputs
    if goes_on:
        return
    (body,) = (inner for _, inner in subgraphs(node))
    body.initializer.append(numpy_helper.from_array(np.array(True), true))
    body.node.append(helper.make_node("Or", [body.output[0].name, true], [after]))
    body.output[0].name = after


def keep_computed(graph: onnx.GraphProto, names: list[str], values: Mapping[str, onnx.ValueInfoProto]) -> None:
    """Make outputs of those values that nodes of the graph compute and nothing reads any more."""
    computed = {output for node in graph.node for output in node.output}
    used = {name for node in graph.node for name in reads(node)} | {value.name for value in graph.output}
    for name in dict.fromkeys(names):
        if name in computed and name not in used:
            value = values.get(name)
            graph.output.append(onnx.ValueInfoProto(name=name) if value is None else value)


def all_names(graph: onnx.GraphProto) -> set[str]:
    """The names of every value of a graph and of its subgraphs."""
    names: set[str] = set()
    stack = [graph]
    while stack:
        inner = stack.pop()
        names.update(local_names(inner))
        stack += [body for node in inner.node for _, body in subgraphs(node)]
    return names
