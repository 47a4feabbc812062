"""What stands around an inference, with the real runtime: every row has a number, or says why there is none."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.pipeline import COPIES, LOADS, PipelineRow, PipelineSteps, _row, measure_pipeline
from edgecost.profiler.bench import Bench
from edgecost.profiler.errors import BrokenModel
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.workload import Workload, workload_from_model

LOOSE = Settings(visits_min=3, target=0.9, visits_max=6, rounds_max=60)


def classifier() -> Workload:
    graph = GraphBuilder("classifier")
    value = graph.conv(graph.input((1, 3, 16, 16)), 8, kernel=3, stride=2, activation="relu")
    value = graph.linear(graph.global_average_pool(value), 10)
    return workload_from_model("classifier", "network", graph.model(value), tuple(graph.weights))


def relu(size: int) -> Workload:
    graph = GraphBuilder("relu")
    return workload_from_model("relu", "operator", graph.model(graph.activate(graph.input((size,)), "relu")))


def rows(workload: Workload, profile: RuntimeProfile, steps: PipelineSteps) -> tuple[PipelineRow, ...]:
    with Bench.for_profile(profile) as bench:
        found = measure_pipeline(workload, LocalSetting.here(profile).stage, LOOSE, bench, steps)
    for row in found:
        assert row.median_ms is not None or row.note
        assert row.median_ms is None or row.repetitions
        assert row.median_ms is None or row.median_ms > 0
        assert (row.lo_ms is None) == (row.hi_ms is None)
        if row.lo_ms is not None and row.median_ms is not None and row.hi_ms is not None:
            assert row.lo_ms <= row.median_ms <= row.hi_ms
    return found


def test_an_image_classifier_has_all_its_steps_in_the_order_of_an_application(profile: RuntimeProfile) -> None:
    found = rows(classifier(), profile, PipelineSteps(frame=(20, 24)))
    assert [row.step for row in found] == [
        "create session, cold", "create session", "first run, cold", "first run",
        "before: frame 20x24 to tensor", "copy in", "inference: classifier", "copy out", "after: best 5 of 10",
    ]  # fmt: skip
    assert None not in [row.median_ms for row in found]
    assert [row.repetitions for row in found[:4]] == [1, LOADS - 1, 1, LOADS - 1]
    assert [row.repetitions for row in found if row.step.startswith("copy")] == [COPIES, COPIES]
    # A single cold start has no interval.
    assert [row.step for row in found if row.lo_ms is None] == ["create session, cold", "first run, cold"]


def test_what_is_no_image_classifier_has_notes_in_place_of_the_standard_steps(profile: RuntimeProfile) -> None:
    found = {row.step: row for row in rows(relu(64), profile, PipelineSteps())}
    assert found["before"].median_ms is None
    assert "--before FILE.onnx" in found["before"].note
    assert "--after FILE.onnx" in found["after"].note
    assert found["inference: relu"].median_ms is not None


def test_steps_of_ones_own_take_the_place_of_the_standard_ones(profile: RuntimeProfile, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(relu(8).skeleton)
    onnx.save(model, tmp_path / "mine.onnx")
    model.graph.node[0].op_type = "Sqrt"
    onnx.save(model, tmp_path / "broken.onnx")
    steps = PipelineSteps(before=tmp_path / "mine.onnx", after=tmp_path / "broken.onnx")
    found = {row.step: row for row in rows(classifier(), profile, steps)}
    assert found["before: mine"].median_ms is not None
    assert found["after: broken"].median_ms is None
    assert found["after: broken"].note.startswith("invalid_output: ")


def test_a_step_that_is_no_model_is_told(profile: RuntimeProfile, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_text("no model")
    with pytest.raises(BrokenModel):
        rows(classifier(), profile, PipelineSteps(before=tmp_path / "mine.onnx"))


def test_without_repetitions_there_is_no_number_and_with_few_no_interval() -> None:
    assert _row("x", [], note="about it") == PipelineRow("x", None, note="nothing was measured")
    assert _row("x", [3_000_000] * 5, note="") == PipelineRow("x", 3.0, None, None, 5)
    assert _row("x", [1_000_000] * 6, note="") == PipelineRow("x", 1.0, 1.0, 1.0, 6)
