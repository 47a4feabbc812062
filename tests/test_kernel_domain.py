"""Kernels that take positive numbers only are fed with such, once they stand alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from onnx import TensorProto, helper

from edgecost.profiler.client import RunnerClient, RunnerSupply
from edgecost.profiler.kernels.domain import positive_inputs
from edgecost.profiler.loading import load_request
from edgecost.profiler.protocol import runner_rules
from edgecost.profiler.records import RuntimeProfile
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
