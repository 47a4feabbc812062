"""A kernel as a workload of its own: it loads, runs, and is that one kernel again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.blocks import ConvBlock, InvertedResidual
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.cut import kernel_workload, kernel_workloads
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.kernels.views import is_view, of_one_element
from edgecost.profiler.model_file import split_weights
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload, workload_from_model

node = helper.make_node


def block(spec: InvertedResidual | ConvBlock, channels: int = 16) -> Workload:
    graph = GraphBuilder("block")
    made = spec.build(graph, graph.input((1, channels, 20, 20)))
    return workload_from_model("block", "block", graph.model(made), tuple(graph.weights))


def floats(name: str, *shape: int) -> TensorProto:
    numbers = np.random.default_rng(len(name)).normal(size=shape) / math.sqrt(shape[0])
    return numpy_helper.from_array(numbers.astype(np.float32), name)


def custom(nodes: list[onnx.NodeProto], shape: list[int], constants: list[TensorProto]) -> Workload:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    skeleton, weights = split_weights(model)
    return workload_from_model("custom", "network", skeleton, weights)


def attention() -> Workload:
    """One head-split self-attention with layer norm and a residual, 32 tokens of 64 features, 4 heads."""
    nodes = [node("LayerNormalization", ["x", "gain", "shift"], ["n"], axis=-1)]
    for name in "qkv":
        nodes += [
            node("MatMul", ["n", f"w{name}"], [f"{name}0"]),
            node("Add", [f"{name}0", f"b{name}"], [f"{name}1"]),
            node("Reshape", [f"{name}1", "split"], [f"{name}2"]),
            node("Transpose", [f"{name}2"], [f"{name}3"], perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]),
        ]
    nodes += [
        node("MatMul", ["q3", "k3"], ["s"]),
        node("Mul", ["s", "scale"], ["t"]),
        node("Softmax", ["t"], ["p"], axis=-1),
        node("MatMul", ["p", "v3"], ["o"]),
        node("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]),
        node("Reshape", ["o1", "merge"], ["o2"]),
        node("MatMul", ["o2", "wo"], ["o3"]),
        node("Add", ["o3", "x"], ["y"]),
    ]
    constants = [floats(f"w{name}", 64, 64) for name in "qkvo"] + [floats(f"b{name}", 64) for name in "qkv"]
    constants += [floats("gain", 64), floats("shift", 64), numpy_helper.from_array(np.float32(0.25), "scale")]
    constants += [
        numpy_helper.from_array(np.array([1, 32, 4, 16]), "split"),
        numpy_helper.from_array(np.array([1, 32, 64]), "merge"),
    ]
    return custom(nodes, [1, 32, 64], constants)


NUMPY = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}


def run(workload: Workload) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        complete(workload.skeleton, workload.weights), options, providers=["CPUExecutionProvider"]
    )
    feeds = {slot.name: np.ones(slot.shape, NUMPY[slot.type]) for slot in session.get_inputs()}
    outputs: list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = session.run(None, feeds)
    return outputs


def reads_a_padded_reorder(kernel: Kernel) -> bool:
    """Its operand has more channels than it says: they were padded on the way into the blocked layout."""
    if kernel.op != "nchwc.Conv" or kernel.inputs[0] is None:
        return False
    return kernel.inputs[0][1] != kernel.weights[0][1] * int(kernel.attribute["group"])


@pytest.mark.parametrize(
    "workload",
    [
        block(InvertedResidual(out=16, mid=64, kernel=5, stride=1, activation="hard_swish", squeeze=16)),
        block(InvertedResidual(out=24, mid=72, kernel=3, stride=2, activation="relu6")),
        block(InvertedResidual(out=16, mid=32, kernel=3, stride=1, activation="relu", groups=2)),
        block(ConvBlock(out=32, kernel=3, stride=2, activation="relu"), channels=3),
        block(ConvBlock(out=32), channels=20),
        attention(),
    ],
    ids=["squeeze", "stride", "shuffle", "stem", "padded", "attention"],
)
def test_every_distinct_kernel_alone_is_that_kernel_again(workload: Workload, profile: RuntimeProfile) -> None:
    found = kernel_workloads(workload, profile)
    assert {kernel.kernel_hash for kernel, _ in found} == {kernel.kernel_hash for kernel in kernels(workload, profile)}
    for kernel, alone in found:
        assert alone is not None
        (again,) = kernels(alone, profile)
        wanted = of_one_element(kernel)
        if reads_a_padded_reorder(kernel):
            assert (again.op, again.weights, again.outputs) == (kernel.op, kernel.weights, kernel.outputs)
        else:
            assert again.kernel_hash == wanted.kernel_hash
        assert (alone.kind, alone.name) == ("kernel", wanted.signature)
        outputs = run(alone)
        if not again.op.endswith("ReorderInput"):
            assert [output.shape for output in outputs] == list(again.outputs)
        assert all(np.isfinite(output).all() for output in outputs)


def test_views_are_measured_on_one_element_whatever_they_hand_on(profile: RuntimeProfile) -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Reshape", ["a", "wide"], ["b"]),
        node("Sigmoid", ["b"], ["c"]),
        node("Unsqueeze", ["c", "first"], ["d"]),
        node("Tanh", ["d"], ["e"]),
        node("Flatten", ["e"], ["f"], axis=2),
        node("Softmax", ["f"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(values), name) for name, values in (("wide", [4, 96]), ("first", [0]))
    ]
    found = kernel_workloads(custom(nodes, [4, 8, 12], constants), profile)
    views = [(kernel, alone) for kernel, alone in found if is_view(kernel)]
    assert [kernel.op for kernel, _ in views] == ["Reshape", "Unsqueeze", "Flatten"]
    for kernel, alone in views:
        assert alone is not None
        assert kernel.outputs != of_one_element(kernel).outputs
        (output,) = run(alone)
        assert (output.size, output.ndim) == (1, len(kernel.outputs[0] or ()))


def test_a_blocked_convolution_alone_has_no_reorders_at_its_borders(profile: RuntimeProfile) -> None:
    workload = block(ConvBlock(out=32, kernel=3, activation="relu"), channels=32)
    inside = kernels(workload, profile)
    if not any("Reorder" in kernel.op for kernel in inside):
        pytest.skip("this machine's kernels have no blocked layout")
    (place,) = [i for i, kernel in enumerate(inside) if kernel.op == "nchwc.Conv"]
    assert [kernel.op for kernel in kernels(kernel_workload(workload, profile, place), profile)] == ["nchwc.Conv"]


def test_a_pool_that_stays_plain_in_the_network_stays_plain_alone_without_optimisation(profile: RuntimeProfile) -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("GlobalAveragePool", ["r"], ["y"])]
    plain = replace(profile, graph_level="ORT_DISABLE_ALL")
    for kernel, alone in kernel_workloads(custom(nodes, [1, 64, 7, 7], []), profile):
        assert alone is not None
        assert [again.kernel_hash for again in kernels(alone, plain)] == [kernel.kernel_hash]


def test_kernels_alone_compute_what_the_graph_computes(profile: RuntimeProfile) -> None:
    """Small weights travel as they are, so that feeding each kernel what came before gives the graph's own output."""
    graph = GraphBuilder("chain")
    x = graph.conv(graph.input((1, 16, 6, 6)), 16, kernel=3, activation="relu")
    workload = workload_from_model("c", "block", graph.model(graph.conv(x, 16)), tuple(graph.weights))
    (truth,) = run(workload)
    value = np.ones((1, 16, 6, 6), np.float32)
    for place in range(len(kernels(workload, profile))):
        alone = kernel_workload(workload, profile, place)
        session = onnxruntime.InferenceSession(complete(alone.skeleton, alone.weights))
        (value,) = session.run(None, {session.get_inputs()[0].name: value})
    np.testing.assert_allclose(value, truth, rtol=1e-4, atol=1e-5)


def test_every_distinct_kernel_of_a_network_stands_once(profile: RuntimeProfile) -> None:
    space = load_space("proxylessnas")
    network = space.build(space.sample(1, 0)[0])
    found = kernel_workloads(network, profile)
    hashes = [kernel.kernel_hash for kernel, _ in found]
    assert len(set(hashes)) == len(hashes)
    assert len({alone.graph_hash for _, alone in found if alone is not None}) == len(found)
    assert sum(len(alone.skeleton) for _, alone in found if alone is not None) < 50_000 * len(found)


def test_the_same_kernel_is_cut_to_the_same_workload_every_time(profile: RuntimeProfile) -> None:
    workload = block(InvertedResidual(out=16, mid=64, kernel=3, stride=1, activation="hard_swish", squeeze=16))
    first, second = (
        {kernel.kernel_hash: alone for kernel, alone in kernel_workloads(workload, profile)} for _ in range(2)
    )
    assert first == second


def test_a_branch_alone_brings_along_what_it_captures(profile: RuntimeProfile) -> None:
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    then = helper.make_graph([node("MatMul", ["r", "w"], ["b"])], "then", [], [value])
    other = helper.make_graph([node("Neg", ["r"], ["b"])], "else", [], [value])
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("ReduceSum", ["r"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["c"]),
        node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    constants = [floats("w", 4, 4), numpy_helper.from_array(np.float32(0), "zero")]
    found = {kernel.op: alone for kernel, alone in kernel_workloads(custom(nodes, [4, 4], constants), profile)}
    alone = found["If"]
    assert alone is not None
    assert [kernel.op for kernel in kernels(alone, profile)] == ["If"]
    model = onnx.load_model_from_string(complete(alone.skeleton, alone.weights))
    assert {value.name for value in model.graph.input} == {"c", "r"}
    onnxruntime.InferenceSession(model.SerializeToString())


def test_normalisation_with_made_up_variances_leaves_no_weight_that_is_no_number(profile: RuntimeProfile) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("BatchNormalization", ["c", "v", "v", "v", "v"], ["y"]),
    ]
    workload = custom(nodes, [1, 16, 6, 6], [floats("w", 16, 16, 3, 3), floats("v", 16)])
    for _, alone in kernel_workloads(workload, profile):
        assert alone is not None
        assert all(np.isfinite(output).all() for output in run(alone))


def test_a_kernel_whose_operand_depends_on_data_cannot_stand_alone(profile: RuntimeProfile) -> None:
    nodes = [node("NonZero", ["x"], ["n"]), node("Cast", ["n"], ["y"], to=TensorProto.FLOAT)]
    workload = custom(nodes, [4, 4], [])
    (_, first), (_, second) = kernel_workloads(workload, profile)
    assert first is not None
    assert second is None
    with pytest.raises(UsageError, match="cannot be run alone"):
        kernel_workload(workload, profile, 1)
    for index in (-1, 2):
        with pytest.raises(UsageError, match="kernels 0 to 1"):
            kernel_workload(workload, profile, index)


def test_kernels_without_optimisation_stand_alone_too(profile: RuntimeProfile) -> None:
    plain = replace(profile, graph_level="ORT_DISABLE_ALL")
    for kernel, alone in kernel_workloads(attention(), plain):
        assert alone is not None
        assert [again.kernel_hash for again in kernels(alone, plain)] == [of_one_element(kernel).kernel_hash]
