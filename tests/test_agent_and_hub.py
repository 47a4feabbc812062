"""The agent and the hub together: a board enrols, measures a campaign with the real runner, and is retired."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from edgecost.db import Store
from edgecost.db.records import NewJob
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.agent_loop import Manner
from edgecost.devices.enrolling import enrol
from edgecost.devices.hub_connection import Place
from edgecost.devices.service import AgentService
from edgecost.hub.settings import HubSettings
from edgecost.profiler.documents import document_of
from edgecost.profiler.errors import HubRefused
from edgecost.profiler.records import Status
from edgecost.profiler.runtimes import BUILT_IN, host_profile
from edgecost.profiler.workload import Workload
from tests.hub_server import served
from tests.little_hub import LOOSE
from tests.small_tasks import conv

SETTINGS = HubSettings(lease_s=30.0, wait_s=1.0, poll_s=0.05, reap_s=0.5)
ORT = (BUILT_IN["ort"],)


def until(holds: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def add_campaign(store: Store, workloads: list[Workload], name: str = "test") -> None:
    settings = {"runtime": "ort", "profile_hash": host_profile().profile_hash, "protocol": document_of(LOOSE)}
    campaign_id = store.open_campaign(name, "test", settings, "pool=nano")
    for one in workloads:
        store.put_workload(one)
    store.add_jobs(
        campaign_id, [NewJob(one.graph_hash, "cell", one.name, 0, f"{name}/{one.graph_hash}") for one in workloads]
    )


def test_a_campaign_is_measured_by_a_board_and_stands_in_the_store(store: Store, tmp_path: Path) -> None:
    workloads = [conv(channels).workload for channels in (4, 6, 8, 10)]
    home = AgentHome(tmp_path / "agent")
    with served(store, SETTINGS) as hub:
        code = store.fleet.make_code({"pool": "nano"}, by="keeper").code
        made = enrol(home, Place(hub.url), code, ORT, name="nano-1")
        add_campaign(store, workloads)
        said: list[str] = []
        service = AgentService(home, lambda _, text: said.append(text), Manner(until_idle_s=3.0))
        service.run()
        states = {job.state for job in store.fleet.jobs(campaign="test", limit=100)}
    assert states == {"done"}, said
    found = store.measurements(device_identity=made.device.identity)
    assert {one.graph_hash for one in found} == {workload.graph_hash for workload in workloads}
    assert all(one.status.has_latency and one.latency is not None and one.overhead_ms for one in found)


def test_a_graph_that_the_runtime_lacks_fails_its_job_and_no_other(store: Store, tmp_path: Path) -> None:
    from onnx import helper

    from tests.small_tasks import graph

    unknown = graph([helper.make_node("Frobnicate", ["x"], ["y"])]).workload
    home = AgentHome(tmp_path / "agent")
    with served(store, SETTINGS) as hub:
        enrol(home, Place(hub.url), store.fleet.make_code({"pool": "nano"}, by="keeper").code, ORT)
        add_campaign(store, [conv(4).workload, unknown])
        AgentService(home, lambda *_: None, Manner(until_idle_s=3.0)).run()
        states = {job.graph_hash: job.state for job in store.fleet.jobs(campaign="test", limit=100)}
    assert states == {conv(4).workload.graph_hash: "done", unknown.graph_hash: "failed"}
    failed = [one for one in store.measurements(usable_only=False) if one.graph_hash == unknown.graph_hash]
    assert {one.status for one in failed} == {Status.UNSUPPORTED_OPERATOR}


def test_a_board_that_is_retired_ends_with_a_clear_word(store: Store, tmp_path: Path) -> None:
    home = AgentHome(tmp_path / "agent")
    failures: list[HubRefused] = []
    with served(store, SETTINGS) as hub:
        made = enrol(home, Place(hub.url), store.fleet.make_code({"pool": "nano"}, by="keeper").code, ORT)
        service = AgentService(home, lambda *_: None)

        def work() -> None:
            try:
                service.run()
            except HubRefused as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: store.fleet.agent(made.agent_id).agent.last_seen)
        store.fleet.set_agent_state(made.name, "retired", by="keeper")
        thread.join(60)
        assert not thread.is_alive()
    assert failures[0].status == 401
    assert "retired" in failures[0].message
    assert home.token()
