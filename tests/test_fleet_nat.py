"""A board behind NAT: it reaches its hub by connections of its own, and nobody reaches it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgecost.db import Store
from edgecost.devices.agent_home import AgentHome, Membership, device_named
from edgecost.devices.host import host_device, read_host
from edgecost.profiler.fleet_protocol import Enrolment
from edgecost.profiler.runtimes import BUILT_IN
from tests.chaos_fleet import Process, add_jobs, check, wait_until_done

JOBS = 8
BOARD, NEAR, FAR, WORLD = "10.77.1.2", "10.77.1.1", "10.77.2.1", "10.77.2.2"


#: The board's address never leaves; what was not asked for from inside does not come in.
RULES = f"""
table ip nat {{
    chain out {{
        type nat hook postrouting priority 100;
        ip saddr {BOARD} masquerade
    }}
}}
table ip filter {{
    chain pass {{
        type filter hook forward priority 0; policy drop;
        ip saddr {BOARD} accept
        ct state established,related accept
    }}
}}
"""


def sh(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@dataclass(frozen=True)
class Network:
    """Three hosts in a row: a board, a router that hides it, and the world with the hub."""

    board: str
    router: str
    world: str

    def inside(self, where: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", where, *command]

    def make(self) -> None:
        for name in (self.router, self.world):
            sh("ip", "netns", "add", name)
        for name in (self.board, self.router, self.world):
            sh(*self.inside(name, "ip", "link", "set", "lo", "up"))
        self._wire(self.board, BOARD, self.router, NEAR)
        self._wire(self.world, WORLD, self.router, FAR)
        sh(*self.inside(self.board, "ip", "route", "add", "default", "via", NEAR))
        sh(*self.inside(self.router, "sysctl", "-q", "net.ipv4.ip_forward=1"))
        sh(*self.inside(self.router, "nft", RULES))

    def _wire(self, one: str, address: str, other: str, far_address: str) -> None:
        ends = [f"v{uuid.uuid4().hex[:8]}" for _ in range(2)]
        sh("ip", "link", "add", ends[0], "netns", one, "type", "veth", "peer", "name", ends[1], "netns", other)
        for where, end, number in ((one, ends[0], address), (other, ends[1], far_address)):
            sh(*self.inside(where, "ip", "address", "add", f"{number}/24", "dev", end))
            sh(*self.inside(where, "ip", "link", "set", end, "up"))

    def remove(self) -> None:
        for name in (self.board, self.router, self.world):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def network() -> Iterator[Network]:
    missing = [name for name in ("ip", "nft", "sysctl") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root, iproute2 and nftables; missing: {', '.join(missing) or 'root'}")
    tag = uuid.uuid4().hex[:6]
    made = Network(*(f"edgecost-{tag}-{name}" for name in ("board", "router", "world")))
    try:
        try:
            sh("ip", "netns", "add", made.board)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        made.make()
        yield made
    finally:
        made.remove()


def test_a_board_behind_nat_works_and_cannot_be_reached(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    url = f"sqlite:///{tmp_path}/store.sqlite"
    with Store(url) as store:
        home, device = AgentHome(tmp_path / "nano"), device_named(host_device(read_host()), "nano")
        made = store.fleet.enrol(Enrolment(store.fleet.make_code({"pool": "nano"}).code, device, "1"), "")
        with home.lock():
            home.write(
                Membership(f"http://{WORLD}:8440", made.agent_id, "nano", device, (BUILT_IN["ort"],),
                           allow_plain_http=True),
                made.token,
            )  # fmt: skip
        serve = [sys.executable, "-m", "edgecost", "hub", "serve", "--db", url, "--host", WORLD, "--allow-plain-http"]
        run = [sys.executable, "-m", "tests.chaos_agent", str(home.folder), str(tmp_path / "nano.made"), "1"]
        hub = Process("hub", network.inside(network.world, *serve), tmp_path / "hub.log")
        agent = Process("agent", network.inside(network.board, *run), tmp_path / "agent.log")
        campaign_id = add_jobs(store, JOBS)
        try:
            hub.start()
            agent.start()
            wait_until_done(store, campaign_id, JOBS, 120)
            # The hub has only ever met the router.
            assert store.fleet.agent("nano").agent.last_address == FAR
            assert not reaches(network, network.world, BOARD)
            assert reaches(network, network.board, WORLD)
        finally:
            said = agent.last_words() + hub.last_words()
            codes = {one.name: one.end() for one in (agent, hub) if one.running is not None}
        assert codes["agent"] == 0, said
        check(store, tmp_path)


def reaches(network: Network, where: str, address: str) -> bool:
    """Whether a connection to the hub's port of an address is answered, with yes or no, within two seconds."""
    program = (
        "import socket, sys\n"
        f"try: socket.create_connection(({address!r}, 8440), timeout=2)\n"
        "except ConnectionRefusedError: pass\n"
        "except OSError: sys.exit(1)\n"
    )
    return subprocess.run(network.inside(where, sys.executable, "-c", program), check=False).returncode == 0
