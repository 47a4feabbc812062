"""Training from the store: the report says what was measured, and is JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgecost.costmodels.predictor_file import load_predictor
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.training import save_report, train
from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.workload import Workload, workload_from_model

CELLS = 48


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space("ofa-mobilenetv3")


def fill(notebook, law, space: Space, *, step: int = 2, repeat: bool = False) -> list[Workload]:
    """Cells from all over the space by the known law, each overhead 0.1 ms on top."""
    workloads = [space.workload(cell) for cell in space.measurable[::step]]
    truth = law.measured_ms([kernels(workload, notebook.profile) for workload in workloads], seed=1)
    for workload, latency in zip(workloads, truth, strict=True):
        notebook.write(workload, latency + 0.1)
        if repeat:
            notebook.write(workload, 1.01 * latency + 0.1, purpose="panel")
    return workloads


def unreadable() -> Workload:
    """A network with an operator that this runtime does not know."""
    graph = GraphBuilder("odd")
    model = graph.model(graph.activate(graph.input((4,)), "relu"))
    model.graph.node[0].op_type = "Gone"
    return Workload("odd", "network", "f" * 64, workload_from_model("odd", "network", model).skeleton)


def test_the_report_stands_on_what_the_store_holds(notebook, law, space) -> None:
    workloads = fill(notebook, law, space, repeat=True)
    cells = {workload.graph_hash for workload in workloads[:30]}
    report = train(notebook.store, notebook.device.identity, notebook.profile, cells=cells)
    assert (report.graphs, report.cells, report.networks) == (CELLS, 30, 0)
    assert report.held_out is not None
    assert report.held_out.n == 30
    assert report.held_out.mape_percent < 30
    assert report.floor is not None
    assert report.floor.mape_percent == pytest.approx(1.0)
    assert report.flops_only is not None
    assert report.held_out.mape_percent < report.flops_only.mape_percent
    assert report.coverage is not None
    assert 0.7 <= report.coverage <= 1.0


def test_without_repetitions_the_report_has_no_floor_and_is_still_json(notebook, law, space) -> None:
    fill(notebook, law, space)
    document = train(notebook.store, notebook.device.identity, notebook.profile).document()
    assert document["repeatability_floor"] is None
    assert document["composition"] is None
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_latencies_that_are_all_equal_make_a_report_without_nan(notebook, space) -> None:
    for cell in space.measurable[:20]:
        notebook.write(space.workload(cell), 1.1)
    document = train(notebook.store, notebook.device.identity, notebook.profile).document()
    json.dumps(document, allow_nan=False)


def test_cells_that_were_not_measured_are_not_judged(notebook, law, space) -> None:
    fill(notebook, law, space)
    report = train(notebook.store, notebook.device.identity, notebook.profile, cells={"0" * 64})
    assert (report.cells, report.held_out, report.coverage) == (0, None, None)
    json.dumps(report.document(), allow_nan=False)


def test_networks_fit_the_factor_and_one_that_cannot_be_read_does_not_stop_it(notebook, law, space) -> None:
    fill(notebook, law, space, step=1)
    plain = train(notebook.store, notebook.device.identity, notebook.profile)
    networks = [space.build(arch) for arch in space.sample(4, seed=1)]
    graphs = [kernels(workload, notebook.profile) for workload in networks]
    sums = np.array([price.total_ms for price in plain.predictor.price(graphs)])
    for workload, total in zip(networks, sums, strict=True):
        notebook.write(workload, 1.2 * total + 0.1, purpose="network")
    notebook.write(unreadable(), 7.0, purpose="profile")
    report = train(notebook.store, notebook.device.identity, notebook.profile)
    assert report.networks == 4
    assert report.predictor.composition_ is not None
    assert report.predictor.composition_.scale == pytest.approx(1.2)


def test_too_few_measurements_say_so(notebook, space) -> None:
    notebook.write(space.workload(space.measurable[0]), 1.0)
    with pytest.raises(UsageError, match="1 measured graphs are too few"):
        train(notebook.store, notebook.device.identity, notebook.profile)


def test_a_saved_report_comes_back_with_its_predictor(notebook, law, space, tmp_path) -> None:
    fill(notebook, law, space)
    report = train(notebook.store, notebook.device.identity, notebook.profile)
    save_report(report, tmp_path / "made", {"device": "board"})
    _, provenance = load_predictor(tmp_path / "made")
    assert provenance["device"] == "board"
    assert provenance["report"] == report.document()
