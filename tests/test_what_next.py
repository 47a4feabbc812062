"""What to measure next for a predictor: only what nobody measured, with a reason that measuring it takes away."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.costmodels.active.what_next import NETWORKS, Surveys, what_next
from edgecost.costmodels.cards.growth import CELL, EXTRAPOLATED, KERNEL, KINDS, NOT_COVERED, NextMeasurement
from edgecost.costmodels.dataset import load_samples, sample_kernels
from edgecost.costmodels.fitting import Fitted, fit_measured, read_measured
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.kernels.cut import kernel_workloads
from edgecost.profiler.workload import Workload
from tests.trained_store import Trained, write


def of_kind(wanted: tuple[NextMeasurement, ...], kind: str) -> list[NextMeasurement]:
    return [one for one in wanted if one.kind == kind]


@pytest.fixture
def wanted(trained_for_space: Trained) -> tuple[NextMeasurement, ...]:
    return trained_for_space.report.card.next


def test_cells_that_are_named_were_not_measured_and_belong_to_the_space(
    wanted: tuple[NextMeasurement, ...], trained_for_space: Trained
) -> None:
    cells = of_kind(wanted, CELL)
    space = load_space("ofa-mobilenetv3")
    hashes = {cell.key: graph.graph_hash for cell in space.measurable if (graph := space.workload(cell)) is not None}
    with Store(trained_for_space.store) as store:
        known = {one.graph_hash for one in store.measurements(purposes=("cell", "panel"))}
    assert cells
    for one in cells:
        assert one.target == "ofa-mobilenetv3"
        assert one.graph == hashes[one.subject]
        assert one.graph not in known or one.latency_ms is not None  # tried, without a number that trains
        assert one.share is not None
        assert 0 < one.share < 1
    gains = [one.gain for one in cells if one.gain is not None]
    assert all(0 < gain <= 1 for gain in gains)


def test_what_has_no_price_comes_first_and_every_reason_has_its_numbers(wanted: tuple[NextMeasurement, ...]) -> None:
    cells = of_kind(wanted, CELL)
    assert cells[0].reason == NOT_COVERED
    assert "Gemm" in cells[0].why
    assert cells[0].latency_ms is None
    for one in cells[1:]:
        assert one.latency_ms is not None
        assert one.reason != NOT_COVERED
        assert ("beyond what was measured" in one.why) == (one.reason == EXTRAPOLATED)


def test_kernels_of_networks_are_named_where_no_space_has_them_as_cells(
    wanted: tuple[NextMeasurement, ...], trained_for_space: Trained
) -> None:
    # These networks are called as nothing in a space is.
    setting = trained_for_space.setting
    with Store(trained_for_space.store) as store:
        networks = load_samples(store, setting.device.identity, setting.profile, purposes=("network",))
    theirs = {one.signature for graph in sample_kernels(networks, setting.profile) for one in graph}
    kernels = of_kind(wanted, KERNEL)
    assert kernels
    assert {one.target for one in kernels} == {NETWORKS}
    assert {one.subject for one in kernels} <= theirs


def test_kinds_that_most_networks_have_are_those_that_the_card_lacks(
    wanted: tuple[NextMeasurement, ...], trained_for_space: Trained
) -> None:
    (kinds,) = of_kind(wanted, KINDS)
    assert f"Nothing was measured of {kinds.subject}, which most networks have." in trained_for_space.report.card.limits


def test_what_was_named_first_is_named_no_more_when_it_was_measured(trained_for_space: Trained, tmp_path: Path) -> None:
    shutil.copy(trained_for_space.store, tmp_path / "store.sqlite")
    setting, space = trained_for_space.setting, load_space("ofa-mobilenetv3")
    first, kernel = (of_kind(trained_for_space.report.card.next, kind)[0] for kind in (CELL, KERNEL))
    (cell,) = (one for one in space.measurable if one.key == first.subject)
    graph = space.workload(cell)
    assert graph is not None
    with Store(tmp_path / "store.sqlite") as store:
        write(store, setting, graph, 1.5)
        write(store, setting, cut_out(store, setting, kernel.subject), 0.5, purpose="kernel")
        measured = read_measured(store, setting.device.identity, setting.profile)
        fitted = fit_measured(measured)
        after = what_next(store, measured, fitted, Surveys())
    assert not {first.subject, kernel.subject} & {one.subject for one in after}
    assert NOT_COVERED not in [one.reason for one in of_kind(after, CELL)]


def cut_out(store: Store, setting: LocalSetting, signature: str) -> Workload:
    """A kernel of a network of the store, as the graph to measure it by."""
    networks = load_samples(store, setting.device.identity, setting.profile, purposes=("network",))
    cuts = (pair for one in networks for pair in kernel_workloads(one.workload, setting.profile))
    return next(cut for kernel, cut in cuts if kernel.signature == signature and cut is not None)


def test_spaces_that_are_unknown_or_too_large_are_left_out_and_nothing_else(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(trained.store, tmp_path / "store.sqlite")
    monkeypatch.setattr("edgecost.costmodels.active.what_next._CELLS_MAX", 10)
    with Store(tmp_path / "store.sqlite") as store:
        store.open_campaign("mine", "a-space-of-somebody", {"protocol": {}})
        store.open_campaign("large", "fbnet", {"protocol": {}})
        measured = read_measured(store, trained.setting.device.identity, trained.setting.profile)
        predictor = trained.report.predictor
        fitted = Fitted(predictor, tuple(() for _ in measured.blocks), ())
        found = what_next(store, measured, fitted, Surveys())
        simulated = replace(measured, profile=replace(measured.profile, runtime="simulator"))
        elsewhere = what_next(store, simulated, fitted, Surveys())
    assert [one.kind for one in found] == [KINDS]
    assert elsewhere == ()
