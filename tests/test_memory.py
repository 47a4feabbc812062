"""Peak memory measured for real: graphs whose tensors are known, in fresh runners, through the store to people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.cli.main import main
from edgecost.costmodels.metrics.live_bytes import constant_bytes, live_bytes
from edgecost.db import Store
from edgecost.profiler.bench import Bench
from edgecost.profiler.graphs.networks import reference_network
from edgecost.profiler.kernels.graph import optimise
from edgecost.profiler.memory import METHOD, measure_memory
from edgecost.profiler.protocol import Settings
from edgecost.profiler.readings import Reading
from edgecost.profiler.records import Measurement, Quantity, RuntimeProfile, Status
from edgecost.profiler.tasks import Stage
from edgecost.profiler.workload import Workload, workload_from_model
from tests.small_tasks import STAGE, graph

MB = 1 << 20
#: What the allocator may keep or round up on top of what a graph of this file needs.
SLACK = 6 * MB


def network(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: tuple[int, ...]) -> Workload:
    return graph(nodes, constants, shape=shape).workload


def wide(megabytes: int) -> Workload:
    """Exp, then a sum of both: two tensors of this size at once, and the input; nothing can be fused or reused."""
    size = megabytes * MB // 4
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("CumSum", ["e", "axis"], ["c"])]
    nodes.append(helper.make_node("Add", ["c", "e"], ["y"]))
    return network(nodes, {"axis": np.array(0, np.int64)}, (size,))


def heavy(megabytes: int) -> Workload:
    rows = megabytes * MB // 4 // 1024
    weight = np.ones((1024, rows), np.float32)
    return network([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}, (1, 1024))


def measured(*workloads: Workload, stage: Stage = STAGE, repetitions: int = 2) -> list[Measurement]:
    with Bench.for_profile(stage.profile) as bench:
        return list(measure_memory(workloads, stage, Settings(), bench, repetitions=repetitions))


def test_what_a_graph_holds_is_what_is_measured_loading_and_running_apart() -> None:
    small, activations, weights = measured(wide(1), wide(32), heavy(32))
    for made in (small, activations, weights):
        assert (made.status, made.purpose, made.latency) == (Status.OK, "memory", None)
    readings = [made.peak_memory for made in (small, activations, weights)]
    assert all(one is not None and one.method == METHOD for one in readings)
    first, second, third = (one for one in readings if one is not None)
    assert (first.overhead_bytes or 0) > 0
    assert second.peak_bytes is not None
    assert first.peak_bytes is not None
    # Input, output and two tensors between them; the runtime keeps what it took for these in the first run beside what
    # it then plans for the others.
    assert 4 * 31 * MB - SLACK < second.peak_bytes - first.peak_bytes < 6 * 31 * MB + 2 * SLACK
    # All of it comes when it runs; it was not there when it was loaded.
    assert (second.loading_bytes or 0) < (first.loading_bytes or 0) + SLACK
    assert third.peak_bytes is not None
    assert third.peak_bytes > 32 * MB
    assert third.loading_bytes is not None
    assert third.loading_bytes > 32 * MB
    told = weights.conditions["memory"]
    assert isinstance(told, list)
    assert len(told) == third.repetitions == 2
    assert third.hi_bytes is not None
    assert third.lo_bytes is not None
    assert third.hi_bytes - third.lo_bytes < SLACK


def test_the_peak_hangs_on_the_graph_and_not_on_where_the_heap_was(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = reference_network("mobilenet_v2").workload()
    found = []
    for padding in (0, 5000):
        # The interpreter copies its environment onto the heap, and what follows lies elsewhere.
        for place in range(7):
            monkeypatch.setenv(f"EDGECOST_TEST_PADDING_{place}", "x" * (padding // 7))
        found += [made.peak_memory for made in measured(workload, repetitions=1)]
    peaks = [one.peak_bytes for one in found if one is not None and one.peak_bytes is not None]
    assert peaks == pytest.approx([peaks[0]] * 2, rel=0.03)
    # What loading leaves behind is told, and is no part of it. How much that is hangs on the heap.
    assert all(one is not None and one.kept_bytes is not None for one in found)


def test_what_cannot_be_told_or_run_is_a_result_and_no_number() -> None:
    empty = network([helper.make_node("Sigmoid", ["x"], ["y"])], {}, (4,))
    broken = network([helper.make_node("NoSuchOperator", ["x"], ["y"])], {}, (4,))
    tiny, failed = measured(empty, broken, repetitions=1)
    assert tiny.peak_memory is not None
    assert (tiny.status, tiny.peak_memory.status) == (Status.OK, Reading.BELOW_RESOLUTION)
    assert tiny.peak_memory.peak_bytes is None
    assert (failed.status.has_latency, failed.peak_memory) == (False, None)
    assert "NoSuchOperator" in failed.message
    elsewhere = replace(STAGE, profile=replace(STAGE.profile, provider="ROCMExecutionProvider"))
    with Bench.for_profile(STAGE.profile) as bench:
        (on_gpu,) = measure_memory([empty], elsewhere, Settings(), bench)
    assert on_gpu.peak_memory is not None
    assert on_gpu.peak_memory.status is Reading.UNSUPPORTED
    assert "ROCMExecutionProvider has a memory of its own" in on_gpu.peak_memory.message


def test_a_system_that_forgets_no_peak_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecost.profiler import runner

    answers: list[dict[str, object]] = []
    one = runner.Runner(answers.append)
    monkeypatch.setattr(runner.Resident, "forget_peak", refuse)
    one.memory({"verb": "memory", "id": "a", "runs": 1})
    assert answers == [{"event": "memory", "id": "a", "unsupported": "[Errno 2] no such file: 'clear_refs'"}]


def refuse(resident: object) -> None:
    raise FileNotFoundError(2, "no such file", "clear_refs")


@pytest.mark.parametrize(
    ("nodes", "activations"),
    [
        # Relu may write over its input, which nobody reads afterwards.
        ([("CumSum", "x axis", "a"), ("Relu", "a", "b"), ("CumSum", "b axis", "y")], 3),
        # CumSum may not: its input stays while it writes.
        ([("CumSum", "x axis", "a"), ("CumSum", "a axis", "b"), ("CumSum", "b axis", "y")], 3),
        # The first result is read again at the end, so it has to stay beside the two others.
        ([("CumSum", "x axis", "a"), ("CumSum", "a axis", "b"), ("CumSum", "b axis", "c"), ("Mul", "a c", "y")], 4),
        # A view takes nothing of its own.
        ([("CumSum", "x axis", "a"), ("Reshape", "a shape", "b"), ("CumSum", "b axis", "y")], 3),
    ],
)
def test_live_bytes_count_what_is_alive_at_the_worst_moment(
    profile: RuntimeProfile, nodes: list[tuple[str, str, str]], activations: int
) -> None:
    made = [helper.make_node(op, read.split(), [written]) for op, read, written in nodes]
    constants = {"axis": np.array(0, np.int64), "shape": np.array([512, 2], np.int64)}
    used = {name: value for name, value in constants.items() if any(name in node.input for node in made)}
    live = live_bytes(optimise(network(made, used, (1024,)), profile))
    # The input is one of them.
    assert live.activation_bytes == activations * 4096
    assert live.is_complete
    assert live.weight_bytes == sum(value.nbytes for value in used.values())


def test_constants_are_counted_as_they_are_written() -> None:
    assert constant_bytes(heavy(1)) == MB


def model_file(path: Path) -> Path:
    weight = numpy_helper.from_array(np.ones((512, 1024), np.float32), "w")
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 512])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 1024])],
        [weight],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_model_is_measured_stored_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "store.sqlite"))
    model = model_file(tmp_path / "model.onnx")
    assert main(["campaign", "memory", str(model), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["networks"]
    assert (row["outcome"], row["status"], row["method"]) == ("ok", "ok", METHOD)
    with Store(tmp_path / "store.sqlite") as store:
        (stored,) = store.measurements(of=Quantity.MEMORY)
        assert store.measurements() == []
    assert stored.peak_memory is not None
    assert stored.peak_memory.peak_bytes == row["peak_bytes"] > 2 * MB
    assert main(["campaign", "memory", str(model)]) == 0
    assert "1 networks, 1 of them measured before" in capsys.readouterr().out
    assert main(["campaign", "memory", str(model), "--again"]) == 0
    with Store(tmp_path / "store.sqlite") as store:
        assert len(store.measurements(of=Quantity.MEMORY)) == 2


def test_a_workload_is_the_same_from_a_skeleton_and_from_a_file(tmp_path: Path) -> None:
    model = onnx.load(model_file(tmp_path / "model.onnx"))
    made = workload_from_model("model", "model", model)
    alone, filed = measured(made, replace(made, path=str(tmp_path / "model.onnx")), repetitions=1)
    peaks = [one.peak_memory.peak_bytes for one in (alone, filed) if one.peak_memory and one.peak_memory.peak_bytes]
    assert len(peaks) == 2
    assert abs(peaks[0] - peaks[1]) < MB
