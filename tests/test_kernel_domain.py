"""Kernels that take positive numbers only are fed with such, once they stand alone."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgecost.profiler.client import RunnerClient, RunnerSupply
from edgecost.profiler.graphs.networks import vit
from edgecost.profiler.kernels.cut import kernel_workloads
from edgecost.profiler.kernels.domain import positive_inputs
from edgecost.profiler.loading import LoadRefused, OrtLoader, load_request
from edgecost.profiler.protocol import runner_rules
from edgecost.profiler.records import RuntimeProfile, Status
from edgecost.profiler.workload import Workload, workload_from_model

CASES = [
    ("Sqrt", TensorProto.FLOAT, ("a",)),
    ("Log", TensorProto.FLOAT, ("a",)),
    ("Pow", TensorProto.FLOAT, ("a",)),
    ("ReduceLogSum", TensorProto.FLOAT, ("a",)),
    ("Div", TensorProto.INT64, ("a", "b")),
    ("Div", TensorProto.FLOAT, ()),
    ("Sub", TensorProto.INT64, ()),
]


def kernel(op: str, kind: int) -> Workload:
    names = ["a", "b"] if op in ("Pow", "Div", "Sub") else ["a"]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"])],
        "g",
        [helper.make_tensor_value_info(name, kind, [64]) for name in names],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return workload_from_model(op, "kernel", model)


def by_onnx(skeleton: bytes) -> tuple[str, ...]:
    """The oracle: the rule over what the onnx package reads."""
    graph = onnx.load_model_from_string(skeleton).graph
    if len(graph.node) != 1:
        return ()
    (node,) = graph.node
    first = {"Sqrt": 1, "Log": 1, "Pow": 1, "ReduceLogSum": 1, "Div": 2, "Mod": 2}.get(node.op_type, 0)
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input if value.name in node.input[:first]}
    integers = {TensorProto.DataType.Value(f"{sign}INT{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)}
    return tuple(name for name in kinds if node.op_type not in ("Div", "Mod") or kinds[name] in integers)


KINDS = st.sampled_from([number for number in TensorProto.DataType.values() if number])


@st.composite
def graphs(draw: st.DrawFn) -> bytes:
    """One node or none or two, over inputs of any type; operands may be inputs, twice the same, or something else."""
    names = ["a", "b", "Größe"]
    nodes = [
        helper.make_node(
            draw(st.sampled_from(["Sqrt", "Log", "Pow", "ReduceLogSum", "Div", "Mod", "Sub", "Relu"])),
            draw(st.lists(st.sampled_from([*names, "weight", ""]), max_size=3)),
            [f"y{place}"],
            domain=draw(st.sampled_from(["", "com.microsoft"])),
        )
        for place in range(draw(st.sampled_from([1, 1, 1, 0, 2])))
    ]
    inputs = [
        helper.make_tensor_value_info(name, draw(KINDS), draw(st.none() | st.lists(st.integers(0, 300), max_size=3)))
        for name in draw(st.permutations(names))
    ]
    inputs.append(helper.make_tensor_sequence_value_info("b", TensorProto.FLOAT, None))
    graph = helper.make_graph(nodes, "g", draw(st.permutations(inputs)), [])
    return helper.make_model(graph).SerializeToString()


@given(graphs())
def test_the_rule_finds_what_it_finds_with_the_onnx_package(skeleton: bytes) -> None:
    assert positive_inputs(skeleton) == by_onnx(skeleton)


def test_every_kernel_that_is_cut_out_of_a_network_is_fed_as_by_the_onnx_package(profile: RuntimeProfile) -> None:
    cut = [alone for _, alone in kernel_workloads(vit(1, resolution=32).workload(), profile) if alone is not None]
    assert len(cut) > 5
    assert [positive_inputs(one.skeleton) for one in cut] == [by_onnx(one.skeleton) for one in cut]


def test_a_kernel_that_was_cut_off_is_refused_as_a_result_and_not_as_an_error() -> None:
    whole = kernel("Sqrt", TensorProto.FLOAT)
    with pytest.raises(LoadRefused, match=r"bytes, \d+ are left") as refusal:
        OrtLoader().request("root", replace(whole, skeleton=whole.skeleton[:-30]), 0)
    assert refusal.value.status is Status.INVALID_MODEL


@pytest.mark.parametrize(("op", "kind", "positive"), CASES)
def test_an_operator_says_which_inputs_must_be_positive(op: str, kind: int, positive: tuple[str, ...]) -> None:
    assert positive_inputs(kernel(op, kind).skeleton) == positive


def test_every_such_kernel_loads_alone_and_the_same_graph_as_an_operator_is_refused(profile: RuntimeProfile) -> None:
    with RunnerSupply() as supply, RunnerClient(supply, profile, runner_rules()) as client:
        for op, kind, _ in CASES:
            client.send(load_request(op, kernel(op, kind), 0))
            assert client.receive(60)["event"] == "loaded"
        client.send(load_request("root", replace(kernel("Sqrt", TensorProto.FLOAT), kind="operator"), 0))
        assert client.receive(60)["outcome"] == "invalid_output"
