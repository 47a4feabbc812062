"""Names of ONNX nodes, and which kernel a line of the runtime's trace is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.costmodels.space_file import load_space
from edgecost.profiler.client import RunnerClient, RunnerSupply
from edgecost.profiler.graphs.blocks import InvertedResidual
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import Kernel, kernel_graph
from edgecost.profiler.kernels.nodes import match_records, node_names
from edgecost.profiler.loading import load_request
from edgecost.profiler.model_file import read_model
from edgecost.profiler.protocol import runner_rules
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload, workload_from_model

node = helper.make_node


def value(name: str, shape: list[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model(nodes: list[onnx.NodeProto], shape: list[int], *constants: TensorProto) -> onnx.ModelProto:
    """A model with the input x and the output y."""
    graph = helper.make_graph(nodes, "g", [value("x", shape)], [value("y")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_nodes_have_the_names_of_the_file_or_of_their_place(tmp_path: Path, profile: RuntimeProfile) -> None:
    nodes = [node("Exp", ["x"], ["a"], name="layer1/exp"), node("Neg", ["a"], ["y"])]
    path = tmp_path / "m.onnx"
    onnx.save(model(nodes, [4]), path)
    written = read_model(path)
    assert node_names(written) == ("layer1/exp", "Neg_1")
    assert [kernel.name for kernel in kernel_graph(written, profile).kernels] == ["layer1/exp", "Neg_1"]
    assert node_names(replace(written, path="")) == ("Exp_0", "Neg_1")
    path.write_bytes(b"no model")
    assert node_names(written) == ("Exp_0", "Neg_1")
    path.unlink()
    assert node_names(written) == ("Exp_0", "Neg_1")


@pytest.fixture(scope="module")
def runner() -> Iterator[RunnerClient]:
    with RunnerSupply() as supply, RunnerClient(supply, host_profile(), runner_rules(), cpus=()) as opened:
        yield opened


def traced(workload: Workload, runner: RunnerClient) -> list[dict[str, object]]:
    runner.send({**load_request("traced", workload, 0), "verb": "profile", "runs": 2})
    answer = runner.receive(60)
    assert answer["event"] == "profiled", answer
    records = answer["kernels"]
    assert isinstance(records, list)
    return records


@pytest.mark.parametrize("name", ["ofa-mobilenetv3", "fbnet"])
def test_every_line_of_a_networks_trace_finds_a_kernel_of_its_own(
    name: str, profile: RuntimeProfile, runner: RunnerClient
) -> None:
    space = load_space(name)
    workload = space.build(space.sample(1, 0)[0])
    kernels = kernel_graph(workload, profile).kernels
    records = traced(workload, runner)
    matched = match_records(kernels, records)
    assert sorted(found for found in matched if found is not None) == list(range(len(kernels)))
    for found, record in zip(matched, records, strict=True):
        assert found is not None
        kernel: Kernel = kernels[found]
        assert kernel.op.rpartition(".")[2] == record["op"]
        if str(record["name"]).endswith("_nchwc"):
            assert kernel.name == record["name"]


def branches() -> dict[str, onnx.GraphProto]:
    then = helper.make_graph([node("Exp", ["x"], ["t"]), node("Relu", ["t"], ["u"])], "then", [], [value("u")])
    other = helper.make_graph([node("Neg", ["x"], ["v"])], "else", [], [value("v")])
    return {"then_branch": then, "else_branch": other}


def test_lines_about_the_inside_of_a_branch_find_none(profile: RuntimeProfile, runner: RunnerClient) -> None:
    ask = [node("Relu", ["x"], ["p"]), node("ReduceSum", ["p"], ["s"], keepdims=0), node("Greater", ["s", "n"], ["c"])]
    tail = [node("If", ["c"], ["i"], **branches()), node("Relu", ["i"], ["y"])]
    limit = numpy_helper.from_array(np.float32(-1), "n")
    workload = workload_from_model("branch", "network", model([*ask, *tail], [4, 4], limit))
    kernels = kernel_graph(workload, profile).kernels
    records = traced(workload, runner)
    matched = match_records(kernels, records)
    assert [record["op"] for record in records] == ["Relu", "ReduceSum", "Greater", "Exp", "Relu", "If", "Relu"]
    assert matched == [0, 1, 2, None, None, 3, 4]


def test_a_trace_in_another_order_is_matched_by_shapes_and_names(profile: RuntimeProfile) -> None:
    graph = GraphBuilder("block")
    spec = InvertedResidual(out=16, mid=64, kernel=3, stride=1, activation="hard_swish", squeeze=16)
    made = spec.build(graph, graph.input((1, 16, 20, 20)))
    kernels = kernel_graph(workload_from_model("b", "block", graph.model(made), tuple(graph.weights)), profile).kernels
    order = np.random.default_rng(0).permutation(len(kernels))
    records = [
        {
            "name": kernels[k].name,
            "op": kernels[k].op.rpartition(".")[2],
            "outputs": [["float", list(shape or ())] for shape in kernels[k].outputs],
        }
        for k in order
    ]
    assert match_records(kernels, records) == list(order)
    assert match_records(kernels, [{"name": "", "op": "Unheard", "outputs": []}]) == [None]
    assert match_records((), []) == []
