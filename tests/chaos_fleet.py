"""Hubs and agents as processes, somebody who kills them, and what must hold at the end: for a test, and for a soak."""

from __future__ import annotations

import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from edgecost.db import Store, schema
from edgecost.db.fleet_schema import receipt
from edgecost.db.records import NewJob
from edgecost.devices.agent_home import AgentHome, Membership, device_named
from edgecost.devices.host import host_device, read_host
from edgecost.devices.spool import Spool
from edgecost.profiler.documents import document_of
from edgecost.profiler.fleet_protocol import Enrolment
from edgecost.profiler.protocol import Settings
from edgecost.profiler.runtimes import BUILT_IN, host_profile
from tests.chaos_agent import true_ns
from tests.chaos_proxy import BadProxy
from tests.fleet_store import workload

AGENTS = 4
#: Small groups: with every kill less is begun.
SETTINGS = Settings(group_size=4, target=0.5, visits_min=6)


@dataclass
class Process:
    """A process that is started again whenever it was killed."""

    name: str
    command: list[str]
    log: Path
    running: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        assert self.running is not None
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()
        self.kills += 1

    def end(self) -> int:
        """End it as a keeper does; its exit code. One that was just started is first given time to be up."""
        assert self.running is not None
        self._wait_until_up()
        self.running.send_signal(signal.SIGTERM)
        try:
            return self.running.wait(30)
        except subprocess.TimeoutExpired:
            self.running.kill()
            return self.running.wait()

    def _wait_until_up(self) -> None:
        """Until it minds SIGTERM, which before is a death like another; Linux tells by the mask of caught signals."""
        assert self.running is not None
        deadline = time.monotonic() + 60
        while self.running.poll() is None and time.monotonic() < deadline:
            told = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{self.running.pid}/status").read_text(), re.MULTILINE)
            if told and int(told[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.05)

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


@dataclass
class Fleet:
    """Hubs and agents, and what was done to them."""

    hubs: list[Process]
    agents: list[Process]
    proxy: BadProxy
    events: list[str] = field(default_factory=list)

    def everybody(self) -> list[Process]:
        return [*self.hubs, *self.agents]

    def chaos(self, seconds: float, dice: random.Random) -> None:
        """Kill one of them now and then, and start it again a little later."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(dice.uniform(0.2, 1.5))
            victim = dice.choice([*self.hubs, *self.agents])
            victim.kill()
            self.events.append(f"{time.monotonic():.2f} killed {victim.name}")
            time.sleep(dice.uniform(0, 0.5))
            victim.start()


def say(*lines: str) -> None:
    """To pytest, which shows it when the test fails, or with -s."""
    sys.stdout.write("\n".join([*lines, ""]))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def fleet_on(store: Store, url: str, folder: Path, *, replicas: int, seed: int, cut_share: float = 0.5) -> Fleet:
    """Hubs on a store, and boards that enrolled in it and come through the proxy. Nothing runs yet."""
    ports = [free_port() for _ in range(replicas)]
    proxy = BadProxy(ports, seed, cut_share)
    hubs, agents = [], []
    for at, port in enumerate(ports):
        command = [sys.executable, "-m", "edgecost", "hub", "serve", "--db", url, "--port", str(port)]
        hubs.append(Process(f"hub-{at}", [*command, "--lease-time", "5"], folder / f"hub-{at}.log"))
    for at in range(AGENTS):
        name = f"nano-{at}"
        home, device = AgentHome(folder / name), device_named(host_device(read_host()), name)
        code = store.fleet.make_code({"pool": "nano"}, by="keeper").code
        made = store.fleet.enrol(Enrolment(code, device, "1"), "")
        place = f"http://127.0.0.1:{proxy.port}"
        with home.lock():
            home.write(Membership(place, made.agent_id, name, device, (BUILT_IN["ort"],)), made.token)
        arguments = [str(home.folder), str(folder / f"{name}.made"), str(seed + at)]
        agents.append(Process(name, [sys.executable, "-m", "tests.chaos_agent", *arguments], folder / f"{name}.log"))
    return Fleet(hubs, agents, proxy)


def add_jobs(store: Store, number: int) -> int:
    """A campaign with so many jobs, each with a graph of its own; its id."""
    settings = {"runtime": "ort", "profile_hash": host_profile().profile_hash, "protocol": document_of(SETTINGS)}
    campaign_id = store.open_campaign("chaos", "chaos", settings, "pool=nano")
    wanted = [workload(1 + at) for at in range(number)]
    for one in wanted:
        store.put_workload(one)
    jobs = [NewJob(one.graph_hash, "cell", one.name, 0, f"chaos/{one.graph_hash}") for one in wanted]
    store.add_jobs(campaign_id, jobs)
    return campaign_id


def wait_until_begun(store: Store, campaign_id: int) -> None:
    """Until the first result is there: what was killed before anything began would show nothing."""
    deadline = time.monotonic() + 120
    while store.fleet.job_states(campaign_id)["done"] == 0:
        assert time.monotonic() < deadline, "nothing began"
        time.sleep(0.1)


def wait_until_done(store: Store, campaign_id: int, jobs: int, within_s: float) -> None:
    """Nobody is killed any more; a keeper tries again what chaos made fail."""
    deadline = time.monotonic() + within_s
    while store.fleet.job_states(campaign_id)["done"] < jobs:
        assert time.monotonic() < deadline, f"not done: {store.fleet.job_states(campaign_id)}"
        store.fleet.retry(campaign=str(campaign_id))
        time.sleep(0.3)


def check(store: Store, folder: Path) -> None:
    """Every job has exactly one result, the numbers are the law's, and nothing is missing or doubled."""
    with store._database.snapshot() as connection:
        jobs = {row.id: row.graph_hash for row in connection.execute(select(schema.job))}
        receipts = connection.execute(select(receipt)).all()
        table = schema.measurement
        found = {row.measurement_id: row for row in connection.execute(select(table))}
    accepted = [one for one in receipts if one.verdict == "accepted"]
    # Exactly one result counts for each job, and the numbers are those of the law.
    assert Counter(one.job_id for one in accepted) == dict.fromkeys(jobs, 1)
    for one in accepted:
        assert round(found[one.measurement_id].latency_median_ms * 1e6) == true_ns(jobs[one.job_id])
    total = sum(round(found[one.measurement_id].latency_median_ms * 1e6) for one in accepted)
    assert total == sum(true_ns(graph_hash) for graph_hash in jobs.values())
    # Every measurement has its receipt, and the other way round.
    assert {one.measurement_id for one in receipts} == set(found)
    # Nothing is left on the boards, and whatever one has a receipt for is there.
    for made in folder.glob("*.made"):
        place = AgentHome(folder / made.stem).spool_path
        with closing(Spool(place)) as spool:
            counts = spool.counts()
        assert (counts.waiting, counts.leases, counts.attempts_begun) == (0, 0, 0), made.stem
        with closing(sqlite3.connect(place)) as connection:
            received = {name for (name,) in connection.execute("SELECT measurement_id FROM receipt")}
        assert received
        assert received <= set(found), made.stem
