"""Workloads in other precisions: they run, they are what they are called, and they say what stayed in float32."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler.errors import ModelError, UnsupportedPrecision, UsageError
from edgecost.profiler.graphs.blocks import InvertedResidual
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.model_file import read_model
from edgecost.profiler.precision.convert import PRECISIONS, convert, convert_and_report, emulated
from edgecost.profiler.precision.macs import count_macs
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.weights import Weight, complete
from edgecost.profiler.workload import Workload, workload_from_model

LOWER = PRECISIONS[1:]
INT8 = ("int8-qdq", "int8-qoperator")
ON_X86 = platform.machine() in ("x86_64", "AMD64")


def finished(graph: GraphBuilder, y: str) -> Workload:
    return workload_from_model("block", "block", graph.model(y), tuple(graph.weights))


def mobile() -> Workload:
    """Expansion, depthwise, squeeze-and-excitation, hard swish, shortcut."""
    graph = GraphBuilder("block")
    block = InvertedResidual(16, 64, 3, 1, "hard_swish", squeeze=16)
    return finished(graph, block.build(graph, graph.input((1, 16, 14, 14))))


def shuffled() -> Workload:
    graph = GraphBuilder("block")
    block = InvertedResidual(16, 48, 3, 1, "relu6", groups=2)
    return finished(graph, block.build(graph, graph.input((1, 16, 14, 14))))


def bottleneck() -> Workload:
    """ResNet's block with pooling and a classifier behind it."""
    graph = GraphBuilder("block")
    x = graph.input((1, 32, 12, 12))
    y = graph.conv(graph.conv(x, 16, activation="relu"), 16, kernel=3, activation="relu")
    y = graph.activate(graph.add(x, graph.conv(y, 32)), "relu")
    y = graph.pool(y, kernel=3, stride=2, kind="max")
    return finished(graph, graph.linear(graph.global_average_pool(y), 10))


def by_hand(
    nodes: list[onnx.NodeProto],
    shape: list[int],
    weights: dict[str, tuple[int, ...]] | None = None,
    constants: dict[str, np.ndarray] | None = None,
) -> Workload:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = tuple(Weight(name, shape, "float32", 0.2) for name, shape in (weights or {}).items())
    return workload_from_model("made", "block", model, described)


def attention() -> Workload:
    """Layer norm, one projection as query, key and value, softmax, output projection, shortcut."""
    tokens, width, heads = 6, 16, 4
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain", "shift"], ["n"], axis=-1),
        helper.make_node("MatMul", ["n", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["pb"]),
        helper.make_node("Reshape", ["pb", "split"], ["s"]),
        helper.make_node("Transpose", ["s"], ["q"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["s"], ["k"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["q", "k"], ["qk"]),
        helper.make_node("Softmax", ["qk"], ["a"], axis=-1),
        helper.make_node("MatMul", ["a", "q"], ["v"]),
        helper.make_node("Transpose", ["v"], ["vt"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["vt", "merge"], ["m"]),
        helper.make_node("MatMul", ["m", "o"], ["mo"]),
        helper.make_node("Add", ["mo", "x"], ["y"]),
    ]
    square, row = (width, width), (width,)
    weights = {"gain": row, "shift": row, "w": square, "b": row, "o": square}
    shapes = {"split": [1, tokens, heads, width // heads], "merge": [1, tokens, width]}
    constants = {name: np.array(shape, np.int64) for name, shape in shapes.items()}
    return by_hand(nodes, [1, tokens, width], weights, constants)


def resized() -> Workload:
    nodes = [
        helper.make_node("AveragePool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["a", "", "factors"], ["r"], mode="nearest"),
        helper.make_node("Concat", ["x", "r"], ["c"], axis=1),
        helper.make_node("Conv", ["c", "w"], ["y"]),
    ]
    factors = np.array([1, 1, 2, 2], np.float32)
    return by_hand(nodes, [1, 4, 8, 8], {"w": (8, 8, 1, 1)}, {"factors": factors})


def normalised(folder: Path) -> Workload:
    """A file whose batch normalisations stand behind a convolution and behind an activation."""
    random = np.random.default_rng(0)
    shapes = {"w": (4, 4, 1, 1), "s": (4,), "b": (4,), "m": (4,), "v": (4,)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("BatchNormalization", ["r", "s", "b", "m", "v"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 6, 6]) for name in "xy"]
    values = [numpy_helper.from_array(random.random(shape, np.float32), name) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], values)
    path = folder / "normalised.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return read_model(path)


def single(op: str, **attributes: object) -> Workload:
    return by_hand([helper.make_node(op, ["x"], ["y"], **attributes)], [1, 4, 8, 8])


def skeleton(workload: Workload) -> onnx.ModelProto:
    return onnx.load_model_from_string(workload.skeleton)


def constants(workload: Workload) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in skeleton(workload).graph.initializer}


def outputs(workload: Workload) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        complete(workload.skeleton, workload.weights), providers=["CPUExecutionProvider"]
    )
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    random = np.random.default_rng(0)
    return session.run(
        None, {slot.name: random.normal(size=slot.shape).astype(kinds[slot.type]) for slot in session.get_inputs()}
    )


def executed(workload: Workload) -> list[str]:
    return [kernel.op.rpartition(".")[2] for kernel in kernels(workload, host_profile())]


BLOCKS = [mobile, shuffled, bottleneck, attention, resized]


@pytest.mark.parametrize("precision", LOWER)
@pytest.mark.parametrize("make", BLOCKS)
def test_every_block_runs_in_every_precision_with_finite_outputs(make: object, precision: str) -> None:
    made = convert(make(), precision)
    onnx.checker.check_model(complete(made.skeleton, made.weights))
    (result,) = outputs(made)
    assert np.isfinite(result).all()
    assert result.std() > 0
    assert result.dtype == (np.float16 if precision == "fp16" else np.float32)


@pytest.mark.parametrize("precision", INT8)
@pytest.mark.parametrize("make", [mobile, shuffled, bottleneck, resized])
def test_the_runtime_executes_every_convolution_on_8_bits(make: object, precision: str) -> None:
    before = make()
    wanted = [node.op_type for node in skeleton(before).graph.node].count("Conv")
    found = executed(convert(before, precision))
    assert (found.count("QLinearConv"), found.count("Conv"), found.count("FusedConv")) == (wanted, 0, 0)


@pytest.mark.parametrize("precision", INT8)
def test_the_runtime_executes_matrix_products_on_8_bits(precision: str) -> None:
    assert executed(convert(attention(), precision)).count("QLinearMatMul") == 4
    assert "MatMul" not in executed(convert(attention(), precision))
    assert "QGemm" in executed(convert(bottleneck(), precision))


def test_the_two_forms_of_int8_are_written_as_they_are_called() -> None:
    qdq = {node.op_type for node in skeleton(convert(bottleneck(), "int8-qdq")).graph.node}
    operators = {node.op_type for node in skeleton(convert(bottleneck(), "int8-qoperator")).graph.node}
    assert {"Conv", "QuantizeLinear", "DequantizeLinear"} <= qdq
    assert "QLinearConv" not in qdq
    assert {"QLinearConv", "QGemm", "QLinearAdd"} <= operators
    assert "Conv" not in operators


def test_fp16_weights_and_borders_are_float16() -> None:
    made = convert(mobile(), "fp16")
    assert {weight.dtype for weight in made.weights} == {"float16"}
    graph = skeleton(made).graph
    ends = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    assert set(ends) == {TensorProto.FLOAT16}


PRINT = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_precision import attention, convert, mobile
for precision in ("fp16", "int8-qdq", "int8-qoperator"):
    for block in (mobile(), attention()):
        print(hashlib.sha256(convert(block, precision, seed=3).skeleton).hexdigest())
"""


def test_one_seed_gives_the_same_bytes_in_every_process() -> None:
    here = str(Path(__file__).parent)
    told = set()
    for order in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": order}
        command = [sys.executable, "-c", PRINT, here]
        told.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(told) == 1
    assert len(set(told.pop().split())) == 6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(INT8), st.sampled_from([mobile, bottleneck]))
def test_the_seed_changes_the_scales_but_not_the_identity(seed: int, precision: str, make: object) -> None:
    first, second = convert(make(), precision), convert(make(), precision, seed=seed)
    assert first.graph_hash == second.graph_hash
    assert first.weights == second.weights
    assert (first.skeleton == second.skeleton) == (seed == 0)


def test_every_precision_is_another_computation() -> None:
    made = [convert(mobile(), precision) for precision in PRECISIONS]
    assert len({workload.graph_hash for workload in made}) == len(PRECISIONS)
    assert [workload.name for workload in made] == ["block", *(f"block-{precision}" for precision in LOWER)]
    assert {workload.kind for workload in made} == {"block"}


def test_operators_without_an_integer_kernel_are_told() -> None:
    report = convert_and_report(mobile(), "int8-qdq").report
    operators = [node.op_type for node in skeleton(mobile()).graph.node]
    assert report.kept_operators == ("HardSigmoid", "HardSwish")
    assert {operators[place] for place in report.kept} == set(report.kept_operators)
    assert sorted(report.converted + report.kept) == list(range(len(operators)))
    assert report.kept_mac_share == 0


def test_the_share_of_the_work_that_stays_in_float_is_told() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("ConvTranspose", ["c", "t"], ["y"], strides=[2, 2]),
    ]
    report = convert_and_report(by_hand(nodes, [1, 4, 8, 8], {"w": (4, 4, 1, 1), "t": (4, 4, 2, 2)}), "int8-qdq").report
    assert (report.converted, report.kept, report.kept_operators) == ((0,), (1,), ("ConvTranspose",))
    assert report.kept_mac_share == pytest.approx(4 / 5)


def test_a_share_that_cannot_be_counted_is_unknown() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Einsum", ["m", "w"], ["y"], equation="ij,jk->ik"),
    ]
    report = convert_and_report(by_hand(nodes, [4, 8], {"w": (8, 8)}), "int8-qdq").report
    assert report.kept_operators == ("Einsum",)
    assert report.kept_mac_share is None


def test_float32_gives_the_workload_back_and_keeps_everything() -> None:
    before = mobile()
    conversion = convert_and_report(before, "fp32")
    assert conversion.workload == before
    assert conversion.report.converted == ()
    assert conversion.report.kept_mac_share == 1


@pytest.mark.parametrize(
    ("workload", "precision"),
    [(single("HardSwish"), "int8-qdq"), (single("Erf"), "int8-qoperator"), (single("Max"), "fp16")],
)
def test_a_graph_with_nothing_to_convert_is_unsupported(workload: Workload, precision: str) -> None:
    with pytest.raises(UnsupportedPrecision, match="stay in float32") as caught:
        convert(workload, precision)
    assert isinstance(caught.value, ModelError)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("precision", LOWER)
def test_what_is_quantised_already_is_refused(precision: str) -> None:
    with pytest.raises(UnsupportedPrecision, match="quantised already") as caught:
        convert(convert(mobile(), "int8-qdq"), precision)
    assert "--precision fp32" in caught.value.remedy


@pytest.mark.parametrize("precision", PRECISIONS)
def test_float32_leaves_every_workload_as_it_is(precision: str) -> None:
    before = convert(mobile(), precision)
    assert convert(before, "fp32") is before
    conversion = convert_and_report(before, "fp32")
    assert conversion.workload is before
    assert conversion.report.converted == ()


def test_half_of_a_half_is_refused() -> None:
    with pytest.raises(UnsupportedPrecision, match="no float32 numbers"):
        convert(convert(mobile(), "fp16"), "fp16")


def test_an_unknown_precision_is_misuse() -> None:
    with pytest.raises(UsageError, match="no precision 'int4'"):
        convert(mobile(), "int4")


@pytest.mark.parametrize("precision", LOWER)
def test_batch_normalisation_is_folded_or_stays_finite(precision: str, tmp_path: Path) -> None:
    conversion = convert_and_report(normalised(tmp_path), precision)
    assert np.isfinite(outputs(conversion.workload)[0]).all()
    operators = [node.op_type for node in skeleton(conversion.workload).graph.node]
    assert operators.count("BatchNormalization") == 1
    assert conversion.report.kept_operators == (() if precision == "fp16" else ("BatchNormalization",))
    assert {0, 1, 2} <= set(conversion.report.converted)


def test_what_a_function_holds_counts_for_its_call() -> None:
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("MatMul", ["a", "c"], ["t"]), helper.make_node("Erf", ["t"], ["b"])]
    plain = by_hand([helper.make_node("MatMul", ["x", "w"], ["y"])], [4, 8], {"w": (8, 8)})
    model = skeleton(plain)
    model.graph.node[0].output[0] = "m"
    model.graph.node.append(helper.make_node("Block", ["m", "w"], ["y"], domain="local"))
    model.functions.append(helper.make_function("local", "Block", ["a", "c"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    conversion = convert_and_report(workload_from_model("f", "block", model, plain.weights), "int8-qdq")
    assert (conversion.report.converted, conversion.report.kept) == ((0,), (1,))
    assert np.isfinite(outputs(conversion.workload)[0]).all()


@pytest.mark.skipif(not ON_X86, reason="ONNX Runtime has float16 kernels on ARM")
@pytest.mark.parametrize("make", [mobile, bottleneck, attention, lambda: single("Relu")])
def test_float16_is_emulated_on_x86(make: object) -> None:
    profile = host_profile()
    assert emulated(kernels(convert(make(), "fp16"), profile))
    assert not emulated(kernels(make(), profile))


def test_what_has_a_float16_kernel_is_not_called_emulated() -> None:
    assert not emulated(kernels(convert(single("Transpose"), "fp16"), host_profile()))


def test_multiply_accumulates_are_those_of_the_definition() -> None:
    before = bottleneck()
    model = onnx.load_model_from_string(complete(before.skeleton, before.weights))
    for place, node in enumerate(model.graph.node):
        node.name = f"{place}"
    counted = count_macs(onnx.shape_inference.infer_shapes(model))
    area = 12 * 12
    expected = [32 * 16 * area, 9 * 16 * 16 * area, 16 * 32 * area, 32 * 10]
    assert [amount for amount in counted.values() if amount] == expected
