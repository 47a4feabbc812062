"""Onboarding from end to end: known devices, plan, samples, fit, verdict, and the model that is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.onboarding.arch_space import Archs, ArchSpace, arch_text, open_arch_space
from edgecost.costmodels.onboarding.cell_space import NasBench201
from edgecost.costmodels.onboarding.known import KnownDevice, measured_networks, network_names, stored_pairs
from edgecost.costmodels.onboarding.known_file import read_known
from edgecost.costmodels.onboarding.onboard import SAMPLES_MAX, Onboarding, Prospect, learn, look_ahead
from edgecost.costmodels.onboarding.picture import efficiency_svg
from edgecost.costmodels.onboarding.portable import portable
from edgecost.costmodels.onboarding.portable_file import (
    NAME,
    OnboardedDevice,
    SpaceId,
    load_onboarded,
    open_space_of,
    save_onboarded,
)
from edgecost.costmodels.onboarding.target import find_target
from edgecost.costmodels.onboarding.verdict import judge
from edgecost.costmodels.space_models.experts import prepare
from edgecost.costmodels.space_models.fleet import Fleet, train_source
from edgecost.profiler.errors import ArtefactError, GateError, UsageError
from edgecost.profiler.records import Device

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TINY = str(Path(__file__).with_name("tiny.toml"))
#: Milliseconds of each kind of operator, of devices that differ in kind: skip, 1×1, 3×3, pooling, and everything else.
COSTS = {"a": (0.1, 0.8, 2.0, 0.6, 4.0), "b": (0.05, 0.5, 0.9, 0.9, 6.0), "c": (0.4, 3.0, 9.0, 1.5, 9.0)}


class Silent:
    """A narrator that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def stage(self, title: str, total: int | None = None) -> None:
        self.told.append(title)

    def step(self, note: str) -> None:
        self.told.append(note)

    def note(self, text: str) -> None:
        self.told.append(text)


def law_ms(archs: Archs, costs: tuple[float, ...], seed: int = 0, noise: float = 0.02) -> np.ndarray:
    exact = np.array((0.0, *costs[:4]))[archs].sum(axis=1) + costs[4]
    return exact * np.exp(noise * np.random.default_rng(seed).standard_normal(len(archs)))


def known_devices(space: ArchSpace, count: int = 60) -> list[KnownDevice]:
    found = []
    for place, (name, costs) in enumerate(COSTS.items()):
        rows = np.random.default_rng(place).choice(len(space.pool), count, replace=False)
        archs = space.pool[rows]
        found.append(KnownDevice(name, "test", archs, law_ms(archs, costs, place)))
    return found


@pytest.fixture(scope="module")
def every_cell() -> NasBench201:
    return NasBench201()


@pytest.fixture(scope="module")
def cells(every_cell: NasBench201) -> NasBench201:
    """Every tenth cell may be planned: enough for a plan, and ten times as fast."""
    few = NasBench201()
    few.pool = every_cell.pool[::10]
    return few


@pytest.fixture(scope="module")
def nothing(cells: NasBench201) -> Archs:
    return cells.pool[:0]


@pytest.fixture(scope="module")
def prospect(cells: NasBench201, nothing: Archs, tmp_path_factory: pytest.TempPathFactory) -> Prospect:
    cache = tmp_path_factory.mktemp("cache")
    return look_ahead(cells, known_devices(cells), nothing, Silent(), budget=20, cache=cache)


@pytest.fixture(scope="module")
def learnt(prospect: Prospect) -> Onboarding:
    archs = prospect.pool.archs[prospect.plan]
    return learn(prospect, archs, law_ms(archs, (0.2, 1.2, 2.5, 1.1, 5.0), 9), Silent())


@pytest.fixture(scope="module")
def kept(learnt: Onboarding, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    device = OnboardedDevice(
        SpaceId("nasbench201", None, None),
        portable(learnt.model),
        learnt.prospect.models,
        {"space": "nasbench201", "device": "board"},
    )
    save_onboarded(device, folder)
    return folder


def test_the_plan_holds_distinct_networks_and_never_a_degenerate_one(prospect, cells):
    assert len(prospect.plan) == len(set(prospect.plan.tolist())) == 20
    assert len({workload.graph_hash for workload in prospect.built}) == 20
    assert not prospect.pool.encoding.degenerate[prospect.plan].any()
    assert set(prospect.plan.tolist()) <= set(prospect.pool.offered.tolist())
    archs = prospect.pool.archs[prospect.plan]
    assert cells.canonical(archs).tolist() == archs.tolist()
    assert prospect.strategy == "d-optimal"


def test_without_a_known_device_the_plan_is_spread_and_the_fit_still_works(cells, nothing):
    alone = look_ahead(cells, [], nothing, Silent(), budget=20, cache=None)
    assert alone.strategy == "stratified"
    assert alone.models == ()
    archs = alone.pool.archs[alone.plan]
    found = learn(alone, archs, law_ms(archs, COSTS["c"], 3), Silent())
    assert found.model.expert_weights()["without fleet"] == pytest.approx(1.0)
    assert found.efficiency.basis == "the model's own uncertainty"
    assert found.loo_error_percent < found.spread_percent


def test_a_device_between_known_ones_is_learnt_from_twenty_networks(learnt, cells):
    rest = cells.pool
    truth = law_ms(rest, (0.2, 1.2, 2.5, 1.1, 5.0), noise=0.0)
    guess = learnt.model.predict_ms()[learnt.prospect.pool.rows(rest)]
    assert np.mean(np.abs(guess / truth - 1)) < 0.05
    assert learnt.verdict.word == "go"
    assert learnt.efficiency.basis.startswith("learning curves of 3")


def test_the_second_time_the_predictors_come_from_the_cache(cells, nothing, tmp_path):
    known, first, second = known_devices(cells)[:1], Silent(), Silent()
    one = look_ahead(cells, known, nothing, first, budget=5, cache=tmp_path)
    two = look_ahead(cells, known, nothing, second, budget=5, cache=tmp_path)
    assert any("trained" in note and note.startswith("a:") for note in first.told)
    assert any("from the cache" in note for note in second.told)
    assert one.beliefs.fleet.sources[0].surface_ms == pytest.approx(two.beliefs.fleet.sources[0].surface_ms, rel=1e-12)
    (place,) = tmp_path.iterdir()
    (place / "space-model.json").write_text("{}")
    third = Silent()
    look_ahead(cells, known, nothing, third, budget=5, cache=tmp_path)
    assert any("trained" in note and note.startswith("a:") for note in third.told)


def test_too_few_samples_are_no_device(prospect):
    archs = prospect.pool.archs[prospect.plan[:4]]
    with pytest.raises(GateError, match="4 measured networks are too few"):
        learn(prospect, archs, np.ones(4), Silent())


def test_of_very_many_samples_the_planned_ones_are_kept(prospect):
    archs = np.concatenate([prospect.pool.archs[prospect.plan], prospect.pool.archs[:300]])
    archs = np.unique(archs, axis=0)
    found = learn(prospect, archs, law_ms(archs, COSTS["a"], 5), Silent())
    assert len(found.samples) == SAMPLES_MAX
    used = {arch.tobytes() for arch in found.samples}
    assert all(prospect.pool.archs[row].tobytes() in used for row in prospect.plan)


def test_what_was_kept_prices_any_architecture_as_the_model_did(kept, learnt, cells):
    device = load_onboarded(kept)
    rows = learnt.prospect.pool.offered[::5]
    prices = device.price(learnt.prospect.pool.archs[rows])
    assert prices.latency_ms == pytest.approx(learnt.model.predict_ms()[rows], rel=1e-9)
    low, high = learnt.model.predict_interval_ms(0.1)[rows].T
    assert prices.lo_ms == pytest.approx(low, rel=1e-6, abs=1e-9)
    assert prices.hi_ms == pytest.approx(high, rel=1e-6)
    narrow = device.price(cells.pool[:5], alpha=0.5)
    wide = device.price(cells.pool[:5], alpha=0.05)
    assert np.all(narrow.hi_ms - narrow.lo_ms < wide.hi_ms - wide.lo_ms)


def test_a_cell_costs_what_its_canonical_form_costs_and_a_degenerate_one_has_no_price(kept, cells):
    device = load_onboarded(kept)
    raw = np.array([[0, 4, 3, 1, 3, 1], [0, 0, 0, 0, 0, 0]], dtype=np.int16)
    prices = device.price(raw)
    assert prices.latency_ms[0] == pytest.approx(device.price(cells.canonical(raw[:1])).latency_ms[0], rel=1e-12)
    assert prices.degenerate.tolist() == [False, True]
    assert np.isnan(prices.latency_ms[1])
    assert np.isnan(prices.lo_ms[1])
    assert np.isnan(prices.hi_ms[1])


def test_what_was_changed_truncated_or_removed_is_refused(kept, tmp_path):
    def damaged(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(kept, folder)
        return folder

    changed = damaged("changed")
    text = (changed / NAME).read_text()
    (changed / NAME).write_text(text.replace('"stack_weight": ', '"stack_weight": 1'))
    truncated = damaged("truncated")
    (truncated / NAME).write_text(text[: len(text) // 2])
    swapped = damaged("swapped")
    shutil.copy(swapped / "sources/1/space-model.json", swapped / "sources/0/space-model.json")
    missing = damaged("missing")
    shutil.rmtree(missing / "sources/2")
    newer = damaged("newer")
    (newer / NAME).write_text(text.replace('"schema_version": 1', '"schema_version": 99', 1))
    for folder in (changed, truncated, swapped, missing, newer, tmp_path / "nowhere"):
        with pytest.raises(ArtefactError):
            load_onboarded(folder)


def test_a_space_file_that_changed_is_noticed(learnt, tmp_path):
    toml = tmp_path / "mine.toml"
    toml.write_text(Path(TINY).read_text())
    space = open_arch_space(str(toml))
    ahead = look_ahead(space, [], space.pool[:0], Silent(), budget=10, cache=None)
    archs = ahead.pool.archs[ahead.plan]
    found = learn(ahead, archs, 1.0 + (archs >= 0).sum(axis=1) * 0.5, Silent())
    device = OnboardedDevice(SpaceId(str(toml), None, None), portable(found.model), (), {})
    save_onboarded(device, tmp_path / "model")
    read = load_onboarded(tmp_path / "model")
    assert np.all(read.price(space.pool[:3]).latency_ms > 0)
    toml.write_text(toml.read_text().replace("kernel = [3, 5]", "kernel = [3, 7]"))
    with pytest.raises(ArtefactError, match="no longer the space"):
        open_space_of(read, tmp_path / "model", pool=1, seed=0)
    toml.unlink()
    with pytest.raises(ArtefactError, match="cannot be opened"):
        open_space_of(read, tmp_path / "model", pool=1, seed=0)


def test_the_picture_is_the_same_for_the_same_input_and_says_what_it_shows(learnt):
    drawn = efficiency_svg(learnt, "cells on <a board> & more")
    assert drawn == efficiency_svg(learnt, "cells on <a board> & more")
    assert "measured networks" in drawn
    assert "this device, now" in drawn


@pytest.mark.parametrize(
    ("samples", "error", "spread", "word"),
    [
        (20, 3.0, 20.0, "go"),
        (20, 3.0, 5.0, "with care"),
        (20, 3.0, 3.5, "no-go"),
        (20, 8.0, 30.0, "with care"),
        (20, 20.0, 90.0, "no-go"),
        (7, 2.0, 20.0, "with care"),
        (20, 5.0, 10.0, "go"),
        (20, 0.0, 0.0, "go"),
    ],
)
def test_the_verdict_goes_by_the_error_and_by_what_one_number_would_do(samples, error, spread, word):
    assert judge(samples, error, spread).word == word


def test_a_device_elsewhere_is_learnt_from_what_the_store_has_of_it(notebook, cells):
    here = LocalSetting.here(notebook.profile)
    for arch, latency in zip(cells.pool[::30], law_ms(cells.pool[::30], COSTS["a"]), strict=True):
        notebook.write(cells.build(arch), float(latency), purpose="network")
    pairs = stored_pairs(notebook.store, cells)
    for asked in ("board", "board-1"):
        target = find_target(notebook.store, pairs, asked, here)
        assert not target.is_here
        assert target.device == notebook.device
    assert find_target(notebook.store, pairs, None, here).is_here
    assert find_target(notebook.store, pairs, here.device.identity[:8], here).is_here
    archs, latency_ms = measured_networks(
        notebook.store, notebook.device.identity, notebook.profile, network_names(cells)
    )
    ahead = look_ahead(cells, [], archs, Silent(), budget=0, cache=None)
    assert len(ahead.plan) == 0
    assert learn(ahead, archs, latency_ms, Silent()).loo_error_percent < 10


def test_devices_that_cannot_be_onboarded_are_refused_with_the_way_out(notebook, cells):
    here = LocalSetting.here(notebook.profile)
    with pytest.raises(UsageError, match="no device 'pi'"):
        find_target(notebook.store, [], "pi", here)
    with pytest.raises(UsageError, match="too few") as refused:
        find_target(notebook.store, [], "board", here)
    assert "on that machine" in refused.value.remedy
    twin = Device("board", "board-2", "another board")
    notebook.store.put_device(twin)
    with pytest.raises(UsageError, match="2 devices"):
        find_target(notebook.store, [], "board", here)


@pytest.mark.skipif(not (DATA / "nasbench201_latency.npz").exists(), reason="the published measurements are not here")
def test_a_published_device_through_files_and_store_is_the_device_of_the_python_api(notebook, cells, tmp_path):
    """HELP's split in small: three sources by their first 60 networks, and gold_6226 as the new device."""
    published = {device.name: device for device in read_known(DATA / "nasbench201_latency.npz", cells)}
    names = ("1080ti_1", "silver_4210r", "samsung_a50")
    lines = ["arch," + ",".join(f"{name}_ms" for name in names)]
    columns = [published[name].latency_ms for name in names]
    for row in range(60):
        numbers = ",".join(repr(float(column[row])) for column in columns)
        lines.append(f"{arch_text(cells.order[row])},{numbers}")
    (tmp_path / "known.csv").write_text("\n".join(lines))
    known = read_known(tmp_path / "known.csv", cells)
    ahead = look_ahead(cells, known, cells.order[:1900], Silent(), budget=10, cache=None)
    truth = published["gold_6226"].latency_ms
    place = {arch.tobytes(): row for row, arch in enumerate(cells.order)}
    for row, workload in zip(ahead.plan, ahead.built, strict=True):
        latency = float(truth[place[ahead.pool.archs[row].tobytes()]])
        notebook.write(workload, latency, purpose="network")
    stored = measured_networks(notebook.store, notebook.device.identity, notebook.profile, network_names(cells))
    assert len(stored[1]) == 10
    found = learn(ahead, *stored, Silent())

    encoding = ahead.pool.encoding
    rows = ahead.pool.rows(cells.order[:60])
    api = prepare(
        Fleet(encoding, tuple(train_source(name, encoding, rows, published[name].latency_ms[:60]) for name in names))
    )
    planned = ahead.plan
    model = api.fit(planned, [truth[place[ahead.pool.archs[row].tobytes()]] for row in planned])
    judged = np.arange(900, 1900)
    judged = judged[np.argsort(truth[judged])][100:900]
    at = ahead.pool.rows(cells.order[judged])
    rho = [spearmanr(one.predict_ms()[at], truth[judged]).statistic for one in (found.model, model)]
    assert rho[0] == pytest.approx(rho[1], abs=1e-6)
    assert rho[0] > 0.95
    document = json.loads(json.dumps(found.model.expert_weights()))
    assert sum(document.values()) == pytest.approx(1.0)
