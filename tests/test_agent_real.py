"""The agent with the real runner, and killed at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Status
from tests.little_hub import LittleHub, home_at, job, served, workload
from tests.pretended_agent import at_work, counts, hurry


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_the_real_runner_measures_and_a_graph_that_it_lacks_fails_alone(tmp_path: Path) -> None:
    from edgecost.devices.agent import work_off

    hub = LittleHub(jobs=[job(1), job(2), replace(job(3), workload=workload(op="Frobnicate"))], lease_s=30.0)
    with served(hub):
        home = home_at(tmp_path, hub)
        with at_work(home, work_off):
            hub.until(lambda: len(hub.results) == 3)
    statuses = {result.job_id: result.measurement.status for result in hub.results.values()}
    assert statuses[3] is Status.UNSUPPORTED_OPERATOR
    assert statuses[1].has_latency
    assert statuses[2].has_latency


def test_told_to_end_in_the_midst_of_a_group_the_real_runner_is_ended(tmp_path: Path) -> None:
    from edgecost.devices.agent import work_off

    endless = Settings(target=1e-9, visits_min=10**6, visits_max=10**6, rounds_max=10**6, group_max_s=600.0)
    hub = LittleHub(jobs=[job(1), job(2)], settings=endless, lease_s=0.3)
    with served(hub):
        home = home_at(tmp_path, hub)
        with at_work(home, work_off):
            hub.until(lambda: any(renewal.visits for renewal in hub.renewals))
    given_back = {one for _, given in hub.given_back for one in given.jobs}
    concluded = {result.job_id for result in hub.results.values()}
    assert given_back | concluded == {1, 2}
    assert given_back & concluded == set()
    # Six visits make a median with an interval; that it is wide stands beside it.
    assert {result.measurement.status for result in hub.results.values()} <= {Status.UNCONVERGED}


def test_killed_at_any_moment_it_loses_nothing(tmp_path: Path) -> None:
    hub = LittleHub(jobs=[job(at) for at in range(8)], per_lease=3, lease_s=30.0, wait_s=0.1)
    with served(hub):
        home = home_at(tmp_path, hub)
        command = [sys.executable, "-m", "edgecost", "agent", "run", "--home", str(home.folder)]
        for delay_s in (0.7, 1.5, 2.5, 1.1):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            process.wait()
            requeue(hub)
        ended = subprocess.run([*command, "--until-idle", "1s"], stderr=subprocess.PIPE, text=True, timeout=120)
        while requeue(hub):
            ended = subprocess.run([*command, "--until-idle", "1s"], stderr=subprocess.PIPE, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    for at in range(8):
        verdicts = [hub.verdicts[one.measurement.measurement_id].verdict for one in hub.results_of(at)]
        assert verdicts.count("accepted") == 1, (at, verdicts)
    assert counts(home).waiting == counts(home).leases == counts(home).attempts_begun == 0


def requeue(hub: LittleHub) -> Sequence[int]:
    """What no board holds and has no number, as a lease that ran out would have it."""
    done = {hub.results[name].job_id for name, receipt in hub.verdicts.items() if receipt.verdict == "accepted"}
    waiting = {one.job_id for one in hub.jobs}
    hub.leases.clear()
    missing = [at for at in range(8) if at not in done | waiting]
    hub.jobs += [job(at) for at in missing]
    return missing
