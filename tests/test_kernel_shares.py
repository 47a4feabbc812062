"""Shares of the time by kernel, from the runtimes' own profilers."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

import onnx
import pytest
from onnx import helper

from edgecost.costmodels.kernel_shares import KernelShare, _trace, kernel_shares
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.profiler.bench import Bench
from edgecost.profiler.errors import RunnerError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import BUILT_IN, host_profile, resolve
from edgecost.profiler.tasks import Stage
from edgecost.profiler.workload import Workload, workload_from_model

SETTINGS = Settings()
# The runtime cannot know the condition, and both branches hold several nodes.
CHOICE = """
<ir_version: 8, opset_import: ["" : 17]>
choice (float[64,64] x) => (float[64,64] z) {
    m = ReduceMean <keepdims = 0> (x)
    zero = Constant <value = float {0.0}> ()
    warm = Greater (m, zero)
    y = If (warm) <
        then_branch = hot () => (float[64,64] t) { u = MatMul (x, x)  v = Tanh (u)  t = MatMul (v, u) },
        else_branch = cold () => (float[64,64] t) { u = MatMul (x, x)  v = Erf (u)  t = MatMul (v, u) }
    >
    z = Exp (y)
}"""


def network() -> Workload:
    graph = GraphBuilder("network")
    value = graph.conv(graph.input((1, 3, 32, 32)), 8, kernel=3, stride=2, activation="relu")
    value = graph.activate(graph.conv(value, 16), "hard_swish")
    return workload_from_model("network", "network", graph.model(value), tuple(graph.weights))


def shares(workload: Workload, profile: RuntimeProfile, whole_ms: float = 2.0) -> tuple[KernelShare, ...]:
    with Bench.for_profile(profile) as bench:
        return kernel_shares(workload, LocalSetting.here(profile).stage, SETTINGS, bench, whole_ms)


def check_sums(found: tuple[KernelShare, ...], whole_ms: float = 2.0) -> None:
    assert sum(one.share for one in found) == pytest.approx(1)
    assert sum(one.latency_ms for one in found) == pytest.approx(whole_ms)
    assert all(one.share >= 0 for one in found)


def test_the_shares_of_a_network_add_up_and_name_the_nodes_that_they_came_from(profile: RuntimeProfile) -> None:
    found = shares(network(), profile)
    check_sums(found)
    assert None not in [one.kernel for one in found]
    assert [one.op for one in found if one.kernel] == [one.kernel.op for one in found if one.kernel]
    names = [name for one in found for name in one.nodes]
    assert {name.partition("_")[0] for name in names} >= {"Conv", "Relu"}
    assert found[-1].outputs == ((1, 16, 16, 16),)


def test_what_runs_inside_a_branch_is_not_counted_beside_the_branch(profile: RuntimeProfile) -> None:
    choice = workload_from_model("choice", "network", onnx.parser.parse_model(CHOICE))
    stage = LocalSetting.here(profile).stage
    with Bench.for_profile(profile) as bench:
        traced = [record["op"] for record in _trace(choice, stage, SETTINGS, bench)]
        found = kernel_shares(choice, stage, SETTINGS, bench, 2.0)
    assert "MatMul" in traced, "the runtime does not trace what is inside: this test has lost its point"
    ops = [one.op for one in found]
    assert "MatMul" not in ops
    assert ops[-2:] == ["If", "Exp"]
    check_sums(found)
    # Two products and an activation are inside; all else are single numbers, and one activation.
    assert found[-2].share > 0.3


def test_what_another_interpreter_runs_is_told_by_its_trace_alone() -> None:
    there = replace(host_profile(), interpreter=sys.executable)
    found = shares(network(), there)
    check_sums(found)
    assert {one.kernel for one in found} == {None}
    assert all(one.name and one.op and not one.nodes for one in found)


def test_where_a_branch_cannot_be_told_from_what_it_holds_nothing_is_said() -> None:
    there = replace(host_profile(), interpreter=sys.executable)
    choice = workload_from_model("choice", "network", onnx.parser.parse_model(CHOICE))
    assert shares(choice, there) == ()


def test_a_graph_that_the_profiler_refuses_has_no_shares_and_one_that_hangs_is_an_error(
    profile: RuntimeProfile,
) -> None:
    stage = Stage(profile, LocalSetting.here(profile).stage.environment, "device")
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")], "g",
                              [value("x", 1, [4])], [value("y", 1, [4])])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("acme", 1)], ir_version=8)
    with Bench.for_profile(profile) as bench:
        assert kernel_shares(workload_from_model("bad", "operator", model), stage, SETTINGS, bench, 1.0) == ()
        with pytest.raises(RunnerError, match="profiler failed: no answer within"):
            kernel_shares(network(), stage, Settings(visit_timeout_s=1e-4), bench, 1.0)


@pytest.mark.skipif(importlib.util.find_spec("tvm") is None, reason="TVM is not installed")
def test_every_call_that_tvm_makes_is_a_row_whether_announced_or_not() -> None:
    found = shares(network(), resolve(BUILT_IN["tvm"]))
    check_sums(found)
    announced = [one for one in found if one.kernel is not None]
    assert announced
    assert {name.partition("_")[0] for one in announced for name in one.nodes} >= {"Conv"}
