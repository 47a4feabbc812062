"""The kernels of a graph: read from the runtime's own optimised graph, each with the shapes it works on."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.costmodels.kernel_loops import loops_of
from edgecost.costmodels.kernel_work import kind_of
from edgecost.costmodels.space_file import load_space, space_names
from edgecost.profiler.errors import BrokenModel, ModelError, UnsupportedOperator, UsageError
from edgecost.profiler.graphs.blocks import ConvBlock, InvertedResidual
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels import session
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.kernels.written import written_graph
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload, workload_from_model


@pytest.fixture(scope="module")
def profile() -> RuntimeProfile:
    return host_profile()


def block(spec: ConvBlock | InvertedResidual, shape: tuple[int, ...] = (1, 16, 20, 20)) -> Workload:
    graph = GraphBuilder("block")
    made = spec.build(graph, graph.input(shape))
    return workload_from_model("block", "block", graph.model(made), tuple(graph.weights))


def custom(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: list[str],
    constants: list[onnx.TensorProto] | None = None,
    domain: str = "",
) -> Workload:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants or [],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return workload_from_model("custom", "operator", helper.make_model(graph, opset_imports=opsets, ir_version=8))


def floats(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(0).normal(size=shape).astype(np.float32), name)


def has_all_shapes(kernel: Kernel) -> bool:
    return None not in kernel.inputs and None not in kernel.outputs


def convolution(found: tuple[Kernel, ...]) -> Kernel:
    (only,) = [kernel for kernel in found if kernel.op.rpartition(".")[2] in ("Conv", "FusedConv")]
    return only


def test_a_convolution_takes_its_activation_in(profile: RuntimeProfile) -> None:
    found = kernels(block(ConvBlock(out=32, kernel=3, stride=2, activation="relu")), profile)
    assert not any(kernel.op == "Relu" for kernel in found)
    kernel = convolution(found)
    assert kernel.inputs[0] == (1, 16, 20, 20)
    assert (kernel.outputs, kernel.weights) == (((1, 32, 10, 10),), ((32, 16, 3, 3), (32,)))
    assert (kernel.attribute["strides"], kernel.attribute["activation"]) == ("2x2", "Relu")
    assert kernel.dtype == "float32"
    assert all(has_all_shapes(kernel) for kernel in found)


@pytest.mark.parametrize("stride", [1, 2])
def test_every_kernel_of_an_inverted_residual_has_shapes(stride: int, profile: RuntimeProfile) -> None:
    spec = InvertedResidual(out=16, mid=64, kernel=5, stride=stride, activation="hard_swish", squeeze=16)
    found = kernels(block(spec), profile)
    assert all(has_all_shapes(kernel) for kernel in found)
    assert found[-1].outputs[0] == (1, 16, 20 // stride, 20 // stride)
    assert sum(len(kernel.weights) > 0 and len(kernel.weights[0]) == 4 for kernel in found) == 5


@pytest.mark.parametrize("name", [name for name in space_names() if name != "hw-gpt-l"])
def test_every_kernel_of_a_random_network_has_shapes(name: str, profile: RuntimeProfile) -> None:
    space = load_space(name)
    found = kernels(space.build(space.sample(1, 0)[0]), profile)
    assert len(found) > 20
    assert [kernel.signature for kernel in found if not has_all_shapes(kernel)] == []
    assert found[-1].outputs[0][0] == 1


def test_a_model_that_no_file_holds_is_refused(monkeypatch: pytest.MonkeyPatch, profile: RuntimeProfile) -> None:
    monkeypatch.setattr(session, "_SERIALISED_MAX", 1000)
    space = load_space("fbnet")
    with pytest.raises(ModelError, match="2 GiB is the most"):
        kernels(space.build(space.sample(1, 0)[0]), profile)


@pytest.mark.parametrize("pads", [{"pads": [2, 1, 0, 1]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "VALID"}], ids=str)
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
@pytest.mark.parametrize("dilations", [[1, 1], [2, 1]])
@pytest.mark.parametrize("ceil", [0, 1])
def test_shapes_of_convolutions_are_those_that_the_runtime_computes(
    pads: dict[str, object], strides: list[int], dilations: list[int], ceil: int, profile: RuntimeProfile
) -> None:
    if pads == {"auto_pad": "SAME_UPPER"} and dilations != [1, 1]:
        pytest.skip("ONNX Runtime has no automatic padding of dilated convolutions")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], strides=strides, dilations=dilations, **pads),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 3], ceil_mode=ceil),
        helper.make_node("Conv", ["p", "v"], ["y"]),
    ]
    workload = custom(nodes, {"x": [2, 16, 17, 19]}, ["y"], [floats("w", 32, 16, 3, 3), floats("v", 16, 32, 1, 1)])
    found = kernels(workload, profile)
    assert all(has_all_shapes(kernel) for kernel in found)
    import onnxruntime

    session = onnxruntime.InferenceSession(workload.skeleton, providers=["CPUExecutionProvider"])
    (truth,) = session.run(None, {"x": np.ones((2, 16, 17, 19), np.float32)})
    assert found[-1].outputs[0] == truth.shape


def test_transpositions_around_a_blocked_part_are_in_the_shapes_of_its_reorders(profile: RuntimeProfile) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"]),
        helper.make_node("Transpose", ["c"], ["u"], perm=[0, 2, 3, 1]),
        helper.make_node("Softmax", ["u"], ["y"]),
    ]
    weight = numpy_helper.from_array(np.ones((40, 24, 1, 1), np.float32), "w")
    workload = custom(nodes, {"x": [1, 6, 5, 24]}, ["y"], [weight])
    found = {kernel.op.rpartition(".")[2]: kernel for kernel in kernels(workload, profile)}
    if "ReorderInput" not in found:
        pytest.skip("this machine's kernels have no blocked layout")
    assert found["Conv"].inputs == (found["ReorderInput"].outputs[0],) == ((1, 24, 6, 5),)
    assert found["ReorderOutput"].outputs == found["Softmax"].inputs == ((1, 6, 5, 40),)
    loops = loops_of(found["ReorderOutput"])
    assert (loops.loops, loops.inner) == (40 / 1000, 30)


def test_signature_and_hash_tell_kernels_apart_and_nothing_else(profile: RuntimeProfile) -> None:
    narrow, same, wide = (convolution(kernels(block(ConvBlock(out=out, kernel=3)), profile)) for out in (16, 16, 32))
    assert narrow.kernel_hash == same.kernel_hash != wide.kernel_hash
    assert replace(narrow, dtype="float16").kernel_hash != narrow.kernel_hash
    assert "1x16x20x20 · 16x16x3x3 16 → 1x16x20x20" in narrow.signature


def test_a_recurrent_network_has_kernels(profile: RuntimeProfile) -> None:
    constants = [floats("w", 1, 32, 4), floats("r", 1, 32, 8)]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y", "", "c"], hidden_size=8)
    found = kernels(custom([node], {"x": [5, 1, 4]}, ["y", "c"], constants), profile)
    assert [kernel.op for kernel in found] == ["LSTM"]
    assert found[0].weights == ((1, 32, 4), (1, 32, 8))


def test_an_output_whose_shape_depends_on_data_is_unknown_not_guessed(profile: RuntimeProfile) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["n"]),
        helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT),
    ]
    found = kernels(custom(nodes, {"x": [4, 4]}, ["y"]), profile)
    assert [kernel.op for kernel in found] == ["NonZero", "Cast"]
    assert found[0].outputs == (None,)
    assert "→ ?" in found[0].signature


def test_a_graph_whose_constants_stand_in_nodes_has_kernels(profile: RuntimeProfile) -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=floats("w", 8, 8)),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    plain = replace(profile, graph_level="ORT_DISABLE_ALL")
    (kernel,) = kernels(custom(nodes, {"x": [4, 8]}, ["y"]), plain)
    assert (kernel.op, kernel.weights, kernel.outputs) == ("MatMul", ((8, 8),), ((4, 8),))


@pytest.mark.parametrize("domain", ["", "acme"])
def test_an_unknown_operator_is_unsupported(domain: str, profile: RuntimeProfile) -> None:
    workload = custom([helper.make_node("Frobnicate", ["x"], ["y"], domain=domain)], {"x": [2]}, ["y"], domain=domain)
    with pytest.raises(UnsupportedOperator, match="Frobnicate"):
        kernels(workload, profile)


def test_a_graph_that_contradicts_itself_is_broken(profile: RuntimeProfile) -> None:
    workload = custom([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [2, 3]}, ["y"], [floats("w", 4, 4)])
    with pytest.raises(BrokenModel, match="refuses this graph"):
        kernels(workload, profile)


def test_a_provider_that_is_not_here_has_no_known_kernels(profile: RuntimeProfile) -> None:
    elsewhere = replace(profile, provider="NoSuchExecutionProvider")
    with pytest.raises(UsageError, match="NoSuchExecutionProvider"):
        kernels(block(ConvBlock(out=16)), elsewhere)


def test_finding_kernels_leaves_nothing_behind(profile: RuntimeProfile, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kernels(block(ConvBlock(out=16)), profile)
    assert os.listdir(tmp_path) == []


def chain(*steps: tuple[str, str, dict[str, int]], given: str = "float32") -> Workload:
    """Operators of one input, one behind the other: name, type of the result, attributes."""
    graph = GraphBuilder("chain")
    x = graph.input((4, 16), dtype=given)
    for op, kind, attributes in steps:
        inputs = [x, x] if op in ("Add", "Equal") else [x]
        x = graph.typed_node(op, inputs, (4, 16), kind, **attributes)
    return workload_from_model("chain", "block", graph.model(x), tuple(graph.weights))


@pytest.mark.parametrize(
    ("given", "op", "made", "told"),
    [
        ("float32", "Add", "float32", "float32"),
        ("int64", "Add", "int64", "int64"),
        ("float64", "Add", "float64", "float64"),
        ("int32", "Equal", "bool", "int32"),
        ("bool", "Not", "bool", "bool"),
    ],
)
def test_a_kernel_without_weights_has_the_type_of_its_activations(
    given: str, op: str, made: str, told: str, profile: RuntimeProfile
) -> None:
    for found in (kernels(chain((op, made, {}), given=given), profile), written(op, made, given)):
        assert [kernel.dtype for kernel in found] == [told]


def written(op: str, made: str, given: str) -> tuple[Kernel, ...]:
    return written_graph(chain((op, made, {}), given=given)).kernels


def test_places_and_conditions_are_not_the_type_of_the_data(profile: RuntimeProfile) -> None:
    graph = GraphBuilder("choose")
    x = graph.input((4, 16))
    asked = graph.typed_node("Greater", [x, graph.scalar(0.0)], (4, 16), "bool")
    y = graph.node("Where", [asked, x, graph.node("Neg", [x], (4, 16))], (4, 16))
    found = kernels(workload_from_model("choose", "block", graph.model(y), ()), profile)
    assert {kernel.op: kernel.dtype for kernel in found} == {"Greater": "float32", "Neg": "float32", "Where": "float32"}


@pytest.mark.parametrize(("exponent", "kind"), [(2.0, "Pow.square"), (3.0, "Pow.cube"), (0.5, "Pow"), (1.7, "Pow")])
def test_an_exponent_makes_a_kind(exponent: float, kind: str, profile: RuntimeProfile) -> None:
    graph = GraphBuilder("power")
    x = graph.input((4, 16))
    y = graph.node("Pow", [x, graph.scalar(exponent)], (4, 16))
    workload = workload_from_model("power", "block", graph.model(y), ())
    (seen,) = written_graph(workload).kernels
    assert kind_of(seen) == kind
    assert {kind_of(kernel) for kernel in kernels(workload, profile)} <= {kind, "Mul", "Sqrt"}
