"""Kernels of a graph as it is written: one for each node that computes something from what is fed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.kernels.written import written_graph, written_workloads
from edgecost.profiler.workload import workload_from_model


def made(nodes, inputs, outputs, initializers=()):
    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "graph",
        [value(*one) for one in inputs.items()],
        [value(*one) for one in outputs.items()],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return workload_from_model("made", "network", model)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "vit_tiny"])
def test_every_node_is_a_kernel_or_folded_and_every_shape_is_known(name):
    workload = REFERENCE_NETWORKS[name]()
    graph = written_graph(workload)
    assert sorted([*graph.folded, *(node for kernel in graph.kernels for node in kernel.nodes)]) == list(
        range(len(graph.kernels) + len(graph.folded))
    )
    assert all(None not in (*kernel.inputs, *kernel.outputs) for kernel in graph.kernels)


def test_it_is_what_a_runtime_without_optimiser_runs(profile):
    def shapes(found):
        return [(one.op, one.inputs, one.weights, one.outputs) for one in found]

    plain = replace(profile, graph_level="ORT_DISABLE_ALL")
    workload = REFERENCE_NETWORKS["resnet18"]()
    assert shapes(written_graph(workload).kernels) == shapes(kernels(workload, plain))


def test_what_does_not_depend_on_the_inputs_is_folded():
    two = numpy_helper.from_array(np.full((2, 3), 2.0, np.float32), "two")
    shape = helper.make_node("Shape", ["x"], ["s"])
    workload = made(
        [
            helper.make_node("Add", ["two", "two"], ["four"]),
            shape,
            helper.make_node("Identity", ["x"], ["same"]),
            helper.make_node("Mul", ["same", "four"], ["scaled"]),
            helper.make_node("Reshape", ["scaled", "s"], ["y"]),
        ],
        {"x": (2, 3)},
        {"y": (2, 3)},
        [two],
    )
    graph = written_graph(workload)
    assert [kernel.op for kernel in graph.kernels] == ["Mul", "Reshape"]
    assert graph.folded == (0, 1, 2)
    assert graph.kernels[0].weights == ((2, 3),)
    # The product cannot stand alone as it is: its constant operand was worked out.
    assert written_workloads(workload) == []


def test_a_random_node_is_no_constant():
    node = helper.make_node("RandomNormal", [], ["r"], shape=[2, 3])
    workload = made([node, helper.make_node("Add", ["x", "r"], ["y"])], {"x": (2, 3)}, {"y": (2, 3)})
    assert [kernel.op for kernel in written_graph(workload).kernels] == ["RandomNormal", "Add"]


def test_an_operator_that_onnx_does_not_know_is_a_kernel_of_unknown_shape():
    workload = made(
        [helper.make_node("Nonesuch", ["x"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        {"x": (2, 3)},
        {"y": (2, 3)},
    )
    assert [(kernel.op, kernel.outputs) for kernel in written_graph(workload).kernels] == [
        ("Nonesuch", (None,)),
        ("Relu", ((2, 3),)),
    ]
    assert written_workloads(workload) == []
