"""A model measured whole: what comes of healthy ones, of ways through control flow, and of each kind of bad one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.costmodels.campaign import Planned, plan, run_campaign
from edgecost.costmodels.control_flow import ControlFlow
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.named_runtimes import chosen_profile
from edgecost.costmodels.profile_model import ModelProfile, PathCost, profile
from edgecost.db import Store
from edgecost.profiler.conclusion import conclude
from edgecost.profiler.errors import (
    BrokenModel,
    EdgecostError,
    MissingPackage,
    RunnerError,
    UnsupportedOperator,
    UnsupportedPrecision,
    UsageError,
)
from edgecost.profiler.model_file import read_model
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Status, Visit
from edgecost.profiler.runtimes import NamedRuntime, host_profile, resolve
from edgecost.profiler.tasks import Task
from edgecost.profiler.workload import Workload, workload_from_model

#: So loose that a busy machine settles too.
LOOSE = Settings(visits_min=3, target=0.9, visits_max=6, rounds_max=60)

# Both ways are real work, of different size.
CHOICE = """
<ir_version: 8, opset_import: ["" : 17]>
choice (float[1,64] x) => (float[1,64] y) <float[64,64] w = {WEIGHT}> {
    m = ReduceMean <keepdims = 0> (x)
    zero = Constant <value = float {0.0}> ()
    warm = Greater (m, zero)
    [gate] y = If (warm) <
        then_branch = hot () => (float[1,64] t) { u = MatMul (x, w)  v = Tanh (u)  t = MatMul (v, w) },
        else_branch = cold () => (float[1,64] t) { t = Neg (x) }
    >
}""".replace("WEIGHT", ", ".join(["0.01"] * 64 * 64))


def save(folder: Path, nodes: Sequence[onnx.NodeProto], constants: dict[str, np.ndarray] | None = None) -> Path:
    """A model of one float input ``x`` (4, 8) and one output ``y``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def healthy(folder: Path) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], "product"), helper.make_node("Relu", ["a"], ["y"], "gate")]
    return save(folder, nodes, {"w": np.ones((8, 16), np.float32)})


def endless(folder: Path) -> Path:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["v"], ["w"])],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("v", TensorProto.FLOAT, [4, 8]),
        ],
        [value("on", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, [4, 8])],
    )
    return save(folder, [helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body)], {"turns": np.array(2**62)})


def greedy(folder: Path) -> Path:
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Expand", ["s", "huge"], ["e"]),
        helper.make_node("ReduceSum", ["e"], ["y"], keepdims=0),
    ]
    return save(folder, nodes, {"huge": np.array([1 << 17, 1 << 17])})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened


def statuses(store: Store) -> list[Status]:
    return [measurement.status for measurement in store.measurements(usable_only=False)]


# Healthy models.


def test_a_model_gets_a_latency_its_conditions_and_the_shares_of_its_kernels(tmp_path: Path, store: Store) -> None:
    found = profile(healthy(tmp_path), settings=LOOSE, store=store)
    (path,) = found.paths
    assert (path.label, path.probability) == ("", 1.0)
    assert found.measurement.latency is not None
    assert found.expected_ms == found.measurement.latency.median_ms
    assert [share.nodes for share in found.kernels] == [("product",), ("gate",)]
    assert sum(share.share for share in found.kernels) == pytest.approx(1)
    assert sum(share.latency_ms for share in found.kernels) == pytest.approx(found.expected_ms)
    stored = store.measurements(usable_only=False, with_visits=True)[-1]
    assert stored == found.measurement
    assert set(stored.conditions) >= {"before", "after", "load_ms", "first_run_ms"}
    assert found.pipeline == ()


def test_a_model_that_is_quantised_already_is_measured_as_it_is(tmp_path: Path) -> None:
    constants = {"scale": np.array(0.1, np.float32), "zero": np.array(3, np.uint8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    model = save(tmp_path, nodes, constants)
    assert profile(model, settings=LOOSE).expected_ms is not None
    for precision in ("fp16", "int8-qdq"):
        with pytest.raises(UnsupportedPrecision, match="quantised already") as caught:
            profile(model, settings=LOOSE, runtime=replace(host_profile(), precision=precision))
        assert "--precision fp32" in caught.value.remedy


def test_another_interpreter_tells_its_kernels_by_its_own_trace(tmp_path: Path) -> None:
    runtime = replace(host_profile(), interpreter=sys.executable)
    found = profile(healthy(tmp_path), settings=LOOSE, runtime=runtime)
    assert {share.kernel for share in found.kernels} == {None}
    assert [share.op for share in found.kernels] == ["MatMul", "Relu"]
    assert sum(share.share for share in found.kernels) == pytest.approx(1)


# Control flow.


@pytest.fixture
def choice(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(CHOICE), tmp_path / "choice.onnx")
    return tmp_path / "choice.onnx"


def test_a_branch_without_a_probability_is_asked_for(choice: Path) -> None:
    with pytest.raises(UsageError, match="which branch 'gate' takes depends on the data") as caught:
        profile(choice, settings=LOOSE)
    assert "--branch gate=P" in caught.value.remedy


def test_the_expected_cost_is_the_mean_of_the_ways_by_their_probabilities(choice: Path, store: Store) -> None:
    flow = ControlFlow({"gate": 0.25})
    found = profile(choice, settings=LOOSE, store=store, control_flow=flow)
    assert [(path.label, path.probability) for path in found.paths] == [("gate=else", 0.75), ("gate=then", 0.25)]
    cold, hot = (path.measurement.latency for path in found.paths)
    assert cold is not None
    assert hot is not None
    assert found.expected_ms == pytest.approx(0.75 * cold.median_ms + 0.25 * hot.median_ms)
    # The table of kernels is the likeliest way's, which is the cheap one.
    assert "MatMul" not in [share.op for share in found.kernels]
    assert "Neg" in [share.op for share in found.kernels]
    measured = {measurement.graph_hash for measurement in store.measurements(usable_only=False)}
    assert measured == {path.workload.graph_hash for path in found.paths}


def test_a_way_that_is_never_taken_is_not_measured(choice: Path, store: Store) -> None:
    found = profile(choice, settings=LOOSE, store=store, control_flow=ControlFlow({"gate": 1.0}))
    assert [path.label for path in found.paths] == ["gate=then"]
    assert [share.op for share in found.kernels].count("MatMul") == 2


def test_a_way_without_a_latency_leaves_the_expected_cost_unknown(tmp_path: Path) -> None:
    setting = LocalSetting.here()
    workload = read_model(healthy(tmp_path))

    def made(probability: float, value_ns: float | None) -> PathCost:
        status = Status.OK if value_ns else Status.REJECTED
        visits = [Visit(n, "s", (1,), (), (1, 1), 0, "" if value_ns else "canary", value_ns) for n in range(8)]
        task = Task(workload, "profile")
        measurement = conclude(task, setting.stage, visits, status, "", overhead=None, started_at=None, session="s")
        return PathCost("", probability, workload, measurement)

    def expected(*paths: PathCost) -> float | None:
        return ModelProfile(workload, setting, paths).expected_ms

    assert expected(made(0.5, 2e6), made(0.5, 4e6)) == pytest.approx(3.0)
    assert expected(made(0.5, 2e6), made(0.5, None)) is None
    assert expected(made(1.0, 2e6), made(0.0, None)) == pytest.approx(2.0)


# Bad models.

BAD = {
    "NaN": (lambda f: save(f, [helper.make_node("Sqrt", ["x"], ["y"])]), BrokenModel, Status.INVALID_OUTPUT),
    "an operator that only somebody else knows": (
        lambda f: save(f, [helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")]),
        UnsupportedOperator,
        Status.UNSUPPORTED_OPERATOR,
    ),
    "a loop without end": (endless, EdgecostError, Status.TIMEOUT),
    "more memory than there is": (greedy, EdgecostError, Status.OUT_OF_MEMORY),
}


@pytest.mark.parametrize(("make", "error", "status"), BAD.values(), ids=BAD)
def test_a_bad_model_ends_in_the_error_and_the_row_that_name_it(make, error, status, tmp_path, store) -> None:
    settings = replace(LOOSE, visit_timeout_s=1.5)
    with pytest.raises(error) as caught:
        profile(make(tmp_path), settings=settings, store=store)
    assert type(caught.value) is error
    assert "model.onnx" in caught.value.message
    assert error is not EdgecostError or status.value in caught.value.message
    (row,) = store.measurements(usable_only=False)
    assert (row.status, row.latency) == (status, None)
    assert row.message in caught.value.message


def test_a_model_that_cannot_be_had_in_a_precision_is_a_row_too(tmp_path: Path, store: Store) -> None:
    model = save(tmp_path, [helper.make_node("Relu", ["x"], ["y"])])
    runtime = replace(host_profile(), precision="int8-qoperator")
    with pytest.raises(UnsupportedPrecision):
        profile(model, settings=LOOSE, store=store, runtime=runtime)
    assert statuses(store) == [Status.UNSUPPORTED_PRECISION]


def test_a_provider_that_is_not_there_is_wrong_usage_and_names_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"has no CUDAExecutionProvider; it has .*CPUExecutionProvider"):
        chosen_profile("ort-cuda", None, None, None)


def test_a_provider_that_falls_back_is_a_row_without_a_latency(tmp_path: Path, store: Store) -> None:
    runtime = replace(host_profile(), provider="CUDAExecutionProvider")
    with pytest.raises(EdgecostError, match="did not take the whole graph") as caught:
        profile(healthy(tmp_path), settings=LOOSE, store=store, runtime=runtime)
    assert "--runtime ort" in caught.value.remedy
    assert statuses(store) == [Status.PROVIDER_FALLBACK]


def script(path: Path, line: str) -> str:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_without_the_runtime_is_told_before_and_while_measuring(tmp_path: Path) -> None:
    bare = script(tmp_path / "python", f'exec "{sys.executable}" -S -E "$@"')
    with pytest.raises(MissingPackage, match="has no onnxruntime") as caught:
        resolve(NamedRuntime("bare", "nothing installed", interpreter=bare))
    assert "pip install" in caught.value.remedy
    with pytest.raises(RunnerError, match="could not open onnxruntime"):
        profile(healthy(tmp_path), settings=LOOSE, runtime=replace(host_profile(), interpreter=bare))


#: ONNX Runtime, but a graph with an Erf aborts the process, as a failed assertion inside the runtime does.
ABORTS = """
import importlib, os, sys
sys.path.remove(os.path.dirname(__file__))
del sys.modules["onnxruntime"]
real = importlib.import_module("onnxruntime")
made = real.InferenceSession
def session(model, *arguments, **named):
    content = model if isinstance(model, bytes) else open(model, "rb").read()
    if b"Erf" in content:
        os.abort()
    return made(model, *arguments, **named)
real.InferenceSession = session
"""


@pytest.fixture
def fragile(tmp_path: Path) -> str:
    """An interpreter with a runtime that aborts."""
    folder = tmp_path / "shadow"
    folder.mkdir()
    (folder / "onnxruntime.py").write_text(ABORTS)
    return script(tmp_path / "fragile", f'ulimit -c 0\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"')


def test_a_model_that_aborts_the_runtime_is_a_crash_and_nothing_more(
    tmp_path: Path, fragile: str, store: Store
) -> None:
    runtime = replace(host_profile(), interpreter=fragile)
    model = save(tmp_path, [helper.make_node("Erf", ["x"], ["y"])])
    with pytest.raises(EdgecostError, match="crashed: the runner ended by SIGABRT"):
        profile(model, settings=LOOSE, store=store, runtime=runtime)
    assert statuses(store) == [Status.CRASHED]
    assert profile(healthy(tmp_path), settings=LOOSE, store=store, runtime=runtime).expected_ms is not None


def operator(name: str, size: int, domain: str = "") -> Workload:
    graph = helper.make_graph(
        [helper.make_node(name, ["x"], ["y"], domain=domain)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    return workload_from_model(name, "operator", helper.make_model(graph, opset_imports=opsets, ir_version=8))


def test_a_campaign_finishes_the_healthy_ones_beside_each_kind_of_bad_one(fragile: str, store: Store) -> None:
    setting = LocalSetting.here(replace(host_profile(), interpreter=fragile))
    bad = {
        Status.CRASHED: operator("Erf", 8),
        Status.INVALID_OUTPUT: operator("Sqrt", 8),
        Status.UNSUPPORTED_OPERATOR: operator("Frobnicate", 8, "acme"),
        Status.OUT_OF_MEMORY: operator("Relu", 1 << 36),
    }
    good = [operator("Relu", size) for size in (1, 2, 3)]
    wanted = [Planned(workload, "cell", workload.name) for workload in (*bad.values(), *good)]
    campaign_id = plan(store, setting, "mixed", "s", wanted)
    run_campaign(store, setting, campaign_id, replace(LOOSE, memory_limit_bytes=8 << 30))
    (summary,) = store.campaigns()
    assert {state: count for state, count in summary.jobs.items() if count} == {"done": 3, "failed": 4}
    rows: dict[str, list[Status]] = {}
    for row in store.measurements(usable_only=False):
        rows.setdefault(row.graph_hash, []).append(row.status)
    assert {workload.graph_hash: [status] * 3 for status, workload in bad.items()} == {
        graph_hash: found for graph_hash, found in rows.items() if graph_hash not in {w.graph_hash for w in good}
    }
    assert {m.graph_hash for m in store.measurements()} == {workload.graph_hash for workload in good}
