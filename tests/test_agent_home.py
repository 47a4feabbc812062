"""The folder of an agent: written whole, closed to others, and one agent's at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edgecost.devices.agent_home import AgentHome, Membership, device_named
from edgecost.devices.enrolling import enrol
from edgecost.devices.host import host_device, read_host
from edgecost.devices.hub_connection import Place
from edgecost.devices.spool import Spool
from edgecost.profiler.errors import HubRefused, OutputError, UsageError
from edgecost.profiler.records import Device
from edgecost.profiler.runtimes import BUILT_IN, NamedRuntime
from tests.little_hub import CODE, TOKEN, LittleHub, home_at, served
from tests.test_spool import result

ORT = (BUILT_IN["ort"],)
DEVICE = Device("host", "identity", "a board")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read_and_nobody_else_may_look(tmp_path: Path) -> None:
    home = AgentHome(tmp_path / "deep" / "agent")
    own = NamedRuntime("own", "mine", options=(("a", "b"),), affinity=(0, 1))
    membership = Membership("https://hub", "id", "nano", DEVICE, (*ORT, own), "/ca.pem")
    with home.lock():
        home.write(membership, "secret")
    assert (home.read(), home.token()) == (membership, "secret")
    assert mode(home.folder) == 0o700
    assert {mode(path) for path in home.folder.iterdir()} == {0o600}
    assert "secret" not in (home.folder / "agent.json").read_text()


def test_a_folder_without_an_agent_says_how_to_enrol(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no agent") as refused:
        AgentHome(tmp_path).read()
    assert "agent enroll" in refused.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 99}'])
def test_a_damaged_or_newer_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "agent.json").write_text(text)
    with pytest.raises(UsageError, match=r"agent\.json"):
        AgentHome(tmp_path).read()


def test_a_write_that_was_cut_short_leaves_the_old_files(tmp_path: Path) -> None:
    hub = LittleHub(port=1)
    home = home_at(tmp_path, hub)
    (home.folder / "agent.json.new").write_text("{half")
    assert home.read().name == "nano"
    with home.lock():
        home.write(home.read(), "other")
    assert home.token() == "other"


def test_two_agents_do_not_share_a_folder(tmp_path: Path) -> None:
    home = AgentHome(tmp_path)
    assert not home.is_running()
    with home.lock():
        assert home.is_running()
        with pytest.raises(UsageError, match="another agent"), AgentHome(tmp_path).lock():
            pass
    assert not home.is_running()


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from edgecost.devices.agent_home import AgentHome
with AgentHome(Path({str(tmp_path)!r})).lock():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    with AgentHome(tmp_path).lock():
        assert (tmp_path / "lock").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError), AgentHome(tmp_path / "agent").lock():
        pass


def test_a_place_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("")
    with pytest.raises(OutputError, match="--home"), AgentHome(tmp_path / "agent").lock():
        pass


def test_another_name_is_another_device_and_the_same_name_the_same() -> None:
    first, second = device_named(DEVICE, "a"), device_named(DEVICE, "b")
    assert len({DEVICE.identity, first.identity, second.identity}) == 3
    assert device_named(DEVICE, "a") == first
    assert device_named(DEVICE, "host") == device_named(DEVICE, "") == DEVICE


def test_a_board_enrols_and_keeps_what_it_is_told(tmp_path: Path) -> None:
    home = AgentHome(tmp_path)
    with served(LittleHub()) as hub:
        made = enrol(home, Place(hub.url), CODE, ORT, name="second")
    assert (made.name, made.hub_url, home.token()) == ("second", hub.url, TOKEN)
    assert made.device == device_named(host_device(read_host()), "second")
    assert home.read() == made


def test_a_code_that_is_refused_leaves_no_agent(tmp_path: Path) -> None:
    home = AgentHome(tmp_path)
    with served(LittleHub()) as hub, pytest.raises(HubRefused):
        enrol(home, Place(hub.url), "wrong", ORT)
    assert not home.is_enrolled


def test_results_for_one_hub_are_not_carried_to_another(tmp_path: Path) -> None:
    with served(LittleHub()) as hub, served(LittleHub()) as other:
        home = home_at(tmp_path, hub)
        with closing(Spool(home.spool_path)) as spool:
            spool.finish(result("a" * 32))
        with pytest.raises(UsageError, match="wait for another hub"):
            enrol(home, Place(other.url), CODE, ORT)
        enrol(home, Place(hub.url), CODE, ORT)
        assert home.read().hub_url == hub.url


@pytest.mark.parametrize(
    "runtimes", [(), (BUILT_IN["ort"],) * 2, (NamedRuntime("far", "", options=(("rpc_tracker", "host:1"),)),)]
)
def test_runtimes_that_cannot_be_offered_are_refused(tmp_path: Path, runtimes: tuple[NamedRuntime, ...]) -> None:
    with pytest.raises(UsageError):
        enrol(AgentHome(tmp_path), Place("http://localhost:1"), CODE, runtimes)
