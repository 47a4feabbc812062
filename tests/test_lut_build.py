"""From the store to a LUT: measured where it was measured, predicted elsewhere, refused where neither is possible."""

from __future__ import annotations

import pytest

from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_build import build_lut
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError
from edgecost.profiler.kernels.graph import kernels


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space("ofa-mobilenetv3")


@pytest.fixture(scope="module")
def graphs(space, profile):
    return {cell.key: kernels(space.workload(cell), profile) for cell in space.measurable}


@pytest.fixture(scope="module")
def predictor(graphs, law) -> LatencyPredictor:
    known = list(graphs.values())
    return LatencyPredictor(rounds=20).fit(known, law.true_ms(known))


def build(notebook, space: Space, predictor: LatencyPredictor | None) -> Lut:
    environment = notebook.environment.environment_hash
    return build_lut(notebook.store, space, notebook.device, notebook.profile, environment, predictor)


def test_measured_cells_keep_their_numbers_and_the_others_are_predicted(notebook, space, graphs, predictor) -> None:
    measured = [cell.key for cell in space.measurable[::3]]
    for place, key in enumerate(measured):
        notebook.write(space.workload(space.cell(key)), 1.1 + place)
    lut = build(notebook, space, predictor)
    assert list(lut.keys) == [cell.key for cell in space.measurable]
    for cell in lut.cells:
        if cell.key in measured:
            expected = 1.0 + measured.index(cell.key)
            assert (cell.source, cell.n) == ("measured", 7)
            assert cell.latency_ms == pytest.approx(expected)
            assert cell.lo_ms == pytest.approx(0.98 * (expected + 0.1) - 0.1)
            assert cell.hi_ms == pytest.approx(1.03 * (expected + 0.1) - 0.1)
        else:
            price = predictor.price([graphs[cell.key]])[0]
            assert (cell.source, cell.n) == ("predicted", 0)
            assert (cell.latency_ms, cell.lo_ms, cell.hi_ms) == pytest.approx(
                (price.total_ms, price.lo_ms, price.hi_ms)
            )
    assert lut.provenance["graphs_measured"] == len(measured)
    assert lut.provenance["repeatability_radius"] is None


def test_a_measured_interval_is_never_narrower_than_what_processes_differ_by(notebook, space, predictor) -> None:
    for cell in space.measurable[:10]:
        notebook.write(space.workload(cell), 1.0, overhead_ms=0.0)
        notebook.write(space.workload(cell), 1.2, overhead_ms=0.0, purpose="panel")
    notebook.write(space.workload(space.measurable[10]), 1.0, overhead_ms=0.0)
    lut = build(notebook, space, predictor)
    assert lut.provenance["repeatability_radius"] == pytest.approx(0.2)
    once = lut.query(space.measurable[10].key)
    assert once.lo_ms == pytest.approx(1 / 1.2)
    assert once.hi_ms == pytest.approx(1.2)
    twice = lut.query(space.measurable[0].key)
    assert twice.latency_ms == pytest.approx(1.1)
    assert twice.lo_ms == pytest.approx(1.1 / 1.2)
    assert twice.hi_ms == pytest.approx(1.1 * 1.2)


def test_a_space_that_was_measured_whole_needs_no_predictor(notebook, space, tmp_path) -> None:
    for cell in space.measurable:
        notebook.write(space.workload(cell), 1.1)
    lut = build(notebook, space, None)
    assert set(lut.source) == {"measured"}
    back = Lut.load(lut.save(tmp_path / "whole.json"))
    assert back.cells == lut.cells
    assert back.provenance["device"] == "board"


def test_without_a_predictor_all_cells_that_are_missing_are_named(notebook, space) -> None:
    for cell in space.measurable[:-3]:
        notebook.write(space.workload(cell), 1.1)
    with pytest.raises(GateError, match="3 of 96 cells") as caught:
        build(notebook, space, None)
    assert caught.value.message.splitlines()[1:] == [f"  {cell.key}" for cell in space.measurable[-3:]]
    assert "edgecost train" in caught.value.remedy


def test_cells_of_a_kind_that_was_never_measured_are_all_named(notebook, space, graphs, law) -> None:
    pointwise = [graph for graph in graphs.values() if len(graph) == 5]
    blind = LatencyPredictor(rounds=5).fit(pointwise, law.true_ms(pointwise))
    unknown = [
        cell.key for cell in space.measurable[1:] if blind.price([graphs[cell.key]])[0].is_lower_bound
    ]  # fmt: skip
    notebook.write(space.workload(space.measurable[0]), 1.1)
    assert unknown
    with pytest.raises(GateError, match="nor predictable") as caught:
        build(notebook, space, blind)
    assert caught.value.message.splitlines()[1:] == [f"  {key}" for key in unknown]


def test_a_retracted_measurement_is_predicted_instead(notebook, space, predictor) -> None:
    wrong = notebook.write(space.workload(space.measurable[5]), 99.0)
    notebook.store.retract(wrong, "me", "the wrong board")
    assert build(notebook, space, predictor).query(space.measurable[5].key).source == "predicted"
