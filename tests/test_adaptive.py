"""Active profiling on a device with a known law: when it stops, what it never does twice, whether it says the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.active import adaptive
from edgecost.costmodels.active.adaptive import FIRST, measure_adaptively
from edgecost.costmodels.active.lut_survey import LutSurvey
from edgecost.costmodels.campaign import Planned
from edgecost.costmodels.cards.anchors import AnchorVerdict
from edgecost.costmodels.cards.session_anchors import SessionCheck
from edgecost.costmodels.dataset import load_samples
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.planned_campaign import CampaignOutcome
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.devices.agent import WorkReport
from edgecost.profiler.errors import UsageError
from edgecost.profiler.records import Status
from tests.conftest import Notebook

TINY = Path(__file__).parent / "tiny.toml"


class Notes:
    """A narrator that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, title: str, total: int | None = None) -> None:
        self.lines.append(title)

    def step(self, note: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        self.lines.append(text)


@dataclass
class LawCampaign:
    """Measures by a law with noise into a notebook's store; keeps what is open, as the store keeps jobs."""

    notebook: object
    latency_ms: dict[str, float]
    sigma: float = 0.01
    broken: frozenset[str] = frozenset()
    fuse: int | None = None
    pending: list[Planned] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    asked: list[list[str]] = field(default_factory=list)

    def open_jobs(self) -> int:
        return len(self.pending)

    def measure(self, wanted: Sequence[Planned], budget_s: float | None, limit: int | None) -> CampaignOutcome:
        self.asked.append([one.label for one in wanted if one.purpose == "cell"])
        self.pending += wanted
        session, made = f"{len(self.notebook.store.measurements(usable_only=False))}", Counter()
        while self.pending and (limit is None or made.total() < limit):
            if self.fuse == 0:
                self.fuse = None
                raise KeyboardInterrupt
            job = self.pending.pop(0)
            bad = job.label in self.broken
            for _ in range(3 if bad else 1):
                value = self.latency_ms[job.workload.graph_hash] * np.exp(self.sigma * self.rng.normal())
                self.notebook.write(
                    job.workload, None if bad else value + 0.1, purpose=job.purpose, session="" if bad else session
                )
            made[Status.SEGFAULT if bad else Status.OK] += 1
            self.fuse = None if self.fuse is None else self.fuse - 1
        return CampaignOutcome(WorkReport(made.total(), dict(made)), made.total(), 0, len(self.pending))


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space("proxylessnas")


@pytest.fixture(scope="module")
def survey(space, profile) -> LutSurvey:
    return LutSurvey(space, profile)


@pytest.fixture(scope="module")
def truth(survey, law) -> dict[str, float]:
    return dict(zip(survey.hashes, law.true_ms(survey.graphs).tolist(), strict=True))


@pytest.fixture
def setting(notebook) -> LocalSetting:
    return replace(LocalSetting.here(), device=notebook.device, profile=notebook.profile)


def true_error(survey: LutSurvey, truth: dict[str, float], latency_ms: np.ndarray) -> float:
    exact = np.array([truth[name] for name in survey.hashes])
    return float(np.quantile(np.abs(survey.uses @ latency_ms / (survey.uses @ exact) - 1), 0.9))


def go(notebook, setting, space, survey, campaign, target=0.05, **options):
    told = Notes()
    found = measure_adaptively(
        notebook.store, setting, space, told, target=target, campaign=campaign, survey=survey, **options
    )
    return found, told.lines


def cells_measured(notebook) -> Counter[str]:
    return Counter(made.graph_hash for made in notebook.store.measurements(purposes=("cell",)))


def test_it_stops_at_the_target_measures_nothing_twice_and_says_no_less_than_the_truth(
    notebook, setting, space, survey, truth
) -> None:
    campaign = LawCampaign(notebook, truth)
    found, lines = go(notebook, setting, space, survey, campaign)
    assert (found.stopped_by, found.reached, found.unpriced) == ("target", True, ())
    assert FIRST <= found.measured < found.cells
    assert set(cells_measured(notebook).values()) == {1}
    assert sum(cells_measured(notebook).values()) == found.measured
    knowledge = survey.know(load_samples(notebook.store, notebook.device.identity, notebook.profile))
    assert true_error(survey, truth, knowledge.latency_ms) <= found.estimated_error <= 0.05
    assert "first with" in lines[1]
    assert f"{found.measured} of 70 cells measured" in lines[-1]
    # Once more: the store says that nothing is left to do.
    again, _ = go(notebook, setting, space, survey, LawCampaign(notebook, truth))
    assert (again.measured, again.batches, again.estimated_error) == (found.measured, (), found.estimated_error)


def test_the_panel_repeats_cells_of_earlier_batches_in_another_process(notebook, setting, space, survey, truth) -> None:
    campaign = LawCampaign(notebook, truth)
    found, _ = go(notebook, setting, space, survey, campaign, target=0.0001, panel_share=0.2, limit=FIRST + 8 + 4)
    panel = notebook.store.measurements(purposes=("panel",))
    assert len(panel) == 4 == len({made.graph_hash for made in panel})
    first = {made.graph_hash: made.session for made in notebook.store.measurements(purposes=("cell",))}
    assert all(made.session != first[made.graph_hash] for made in panel)
    assert (found.stopped_by, found.measured) == ("limit", FIRST + 8)


def test_estimates_cover_what_is_true_batch_after_batch(survey, truth, tmp_path, profile, law) -> None:
    """Six devices whose laws differ cell by cell in what no kernel tells. An estimate too low is so by little."""
    covered, estimates = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        odd = {name: value * float(np.exp(0.05 * rng.normal())) for name, value in truth.items()}
        with Store(tmp_path / f"{seed}.sqlite") as store:
            notebook = Notebook(store, profile)
            campaign = LawCampaign(notebook, odd, rng=rng)
            measured: list[int] = []
            while len(measured) < 36:
                knowledge = survey.know(load_samples(store, notebook.device.identity, profile))
                if knowledge.estimate is not None and knowledge.estimate.error is not None:
                    error = true_error(survey, odd, knowledge.latency_ms)
                    covered.append(error <= knowledge.estimate.error)
                    assert error <= 1.5 * knowledge.estimate.error
                    estimates.append(knowledge.estimate.error)
                chosen = survey.choose(knowledge, 12)
                assert not {one.place for one in chosen} & set(measured)
                measured += [one.place for one in chosen]
                workloads = list(survey.workloads.values())
                campaign.measure([Planned(workloads[one.place], "cell", one.key) for one in chosen], None, None)
    assert len(covered) >= 5
    assert np.mean(covered) >= 0.75
    assert max(estimates) < 0.5


def test_an_interrupted_run_goes_on_with_the_batch_that_was_begun(
    notebook, setting, space, survey, truth, tmp_path, profile
) -> None:
    with Store(tmp_path / "other.sqlite") as store:
        whole = LawCampaign(Notebook(store, profile), truth, sigma=0.0)
        straight, _ = go(whole.notebook, setting, space, survey, whole, panel_share=0.0, limit=FIRST + 8)
    cut = LawCampaign(notebook, truth, sigma=0.0, fuse=5)
    with pytest.raises(KeyboardInterrupt):
        go(notebook, setting, space, survey, cut, panel_share=0.0)
    assert cells_measured(notebook).total() == 5
    resumed, lines = go(notebook, setting, space, survey, cut, panel_share=0.0, limit=FIRST + 8 - 5)
    assert "finishing the batch that was begun" in lines
    assert [batch for batch in cut.asked if batch] == whole.asked
    assert resumed.estimated_error == straight.estimated_error
    assert set(cells_measured(notebook).values()) == {1}


def test_a_target_out_of_reach_ends_when_everything_is_measured_and_says_what_noise_makes(
    notebook, setting, profile, law
) -> None:
    tiny = load_space(TINY)
    small = LutSurvey(tiny, profile)
    latency = dict(zip(small.hashes, law.true_ms(small.graphs).tolist(), strict=True))
    found, _ = go(notebook, setting, tiny, small, LawCampaign(notebook, latency, sigma=0.2), target=0.001)
    assert (found.stopped_by, found.reached) == ("complete", False)
    assert found.measured == found.cells
    assert found.estimated_error == found.of_noise > 0.001


def test_a_cell_that_cannot_be_measured_is_left_to_the_predictor_or_named(notebook, setting, profile, law) -> None:
    tiny = load_space(TINY)
    small = LutSurvey(tiny, profile)
    latency = dict(zip(small.hashes, law.true_ms(small.graphs).tolist(), strict=True))
    broken = frozenset({small.keys[3], small.keys[-1]})
    campaign = LawCampaign(notebook, latency, broken=broken)
    found, _ = go(notebook, setting, tiny, small, campaign, target=0.0001)
    assert (found.stopped_by, found.failed, found.measured) == ("complete", 2, found.cells - 2)
    # The classifier is the only one of its kind: without it there is no table, and no estimate of its error.
    assert found.unpriced == (small.keys[-1],)
    assert found.estimated_error is None
    tries = Counter(label for batch in campaign.asked for label in batch)
    assert max(tries.values()) == 1
    assert found.document()["cells_predicted"] == 1


def test_a_campaign_that_takes_nothing_is_not_asked_for_ever(notebook, setting, profile, law) -> None:
    class Busy(LawCampaign):
        def measure(self, wanted, budget_s, limit) -> CampaignOutcome:
            return CampaignOutcome(WorkReport(), 0, 0, len(wanted))

    tiny = load_space(TINY)
    found, _ = go(notebook, setting, tiny, LutSurvey(tiny, profile), Busy(notebook, {}))
    assert (found.stopped_by, found.measured, found.failed) == ("complete", 0, found.cells)


def test_what_the_anchors_said_before_the_first_batch_is_in_the_outcome(
    notebook, setting, space, survey, truth
) -> None:
    class Anchored(LawCampaign):
        def measure(self, wanted, budget_s, limit) -> CampaignOutcome:
            is_first = not self.asked
            outcome = super().measure(wanted, budget_s, limit)
            return replace(outcome, anchors={"verdict": "holds"}) if is_first else outcome

    found, _ = go(notebook, setting, space, survey, Anchored(notebook, truth), limit=2 * FIRST)
    assert len(found.batches) > 1
    assert found.document()["anchors"] == {"verdict": "holds"}


def test_the_campaign_on_the_store_asks_the_anchors_once(notebook, setting, space, monkeypatch) -> None:
    check = SessionCheck(AnchorVerdict("holds", 0.01, {}, 0.05), (), "2026-01-01")
    monkeypatch.setattr(adaptive, "check_session", lambda *_: check)
    monkeypatch.setattr(adaptive, "measure_planned", lambda *_, **__: CampaignOutcome(WorkReport(), 0, 0, 0))
    campaign = adaptive.StoreCampaign(notebook.store, setting, space, Notes())
    assert campaign.measure([], None, None).anchors == check.document()
    assert campaign.measure([], None, None).anchors is None


def test_what_a_prediction_is_judged_by_is_what_was_predicted_before_it_was_measured(
    notebook, setting, space, survey, truth
) -> None:
    campaign = LawCampaign(notebook, truth, sigma=0.0)
    go(notebook, setting, space, survey, campaign, panel_share=0.0, limit=FIRST)
    before = survey.know(load_samples(notebook.store, notebook.device.identity, notebook.profile))
    found, _ = go(notebook, setting, space, survey, campaign, target=0.0001, panel_share=0.0, limit=8)
    (batch,) = found.batches
    errors = [abs(before.latency_ms[one.place] / truth[survey.hashes[one.place]] - 1) for one in batch.cells]
    known = [error for error in errors if np.isfinite(error)]
    assert batch.predicted == len(known) > 0
    assert batch.mean_error == pytest.approx(np.mean(known), rel=1e-6)
    assert (batch.moved is None) == bool(before.unpriced)


def test_a_budget_of_nothing_measures_nothing(notebook, setting, space, survey, truth) -> None:
    found, _ = go(notebook, setting, space, survey, LawCampaign(notebook, truth), budget_s=0.0, limit=3)
    assert (found.stopped_by, found.measured, found.batches) == ("budget", 0, ())


@pytest.mark.parametrize("target", [0.0, 1.0, -0.05, 5.0, float("nan")])
def test_a_target_that_is_none_is_refused(notebook, setting, space, survey, truth, target) -> None:
    with pytest.raises(UsageError, match="no target"):
        go(notebook, setting, space, survey, LawCampaign(notebook, truth), target=target)


def test_a_share_beyond_all_is_refused(notebook, setting, space, survey, truth) -> None:
    with pytest.raises(UsageError, match="share lies between"):
        go(notebook, setting, space, survey, LawCampaign(notebook, truth), panel_share=1.5)


def test_on_this_machine_a_second_run_goes_on_and_no_cell_is_measured_twice(tmp_path) -> None:
    tiny, setting = load_space(TINY), LocalSetting.here()
    with Store(tmp_path / "store.sqlite") as store:
        first = measure_adaptively(store, setting, tiny, Notes(), target=0.0001, panel_share=0.0, limit=5)
        second = measure_adaptively(store, setting, tiny, Notes(), target=0.0001, panel_share=0.0)
        usable = Counter(made.graph_hash for made in store.measurements(purposes=("cell",)))
    assert (first.stopped_by, len(first.batches)) == ("limit", 1)
    assert first.measured <= 5
    # A busy machine may leave some rejected, and what takes no longer than a call has no latency of its own.
    assert second.measured + second.failed == second.cells
    assert set(usable.values()) == {1}
