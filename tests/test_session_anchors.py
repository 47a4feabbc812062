"""A campaign's session begins with anchors: chosen from the store's first measurements, measured again, and told."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgecost.costmodels import planned_campaign
from edgecost.costmodels.cards import session_anchors
from edgecost.costmodels.cards.anchors import SHORTEST_MS, Anchor, AnchorReading
from edgecost.costmodels.cards.session_anchors import ANCHORS, SessionCheck, check_session
from edgecost.costmodels.kernel_campaign import measure_random_kernels
from edgecost.costmodels.kernel_plan import plan_kernels
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.db import Store
from edgecost.profiler.protocol import Settings
from tests.trained_store import Trained, write

#: Enough to see that it was measured, on a machine where others are busy.
ROUGH = Settings(target=0.3)


class Noted:
    """A narrator that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, title: str, total: int | None = None) -> None: ...

    def step(self, note: str) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def path(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the store that may be added to."""
    return Path(shutil.copy(trained.store, tmp_path / "store.sqlite"))


def asked(
    path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch, factor: Callable[[Anchor], float | None]
) -> tuple[SessionCheck | None, list[int], list[str]]:
    """What is found where anchors take so many times as long; the processes asked for, and what was told."""
    processes: list[int] = []

    def measured(
        store: Store, setting: LocalSetting, narrator: Noted, anchors: Sequence[Anchor], *, sessions: int
    ) -> tuple[list[AnchorReading], list[str]]:
        processes.append(sessions)
        found = [(anchor, factor(anchor)) for anchor in anchors]
        return [AnchorReading(a, None if f is None else a.latency_ms * f) for a, f in found], []

    monkeypatch.setattr(session_anchors, "measure_anchors", measured)
    talk = Noted()
    with Store(path) as store:
        return check_session(store, trained.setting, talk), processes, talk.notes


def test_a_device_that_is_what_it_was_is_told_in_one_line(path, trained, monkeypatch) -> None:
    found, processes, notes = asked(path, trained, monkeypatch, lambda _: 1.01)
    assert found is not None
    assert (found.verdict.verdict, processes, len(found.readings)) == ("holds", [1], ANCHORS)
    assert notes == ["anchors: 1.0 % slower than on 2026-01-01, within the 5.5 % that two sessions differ by"]


def test_a_slower_device_is_measured_again_before_it_is_told(path, trained, monkeypatch) -> None:
    found, processes, notes = asked(path, trained, monkeypatch, lambda _: 1.2)
    assert found is not None
    assert (found.verdict.verdict, processes) == ("all", [1, 2])
    assert "20.0 % slower than on 2026-01-01" in notes[0]
    assert "does not go with" in notes[0]
    assert found.document()["change"] == pytest.approx(0.2)


def test_anchors_that_give_no_number_say_that_nothing_is_known(path, trained, monkeypatch) -> None:
    found, _, notes = asked(path, trained, monkeypatch, lambda _: None)
    assert found is not None
    assert found.verdict.verdict == "unknown"
    assert "not known" in notes[0]


def test_the_anchors_stay_the_same_as_the_store_grows_and_are_long_enough(path, trained, monkeypatch) -> None:
    first, *_ = asked(path, trained, monkeypatch, lambda _: 1.0)
    with Store(path) as store:
        known = store.workload(first.readings[0].anchor.graph_hash)
        write(store, trained.setting, known, 1000.0, minute=900)
    again, *_ = asked(path, trained, monkeypatch, lambda _: 1.0)
    assert [one.anchor for one in first.readings] == [one.anchor for one in again.readings]
    assert all(one.anchor.latency_ms >= SHORTEST_MS for one in first.readings)
    assert len({one.anchor.graph_hash for one in first.readings}) == ANCHORS


def test_a_store_that_knows_nothing_has_no_anchors(store: Store, trained) -> None:
    talk = Noted()
    assert check_session(store, trained.setting, talk) is None
    assert talk.notes == []


def filled(store: Store, number: int) -> LocalSetting:
    """A store with so many kernels of an earlier day, all long and steady; the setting they are of."""
    setting = LocalSetting.here()
    store.put_device(setting.device)
    store.put_environment(setting.stage.environment)
    store.put_profile(setting.profile)
    for minute, kernel in enumerate(plan_kernels(setting.profile, 40)[:number]):
        write(store, setting, kernel, 1.0 + minute, purpose="kernel", minute=minute)
    return setting


def test_too_few_steady_kernels_are_no_anchors(store: Store) -> None:
    setting, talk = filled(store, ANCHORS - 1), Noted()
    assert check_session(store, setting, talk) is None
    assert talk.notes == []


def test_a_second_session_of_a_campaign_really_measures_them_and_a_finished_one_does_not(file_store: Store) -> None:
    setting, talk = filled(file_store, 10), Noted()
    found = measure_random_kernels(file_store, setting, talk, count=20, settings=ROUGH)
    assert found.check is not None
    assert len({one.anchor.graph_hash for one in found.check.readings}) == ANCHORS
    assert any(note.startswith("anchors: ") for note in talk.notes)
    assert len(file_store.measurements(purposes=("anchor",), usable_only=False)) >= ANCHORS
    left = file_store.counts().measurements
    again = measure_random_kernels(file_store, setting, talk, count=20, settings=ROUGH)
    # A kernel that failed for a busy machine may be tried again; only then is there a session.
    assert (again.check is None) == (file_store.counts().measurements == left)


@pytest.mark.parametrize(("budget_s", "left_s"), [(None, None), (60.0, 50.0), (5.0, 0.0)])
def test_the_anchors_are_part_of_the_time_that_was_allowed(
    budget_s: float | None, left_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_campaign.time, "monotonic", lambda: 110.0)
    assert planned_campaign.what_is_left(budget_s, 100.0) == left_s
