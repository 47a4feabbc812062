"""A session's canary against those of earlier sessions of the same device and runtime."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgecost.costmodels.drift import SESSIONS_MIN, canary_drift, quiet_canary_ns
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.db import Store
from edgecost.profiler.conclusion import conclude
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.records import Json, Status
from edgecost.profiler.tasks import Task
from edgecost.profiler.workload import workload_from_model


@pytest.fixture
def setting() -> LocalSetting:
    return LocalSetting.here()


def history(store: Store, setting: LocalSetting, canaries_us: list[float | None]) -> None:
    graph = GraphBuilder("relu")
    workload = workload_from_model("relu", "operator", graph.model(graph.activate(graph.input((1, 4)), "relu")))
    setting.store_in(store)
    store.put_workload(workload)
    for place, canary_us in enumerate(canaries_us):
        made = conclude(
            Task(workload, "profile"), setting.stage, [], Status.REJECTED, "", overhead=None, started_at=None,
            session=f"session{place}", conditions={} if canary_us is None else {"canary_us": canary_us},
        )  # fmt: skip
        store.record(made)


def drift(store: Store, setting: LocalSetting, conditions: dict[str, Json], session: str) -> float | None:
    return canary_drift(store, setting.device.identity, setting.profile.profile_hash, conditions, session)


def test_a_slower_machine_is_told_by_how_much(store: Store, setting: LocalSetting) -> None:
    history(store, setting, [3.0, 3.1, 2.9, 3.0, 9.0])
    assert drift(store, setting, {"canary_us": 3.6}, "now") == pytest.approx(0.2)
    assert drift(store, setting, {"canary_us": 2.4}, "now") == pytest.approx(-0.2)


def test_its_own_session_and_those_without_a_canary_do_not_count(store: Store, setting: LocalSetting) -> None:
    history(store, setting, [3.0] * SESSIONS_MIN + [None, None])
    assert drift(store, setting, {"canary_us": 3.0}, "session0") is None
    assert drift(store, setting, {"canary_us": 3.0}, "now") == 0.0


def test_nothing_is_said_of_another_runtime_or_without_a_canary(store: Store, setting: LocalSetting) -> None:
    history(store, setting, [3.0] * SESSIONS_MIN)
    other = replace(setting, profile=replace(setting.profile, threads=2))
    assert drift(store, other, {"canary_us": 3.0}, "now") is None
    assert drift(store, setting, {}, "now") is None


def test_the_quiet_level_is_that_of_the_quieter_sessions_and_unknown_with_few(
    store: Store, setting: LocalSetting
) -> None:
    history(store, setting, [3.0] * (SESSIONS_MIN - 1))
    assert setting.stage_now(store).quiet_canary_ns is None
    history(store, setting, [3.0] * SESSIONS_MIN + [None] + [4.2] * SESSIONS_MIN)
    assert setting.stage_now(store).quiet_canary_ns == pytest.approx(3000)
    environment, profile = setting.stage.environment.environment_hash, setting.profile.profile_hash
    assert quiet_canary_ns(store, setting.device.identity, profile, environment) == pytest.approx(3000)
    assert quiet_canary_ns(store, "another", profile, environment) is None
    # With another governor another speed is the quiet one.
    assert quiet_canary_ns(store, setting.device.identity, profile, "another") is None


def test_a_session_of_many_measurements_counts_once(store: Store, setting: LocalSetting) -> None:
    history(store, setting, [3.0] * SESSIONS_MIN)
    for _ in range(20):
        history(store, setting, [9.0])
    assert drift(store, setting, {"canary_us": 3.0}, "now") == pytest.approx(0.0)
