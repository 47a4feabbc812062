"""The map from kernels back to the ONNX nodes they came from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecost.costmodels.space_file import load_space
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import KernelGraph, kernel_graph
from edgecost.profiler.model_file import split_weights
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload, workload_from_model

node = helper.make_node
RNG = np.random.default_rng(0)


def floats(name: str, *shape: int, kind: type[np.floating] = np.float32) -> TensorProto:
    return numpy_helper.from_array(RNG.normal(size=shape).astype(kind), name)


def constant(name: str, value: object, kind: type[np.generic] = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, kind), name)


def value(name: str, shape: list[int] | None = None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: list[onnx.NodeProto],
    shape: list[int],
    constants: list[TensorProto],
    functions: tuple[onnx.FunctionProto, ...] = (),
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model with the input x and the output y."""
    graph = helper.make_graph(nodes, "g", [value("x", shape, kind)], [value("y", kind=kind)], constants)
    opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(function.domain, 1) for function in functions]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def custom(*described: object, **options: object) -> Workload:
    skeleton, weights = split_weights(model(*described, **options))  # type: ignore[arg-type]
    return workload_from_model("custom", "network", skeleton, weights)


def nodes_by_op(graph: KernelGraph) -> list[tuple[str, tuple[int, ...]]]:
    return [(kernel.op.rpartition(".")[2], kernel.nodes) for kernel in graph.kernels]


def assert_law(workload: Workload, graph: KernelGraph) -> None:
    count = len(onnx.load_model_from_string(workload.skeleton).graph.node)
    executed = {position for kernel in graph.kernels for position in kernel.nodes}
    assert executed | set(graph.folded) == set(range(count))
    assert executed & set(graph.folded) == set()
    assert all(kernel.nodes for kernel in graph.kernels)


GELU = [
    node("Div", ["a1", "root"], ["g1"]),
    node("Erf", ["g1"], ["g2"]),
    node("Add", ["g2", "one"], ["g3"]),
    node("Mul", ["a1", "g3"], ["g4"]),
    node("Mul", ["g4", "half"], ["g5"]),
]
LAYER_NORM = [
    node("ReduceMean", ["r"], ["l1"], axes=[-1]),
    node("Sub", ["r", "l1"], ["l2"]),
    node("Pow", ["l2", "two"], ["l3"]),
    node("ReduceMean", ["l3"], ["l4"], axes=[-1]),
    node("Add", ["l4", "epsilon"], ["l5"]),
    node("Sqrt", ["l5"], ["l6"]),
    node("Div", ["l2", "l6"], ["l7"]),
    node("Mul", ["l7", "gain"], ["l8"]),
    node("Add", ["l8", "shift"], ["y"]),
]


def test_decomposed_gelu_and_layer_norm_are_found_in_the_kernels_that_replace_them(profile: RuntimeProfile) -> None:
    ends = [node("MatMul", ["x", "w1"], ["m1"]), node("Add", ["m1", "b1"], ["a1"])]
    back = [
        node("MatMul", ["g5", "w2"], ["m2"]),
        node("Add", ["m2", "b2"], ["a2"]),
        node("Add", ["a2", "x"], ["r"]),
    ]
    scalars = [constant(name, v) for name, v in [("root", np.sqrt(2)), ("one", 1), ("half", 0.5), ("two", 2)]]
    vectors = [floats("b1", 256), floats("b2", 64), floats("gain", 64), floats("shift", 64), constant("epsilon", 1e-5)]
    matrices = [floats("w1", 64, 256), floats("w2", 256, 64)]
    workload = custom([*ends, *GELU, *back, *LAYER_NORM], [1, 16, 64], scalars + vectors + matrices)
    graph = kernel_graph(workload, profile)
    assert_law(workload, graph)
    found = nodes_by_op(graph)
    assert ("Gelu", (2, 3, 4, 5, 6)) in found
    assert ("SkipLayerNormalization", tuple(range(9, 19))) in found
    assert [nodes for op, nodes in found if op == "Gemm"] == [(0, 1), (7, 8)]
    # The runtime flattens the operands of its Gemm; onnx does not know the names of what comes out.
    assert all(None not in (*kernel.inputs, *kernel.outputs) for kernel in graph.kernels)


def test_a_product_takes_in_the_transposition_before_it_and_the_scale_after(profile: RuntimeProfile) -> None:
    nodes = [
        node("Mul", ["x", "x"], ["k"]),
        node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
        node("MatMul", ["x", "t"], ["s"]),
        node("Div", ["s", "root"], ["d"]),
        node("Softmax", ["d"], ["p"], axis=-1),
        node("MatMul", ["p", "x"], ["y"]),
    ]
    graph = kernel_graph(custom(nodes, [1, 4, 16, 8], [constant("root", 2.8)]), profile)
    assert nodes_by_op(graph) == [("Mul", (0,)), ("FusedMatMul", (1, 2, 3)), ("Softmax", (4,)), ("MatMul", (5,))]


def test_a_convolution_takes_in_padding_normalisation_activation_and_sum(profile: RuntimeProfile) -> None:
    nodes = [
        node("Conv", ["x", "w0"], ["c0"]),
        node("Pad", ["c0", "pads"], ["p"]),
        node("Conv", ["p", "w1"], ["c1"]),
        node("BatchNormalization", ["c1", "s", "s", "s", "s"], ["n"]),
        node("Add", ["n", "c0"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["m"], ["y"]),
    ]
    constants = [floats("w0", 16, 16, 1, 1), floats("w1", 16, 16, 3, 3), constant("s", np.ones(16))]
    constants.append(constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    workload = custom(nodes, [1, 16, 8, 8], constants)
    graph = kernel_graph(workload, profile)
    assert_law(workload, graph)
    found = nodes_by_op(graph)
    assert [nodes for op, nodes in found if op.endswith("Conv")] == [(0,), (1, 2, 3, 4, 5)]
    assert [nodes for op, nodes in found if "Pool" in op] == [(6,), (7,)]


def test_reorders_belong_to_the_nodes_that_they_serve(profile: RuntimeProfile) -> None:
    nodes = [
        node("Softmax", ["x"], ["s"]),
        node("Conv", ["s", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Softmax", ["r"], ["y"]),
    ]
    graph = kernel_graph(custom(nodes, [1, 32, 8, 8], [floats("w", 32, 32, 1, 1)]), profile)
    found = dict(nodes_by_op(graph))
    if "ReorderInput" not in found:
        pytest.skip("this machine's kernels have no blocked layout")
    assert found["ReorderInput"] == found["Conv"] == (1, 2)
    # The value that it restores is the activation's.
    assert found["ReorderOutput"] == (2,)


def test_conversions_that_half_precision_needs_belong_to_the_nodes_that_they_serve(profile: RuntimeProfile) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["r"]), node("Conv", ["r", "v"], ["y"])]
    constants = [floats("w", 16, 16, 3, 3, kind=np.float16), floats("v", 16, 16, 1, 1, kind=np.float16)]
    workload = custom(nodes, [1, 16, 8, 8], constants, kind=TensorProto.FLOAT16)
    graph = kernel_graph(workload, profile)
    assert_law(workload, graph)
    found = nodes_by_op(graph)
    assert [nodes for op, nodes in found if op.endswith("Conv")] == [(0, 1), (2,)]
    casts = [nodes for op, nodes in found if op == "Cast"]
    assert casts in ([], [(0, 1), (2,)])
    assert all(None not in (*kernel.inputs, *kernel.outputs) for kernel in graph.kernels)


def test_a_quantised_convolution_takes_in_the_conversions_around_it(profile: RuntimeProfile) -> None:
    quantised = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["q0"]),
        node("DequantizeLinear", ["q0", "sx", "zx"], ["d0"]),
        node("DequantizeLinear", ["w", "sw", "zw"], ["dw"]),
        node("Conv", ["d0", "dw"], ["c"]),
        node("QuantizeLinear", ["c", "sx", "zx"], ["q1"]),
        node("DequantizeLinear", ["q1", "sx", "zx"], ["d1"]),
        node("DequantizeLinear", ["v", "sw", "zw"], ["dv"]),
        node("Conv", ["d1", "dv"], ["e"]),
        node("QuantizeLinear", ["e", "sx", "zx"], ["q2"]),
        node("DequantizeLinear", ["q2", "sx", "zx"], ["y"]),
    ]
    constants = [constant("sx", 0.1), constant("zx", 3, np.uint8), constant("sw", 0.05), constant("zw", 0, np.int8)]
    constants += [constant("w", RNG.integers(-9, 9, (16, 8, 3, 3)), np.int8)]
    constants += [constant("v", RNG.integers(-9, 9, (16, 16, 3, 3)), np.int8)]
    workload = custom(quantised, [1, 8, 8, 8], constants)
    graph = kernel_graph(workload, profile)
    assert_law(workload, graph)
    assert [nodes for op, nodes in nodes_by_op(graph) if op == "QLinearConv"] == [(1, 3, 4), (5, 7, 8)]
    assert {2, 6} <= set(graph.folded)
    assert all(None not in (*kernel.inputs, *kernel.outputs) for kernel in graph.kernels)


def test_equal_nodes_are_one_kernel_and_identities_none(profile: RuntimeProfile) -> None:
    nodes = [
        node("Exp", ["x"], ["a"]),
        node("Exp", ["x"], ["b"]),
        node("Neg", ["b"], ["c"]),
        node("Identity", ["a"], ["d"]),
        node("Add", ["d", "c"], ["e"]),
        node("Identity", ["e"], ["y"]),
    ]
    graph = kernel_graph(custom(nodes, [4, 4], []), profile)
    assert nodes_by_op(graph) == [("Exp", (0, 1)), ("Neg", (2,)), ("Add", (4,))]
    assert graph.folded == (3, 5)


def test_convolutions_with_equal_small_weights_are_one_kernel_that_names_both(profile: RuntimeProfile) -> None:
    nodes = [
        node("ConstantOfShape", ["s1"], ["w1"]),
        node("ConstantOfShape", ["s2"], ["w2"]),
        node("Conv", ["x", "w1"], ["c1"]),
        node("Conv", ["x", "w2"], ["c2"]),
        node("Relu", ["c1"], ["r1"]),
        node("Concat", ["r1", "c2"], ["y"], axis=1),
    ]
    shapes = [constant(name, [16, 16, 1, 1], np.int64) for name in ("s1", "s2")]
    graph = kernel_graph(custom(nodes, [1, 16, 6, 6], shapes), profile)
    assert [nodes for op, nodes in nodes_by_op(graph) if op.endswith("Conv")] == [(2, 3)]
    assert graph.folded == (0, 1)


def test_what_shapes_decide_beforehand_costs_nothing(profile: RuntimeProfile) -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "first"], ["n"]),
        node("Concat", ["n", "rest"], ["t"], axis=0),
        node("Relu", ["x"], ["r"]),
        node("Reshape", ["r", "t"], ["f"]),
        node("Dropout", ["f"], ["o"]),
        node("Neg", ["o"], ["y"]),
    ]
    constants = [constant("first", [0], np.int64), constant("rest", [-1], np.int64)]
    graph = kernel_graph(custom(nodes, [2, 4, 4], constants), profile)
    assert graph.folded == (0, 1, 2, 5)
    assert [nodes for _, nodes in nodes_by_op(graph)] == [(3,), (4,), (6,)]


def test_kernels_of_a_function_belong_to_its_call(profile: RuntimeProfile) -> None:
    inside = [node("Relu", ["X"], ["t"]), node("Exp", ["t"], ["u"]), node("Add", ["u", "X"], ["Y"])]
    function = helper.make_function("acme", "Block", ["X"], ["Y"], inside, [helper.make_opsetid("", 17)])
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("Block", ["a"], ["b"], domain="acme"),
        node("Block", ["b"], ["c"], domain="acme"),
        node("Neg", ["c"], ["y"]),
    ]
    graph = kernel_graph(custom(nodes, [4, 4], [], functions=(function,)), profile)
    assert [kernel.nodes for kernel in graph.kernels] == [(0,), (1,), (1,), (1,), (2,), (2,), (2,), (3,)]


def branches() -> dict[str, onnx.GraphProto]:
    then = helper.make_graph([node("Exp", ["x"], ["t"]), node("Relu", ["t"], ["u"])], "then", [], [value("u")])
    other = helper.make_graph([node("Neg", ["x"], ["v"])], "else", [], [value("v")])
    return {"then_branch": then, "else_branch": other}


def test_a_branch_taken_at_run_time_is_one_kernel_and_one_known_beforehand_is_its_own(profile: RuntimeProfile) -> None:
    ask = [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Greater", ["s", "zero"], ["c"])]
    tail = [node("If", ["c"], ["i"], **branches()), node("Neg", ["i"], ["y"])]
    graph = kernel_graph(custom([*ask, *tail], [4, 4], [constant("zero", 0)]), profile)
    assert nodes_by_op(graph) == [("ReduceSum", (0,)), ("Greater", (1,)), ("If", (2,)), ("Neg", (3,))]
    graph = kernel_graph(custom(tail, [4, 4], [constant("c", True, np.bool_)]), profile)
    assert nodes_by_op(graph) == [("Exp", (0,)), ("Relu", (0,)), ("Neg", (1,))]


def test_a_loop_and_a_recurrent_layer_are_one_kernel_each(profile: RuntimeProfile) -> None:
    body = helper.make_graph(
        [node("Identity", ["on"], ["go"]), node("Mul", ["h", "x"], ["k"])],
        "body",
        [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("h", [5, 1, 4])],
        [value("go", [], TensorProto.BOOL), value("k", [5, 1, 4])],
    )
    nodes = [
        node("Loop", ["trips", "yes", "x"], ["l"], body=body),
        node("LSTM", ["l", "w", "r"], ["h", "", ""], hidden_size=8),
        node("Squeeze", ["h", "one"], ["y"]),
    ]
    constants = [constant("trips", 5, np.int64), constant("yes", True, np.bool_), constant("one", [1], np.int64)]
    constants += [floats("w", 1, 32, 4), floats("r", 1, 32, 8)]
    workload = custom(nodes, [5, 1, 4], constants)
    graph = kernel_graph(workload, profile)
    assert nodes_by_op(graph) == [("Loop", (0,)), ("LSTM", (1,)), ("Squeeze", (2,))]


def test_transpositions_that_the_runtime_moves_away_are_not_lost(profile: RuntimeProfile) -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Relu", ["t"], ["a"]),
        node("Add", ["a", "w"], ["b"]),
        node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1]),
    ]
    workload = custom(nodes, [1, 8, 8, 16], [floats("w", 1, 16, 1, 1)])
    graph = kernel_graph(workload, profile)
    assert_law(workload, graph)
    assert [(kernel.op, kernel.outputs) for kernel in graph.kernels] == [
        ("Relu", ((1, 8, 8, 16),)),
        ("Add", ((1, 8, 8, 16),)),
    ]


def test_a_convolution_that_writes_past_two_transpositions_which_cancel_keeps_its_node(profile: RuntimeProfile) -> None:
    graph = GraphBuilder("cancelling")
    shape = (1, 16, 12, 12)
    first = graph.conv(graph.input((1, 8, 12, 12)), 16, kernel=3)
    turned = graph.node("Transpose", [first], shape, perm=[0, 1, 3, 2])
    back = graph.node("Transpose", [turned], shape, perm=[0, 1, 3, 2])
    last = graph.conv(turned, 8, kernel=3)
    workload = workload_from_model("cancelling", "block", graph.model(back, last), tuple(graph.weights))
    kernels = kernel_graph(workload, profile)
    assert_law(workload, kernels)
    found = nodes_by_op(kernels)
    assert [nodes for op, nodes in found if op == "Conv"] == [(0, 2), (3,)]
    assert [nodes for op, nodes in found if op == "Transpose"] == [(1,)]


def test_without_optimisation_every_node_is_its_own_kernel(profile: RuntimeProfile) -> None:
    plain = replace(profile, graph_level="ORT_DISABLE_ALL")
    workload = load_space("ofa-mobilenetv3").build(load_space("ofa-mobilenetv3").sample(1, 0)[0])
    count = len(onnx.load_model_from_string(workload.skeleton).graph.node)
    graph = kernel_graph(workload, plain)
    assert_law(workload, graph)
    # HardSwish is a function to ONNX Runtime: two kernels.
    assert {kernel.nodes for kernel in graph.kernels} == {(i,) for i in range(count)}


@st.composite
def random_graphs(draw: st.DrawFn) -> Workload:
    graph = GraphBuilder("random")
    values = [graph.input((1, draw(st.sampled_from([8, 16, 20])), 12, 12))]
    for step in range(draw(st.integers(1, 10))):
        x = draw(st.sampled_from(values[-3:]))
        values.append(_grow(draw, graph, x, values, step))
    outputs = draw(st.lists(st.sampled_from(values[1:]), min_size=1, max_size=2, unique=True))
    if graph.shapes[values[-1]] and values[-1] not in outputs:
        outputs.append(values[-1])
    return workload_from_model("random", "block", graph.model(*outputs), tuple(graph.weights))


def _grow(draw: st.DrawFn, graph: GraphBuilder, x: str, values: list[str], step: int) -> str:
    channels = graph.shapes[x][1]
    activation = draw(st.sampled_from(["", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid"]))
    equal = [name for name in values if graph.shapes[name] == graph.shapes[x]]
    kind = draw(st.sampled_from("conv dw act se add pool shuffle identity pad softmax transpose".split()))
    if kind == "conv":
        return graph.conv(x, draw(st.sampled_from([8, 12, 16, 32])), kernel=3, activation=activation)
    if kind == "dw":
        return graph.depthwise(x, kernel=3, activation=activation)
    if kind == "act":
        return graph.activate(x, activation or "relu")
    if kind == "se":
        return graph.squeeze_excite(x, 8)
    if kind == "add":
        return graph.add(x, draw(st.sampled_from(equal)))
    if kind == "pool":
        return graph.pool(x, kernel=3, stride=1, kind=draw(st.sampled_from(["max", "average"])))
    if kind == "shuffle":
        return graph.channel_shuffle(x, 4 if channels % 4 == 0 else 1)
    if kind == "pad":
        n, c, h, w = graph.shapes[x]
        graph.constants.append(constant(f"pads{step}", [0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        return graph.node("Pad", [x, f"pads{step}"], (n, c, h + 2, w + 2))
    if kind == "transpose":
        n, c, h, w = graph.shapes[x]
        return graph.node("Transpose", [x], (n, c, w, h), perm=[0, 1, 3, 2])
    return graph.node("Identity" if kind == "identity" else "Softmax", [x], graph.shapes[x])


@settings(max_examples=120, deadline=None)
@given(workload=random_graphs())
def test_every_node_is_executed_or_folded_and_every_convolution_has_its_kernel(workload: Workload) -> None:
    graph = kernel_graph(workload, host_profile())
    assert_law(workload, graph)
    nodes = onnx.load_model_from_string(workload.skeleton).graph.node
    for kernel in graph.kernels:
        inside = [nodes[position].op_type for position in kernel.nodes]
        if kernel.op.endswith("Conv"):
            assert inside.count("Conv") == 1
            if "activation" in kernel.attribute:
                assert set(inside) & {"Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid"}
            assert ("Add" in inside) == (len(kernel.inputs) == 2)
    assert len({kernel.nodes for kernel in graph.kernels if kernel.op.endswith("Conv")}) == sum(
        kernel.op.endswith("Conv") for kernel in graph.kernels
    )


def test_nodes_and_names_are_not_part_of_a_kernels_identity(profile: RuntimeProfile) -> None:
    graph = GraphBuilder("twice")
    x = graph.activate(graph.activate(graph.input((1, 8, 4, 4)), "sigmoid"), "sigmoid")
    first, second = kernel_graph(workload_from_model("t", "block", graph.model(x)), profile).kernels
    assert (first.nodes, second.nodes) == ((0,), (1,))
    assert first == second
    assert (hash(first), first.kernel_hash) == (hash(second), second.kernel_hash)
