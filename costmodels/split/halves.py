"""A cut as two graphs of their own: what the runtime fuses across the cut in the whole network, it cannot fuse here."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import TensorProto, helper

from ...profiler.errors import UsageError
from ...profiler.graphs.graph_edit import all_names, fresh_name
from ...profiler.kernels.origin import node_reads
from ...profiler.workload import Workload, workload_from_model
from .cuts import CutPoint, SplitGraph

#: The first operator set with QuantizeLinear.
_QUANTISE_OPSET = 10
#: Made up, as weights are: no kernel is faster for one scale than for another.
_SCALE, _ZERO_POINT = 1.0 / 32.0, 128


@dataclass(frozen=True)
class Halves:
    """Both sides of a cut.

    Attributes:
        head, tail: None where nothing is left to do on that side.
        answers: outputs of the network that the tail makes.
    """

    head: Workload | None
    tail: Workload | None
    answers: tuple[str, ...]


def halves(graph: SplitGraph, cut: CutPoint) -> Halves:
    """Cut a network. Run one after the other, the halves make its outputs; some of them the head may make already.

    With compression the head ends in a QuantizeLinear for each float that crosses, and the tail begins with as many
    DequantizeLinear: they are part of what the halves cost. An output that no input reaches is in neither.

    Raises:
        UsageError: compression, and the model's operator set is too old for it.
    """
    if cut.position == len(graph.steps):
        return Halves(graph.workload, None, ())
    made = {value.name: graph.made_at.get(value.name, 0) for value in graph.model.graph.output}
    early = [name for name, steps in made.items() if 0 < steps <= cut.position]
    late = [name for name, steps in made.items() if steps > cut.position]
    coded = _coded_names(graph, [one.name for one in cut.crossing if one.compressed])
    # An input that only the tail reads crosses without the head.
    handed = [one.name for one in cut.crossing if one.name in coded or one.name not in graph.feeds]
    head = None
    if handed or early:
        model = _part(graph, graph.steps[: cut.position], graph.feeds, list(dict.fromkeys([*handed, *early])))
        _quantise(model.graph, coded, early)
        head = _workload(graph, model, f"head of {cut.position}")
    if not cut.position and not coded:
        return Halves(head, graph.workload, tuple(late))
    model = _part(graph, graph.steps[cut.position :], [one.name for one in cut.crossing], late)
    _dequantise(model.graph, coded)
    return Halves(head, _workload(graph, model, f"tail of {cut.position}"), tuple(late))


def _part(graph: SplitGraph, steps: Sequence[int], given: Sequence[str], ends: Sequence[str]) -> onnx.ModelProto:
    """The steps that the ends need, with the constants that those need; of what is given, what is read."""
    nodes = graph.model.graph.node
    wanted, kept = set(ends), []
    for place in sorted([*steps, *graph.fixed], reverse=True):
        if wanted.intersection(nodes[place].output):
            kept.append(place)
            wanted.update(graph.reads[place])
    declared = {value.name: value for value in graph.model.graph.output}
    part = helper.make_graph(
        [nodes[place] for place in reversed(kept)],
        "graph",
        [helper.make_value_info(name, graph.types[name]) for name in given if name in wanted],
        [declared.get(name) or helper.make_value_info(name, graph.types[name]) for name in ends],
        [tensor for name, tensor in (*graph.constants.items(), *graph.folded.items()) if name in wanted],
        sparse_initializer=[tensor for name, tensor in graph.sparse.items() if name in wanted],
    )
    return helper.make_model(part, opset_imports=list(graph.model.opset_import), ir_version=graph.model.ir_version)


def _workload(graph: SplitGraph, model: onnx.ModelProto, side: str) -> Workload:
    read = {name for node in model.graph.node for name in node_reads(node)}
    weights = tuple(weight for name, weight in graph.weights.items() if name in read)
    return workload_from_model(f"{graph.workload.name} {side}", "network", model, weights)


def _coded_names(graph: SplitGraph, compressed: Sequence[str]) -> dict[str, str]:
    """How a value is called while it has 8 bits."""
    if not compressed:
        return {}
    versions = [entry.version for entry in graph.model.opset_import if entry.domain in ("", "ai.onnx")]
    if max(versions, default=0) < _QUANTISE_OPSET:
        raise UsageError(
            f"the operator set {max(versions, default=0)} of {graph.workload.name} has no QuantizeLinear",
            remedy="leave out --compress, or export the model with a newer one, such as 17",
        )
    taken = all_names(graph.model.graph) | graph.weights.keys()
    return {name: fresh_name(f"{name}_uint8", taken) for name in compressed}


def _quantise(graph: onnx.GraphProto, coded: Mapping[str, str], early: Sequence[str]) -> None:
    """What crosses as 8 bits leaves as 8 bits; as it is as well where it is an output of the network."""
    names = _range_constants(graph, coded)
    outputs = [value for value in graph.output if value.name not in coded or value.name in early]
    outputs += [_of_8_bits(value, coded[value.name]) for value in graph.output if value.name in coded]
    graph.node.extend(helper.make_node("QuantizeLinear", [name, *names], [code]) for name, code in coded.items())
    _replace(graph.output, outputs)


def _dequantise(graph: onnx.GraphProto, coded: Mapping[str, str]) -> None:
    names = _range_constants(graph, coded)
    first = [helper.make_node("DequantizeLinear", [code, *names], [name]) for name, code in coded.items()]
    inputs = [_of_8_bits(value, coded[value.name]) if value.name in coded else value for value in graph.input]
    _replace(graph.node, [*first, *graph.node])
    _replace(graph.input, inputs)


def _replace(field: MutableSequence[Message], items: Sequence[Message]) -> None:
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)


def _of_8_bits(value: onnx.ValueInfoProto, code: str) -> onnx.ValueInfoProto:
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return helper.make_tensor_value_info(code, TensorProto.UINT8, shape)


def _range_constants(graph: onnx.GraphProto, coded: Mapping[str, str]) -> tuple[str, str]:
    """Names of scale and zero point, which are added where there is something to code."""
    taken = all_names(graph) | set(coded.values())
    scale, zero = fresh_name("crossing_scale", taken), fresh_name("crossing_zero_point", taken)
    if coded:
        graph.initializer.append(helper.make_tensor(scale, TensorProto.FLOAT, [], [_SCALE]))
        graph.initializer.append(helper.make_tensor(zero, TensorProto.UINT8, [], [_ZERO_POINT]))
    return scale, zero
