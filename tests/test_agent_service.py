"""The agent when all goes well: work comes, passes the gate, is measured, and its results arrive once."""

from __future__ import annotations

import base64
import hashlib
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from edgecost.devices import agent_loop, service
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.control import controlled, restore_leftover, saved, show
from edgecost.devices.control.saved import Saved
from edgecost.devices.lease_hold import StoppableSupply
from edgecost.devices.leased_work import workload_of
from edgecost.devices.told import Weight
from edgecost.profiler.client import RunnerSupply
from edgecost.profiler.errors import BrokenModel, UnsafeModel, UsageError
from edgecost.profiler.fleet_protocol import LeasedWorkload
from edgecost.profiler.onnx_gate import GateLimits
from edgecost.profiler.records import RuntimeProfile, Status
from edgecost.profiler.runtimes import host_profile
from tests.little_hub import LittleHub, home_at, job, once, served, workload
from tests.pretended_agent import Pretended, agent, at_work, counts, hurry
from tests.recorded_trees import NANO, contents, grow
from tests.test_control import GOVERNOR


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def hub() -> Iterator[LittleHub]:
    with served(LittleHub()) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, hub: LittleHub) -> AgentHome:
    return home_at(tmp_path, hub)


def test_jobs_are_measured_once_and_their_results_arrive(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs, hub.per_lease = [job(at) for at in range(5)], 3
    with at_work(home):
        hub.until(lambda: len(hub.results) == 5)
    assert sorted(result.job_id for result in hub.results.values()) == [0, 1, 2, 3, 4]
    assert {receipt.verdict for receipt in hub.verdicts.values()} == {"accepted"}
    assert hub.sent_results == 5
    assert hub.byes == 1
    left = counts(home)
    assert (left.leases, left.waiting, left.attempts_begun, dict(left.receipts)) == (0, 0, 0, {"accepted": 5})


def test_what_a_control_profile_left_is_restored_before_the_agent_looks_at_the_board(
    hub: LittleHub, home: AgentHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    governor = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
    board = grow(tmp_path / "board", {governor: "performance"})
    saved.save(Saved("governor-performance", {governor: "schedutil"}, None, "an earlier start", 1, 1), board)
    monkeypatch.setattr(service, "restore_leftover", partial(restore_leftover, root=board))
    looked: list[str] = []
    monkeypatch.setattr(agent_loop, "board_watch", lambda: looked.append((board / governor).read_text().strip()))
    with at_work(home) as running:
        hub.until(lambda: bool(hub.hellos))
    assert looked == ["schedutil"]
    assert (Weight.WARNING, "restored what governor-performance had left") in running.said


def test_a_control_profile_holds_while_the_agent_runs_and_goes_with_it(
    hub: LittleHub, home: AgentHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = grow(tmp_path / "board", NANO)
    monkeypatch.setattr(service, "controlled", partial(controlled, root=board))
    looked: list[str] = []
    monkeypatch.setattr(agent_loop, "board_watch", lambda: looked.append(contents(board, NANO)[GOVERNOR]))
    with at_work(home, control="governor-performance"):
        hub.until(lambda: bool(hub.hellos))
        assert show(board) is not None
    assert looked == ["performance"]
    assert (contents(board, NANO), show(board)) == (NANO, None)


def test_an_agent_that_may_not_apply_its_profile_does_not_begin(hub: LittleHub, home: AgentHome) -> None:
    with pytest.raises(UsageError, match="no control profile 'faster'"):
        agent(home, control="faster").service.run()
    assert not hub.hellos


def test_a_result_brings_all_that_it_refers_to(hub: LittleHub, home: AgentHome) -> None:
    from edgecost.profiler.records import Environment

    hub.jobs = [job(1)]
    with at_work(home):
        hub.until(lambda: hub.results)
    (result,) = hub.results.values()
    made = result.measurement
    assert Environment(result.environment).environment_hash == made.environment_hash
    assert RuntimeProfile.from_document(result.profile).profile_hash == made.profile_hash == hub.profile_hash
    assert made.device_identity == home.read().device.identity
    assert made.graph_hash == job(1).workload.graph_hash


def test_the_board_says_what_it_is_and_offers(hub: LittleHub, home: AgentHome) -> None:
    with at_work(home):
        hub.until(lambda: hub.hellos)
    (hello,) = hub.hellos
    (offer,) = hello.runtimes
    assert (offer.name, RuntimeProfile.from_document(offer.profile or {})) == ("ort", host_profile())
    assert (hello.boot_id, hello.device) == ("boot-1", home.read().device)
    assert "cpu_model" in hello.host


def test_a_runtime_that_is_not_there_is_offered_with_its_problem(tmp_path: Path, hub: LittleHub) -> None:
    home = home_at(tmp_path, hub, ["ort", "ort-acl"])
    with at_work(home) as running:
        hub.until(lambda: running.has_said("cannot be used"))
    there, missing = hub.hellos[0].runtimes
    assert (there.problem, missing.profile) == ("", None)
    assert "ACLExecutionProvider" in missing.problem


def test_jobs_that_killed_a_board_are_measured_alone_and_last(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1, alone=True), job(2), job(3), job(4, alone=True)]
    measure = Pretended()
    with at_work(home, measure):
        hub.until(lambda: len(hub.results) == 4)
    assert measure.groups == [[2, 3], [1], [4]]


def test_a_lease_for_another_profile_is_given_back_and_told(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs, hub.profile_hash = [job(1)], "another"
    with at_work(home):
        hub.until(lambda: hub.given_back and len(hub.hellos) > 1)
    (_, given) = hub.given_back[0]
    assert given.jobs == (1,)
    assert "another profile" in given.reason
    assert hub.results == {}


def test_a_lease_for_a_runtime_that_nobody_offered_is_given_back(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs, hub.runtime = [job(1)], "tvm"
    with at_work(home):
        hub.until(lambda: hub.given_back)
    assert "no runtime 'tvm'" in hub.given_back[0][1].reason


@pytest.mark.parametrize("skeleton", ["", "!", "AAAA", base64.b64encode(zlib.compress(b"no model")).decode()])
def test_a_model_that_is_none_is_a_result_and_no_runner_sees_it(hub: LittleHub, home: AgentHome, skeleton: str) -> None:
    bad = replace(workload(), skeleton=skeleton)
    hub.jobs = [replace(job(1), workload=bad), job(2)]
    measure = Pretended()
    with at_work(home, measure):
        hub.until(lambda: len(hub.results) == 2)
    (refused,) = hub.results_of(1)
    assert refused.measurement.status is Status.INVALID_MODEL
    assert refused.measurement.message
    assert measure.groups == [[2]]


def test_a_bomb_is_not_unpacked() -> None:
    bomb = replace(workload(), skeleton=base64.b64encode(zlib.compress(bytes(5000))).decode())
    with pytest.raises(BrokenModel, match="cut off, or has more than 4,999 bytes"):
        workload_of(bomb, no_fetch, GateLimits(model_bytes=4999))
    with pytest.raises(UnsafeModel):
        workload_of(bomb, no_fetch, GateLimits(model_bytes=5000))


def no_fetch(sha256: str) -> tuple[bytes, Path]:
    raise AssertionError(sha256)


def test_weights_beyond_the_memory_are_refused(hub: LittleHub, home: AgentHome) -> None:
    made = workload()
    huge = tuple(replace(weight, shape=(1 << 40,)) for weight in made.weights)
    hub.jobs = [replace(job(1), workload=replace(made, weights=huge))]
    with at_work(home):
        hub.until(lambda: hub.results)
    assert "tensors take" in hub.results_of(1)[0].measurement.message


def fetched(made: LeasedWorkload, hub: LittleHub) -> LeasedWorkload:
    """The same workload with its skeleton as a blob."""
    skeleton = zlib.decompress(base64.b64decode(made.skeleton))
    name = hashlib.sha256(skeleton).hexdigest()
    hub.blobs[name] = skeleton
    return replace(made, skeleton="", skeleton_sha256=name)


def test_a_large_skeleton_is_fetched(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [replace(job(1), workload=fetched(workload(), hub))]
    seen: list[bytes] = []
    with at_work(home, Pretended(before=lambda made: seen.append(made.workload.skeleton))):
        hub.until(lambda: hub.results)
    assert seen == list(hub.blobs.values())


def test_a_model_that_the_hub_does_not_have_is_a_result(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [replace(job(1), workload=replace(workload(), skeleton="", skeleton_sha256="0" * 64))]
    with at_work(home):
        hub.until(lambda: hub.results)
    assert hub.results_of(1)[0].measurement.status is Status.INVALID_MODEL


def test_a_model_that_cannot_be_had_now_is_given_back(hub: LittleHub, home: AgentHome) -> None:
    made = fetched(workload(), hub)
    hub.jobs = [replace(job(1), workload=made), job(2)]
    hub.pranks.append(once(made.skeleton_sha256, lambda handler: handler.raw(503, b"", {}), times=99))
    with at_work(home):
        hub.until(lambda: hub.results and hub.given_back)
    assert [given.jobs for _, given in hub.given_back] == [(1,)]
    assert [result.job_id for result in hub.results.values()] == [2]


def test_the_runner_is_pinned_and_bounded(hub: LittleHub, home: AgentHome) -> None:
    cpu = min(os.sched_getaffinity(0))
    hub.jobs = [job(1)]
    measure = Pretended()
    with at_work(home, measure, cpus=(cpu,)):
        hub.until(lambda: hub.results)
    assert [stage.cpus for stage in measure.stages] == [(cpu,)]
    (result,) = hub.results.values()
    assert result.environment["pinned_cpus"] == [cpu]
    assert measure.settings is not None
    assert measure.settings.memory_limit_bytes


def test_a_wall_clock_that_jumps_changes_nothing(
    hub: LittleHub, home: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 1e9)
    hub.jobs = [job(1), job(2)]
    with at_work(home):
        hub.until(lambda: len(hub.results) == 2)


def test_without_work_it_ends_by_itself_when_asked_to(hub: LittleHub, home: AgentHome) -> None:
    hub.jobs = [job(1)]
    running = agent(home, until_idle_s=0.3).start()
    running.join()
    assert not running.failures
    assert len(hub.results) == hub.byes == 1


def test_two_agents_in_one_folder_are_refused(hub: LittleHub, home: AgentHome) -> None:
    with at_work(home):
        hub.until(lambda: hub.hellos)
        second = agent(home).start()
        second.join()
    assert isinstance(second.failures[0], UsageError)


def test_a_stopped_supply_kills_its_runner_and_gives_no_other(profile: RuntimeProfile) -> None:
    from edgecost.devices.lease_hold import MeasuringStopped

    supply = StoppableSupply(RunnerSupply.for_profile(profile))
    with supply:
        spawned = supply.take()
        supply.stop()
        assert spawned.ends_by_itself(30)
        spawned.end()
        with pytest.raises(MeasuringStopped):
            supply.take()
