"""How a board comes to its hub: a code is shown once, and what comes back is kept. Standard library only."""

from __future__ import annotations

from ..profiler.errors import UsageError
from ..profiler.fleet_protocol import Enrolment
from ..profiler.installed import edgecost_version
from ..profiler.records import VIRTUAL, Device
from ..profiler.runtimes import NamedRuntime
from .agent_home import AgentHome, Membership, check_runtimes, device_named
from .host import host_device, read_host
from .hub_client import HubClient
from .hub_connection import Place
from .spool import Spool


def enrol(
    home: AgentHome, place: Place, code: str, runtimes: tuple[NamedRuntime, ...], *, name: str = ""
) -> Membership:
    """Enrol this board, or enrol it anew after it was retired; its spool stays.

    Args:
        name: makes it another device than the machine itself (``agent_home.device_named``); empty for the host's name.

    Raises:
        UsageError: an agent runs in this folder, or has results for another hub.
        OutputError: the folder cannot be written; the code is not used then.
        HubError: the hub cannot be reached, or does not take the code.
    """
    check_runtimes(runtimes)
    with home.lock():
        if home.is_enrolled and home.read().hub_url != place.url:
            _check_nothing_waits(home)
        device = device_named(_device(runtimes), name)
        client = HubClient(place)
        try:
            made = client.enroll(Enrolment(code, device, edgecost_version()))
        finally:
            client.close()
        membership = Membership(
            place.url, made.agent_id, made.name, device, runtimes, place.ca_file, place.allow_plain_http
        )
        home.write(membership, made.token)
    return membership


def _device(runtimes: tuple[NamedRuntime, ...]) -> Device:
    """This machine, or the virtual device that is played on it."""
    (first, *_) = runtimes
    if first.runtime != VIRTUAL:
        return host_device(read_host())
    from .virtual.catalogue import open_virtual  # laws come with it

    return open_virtual(first.provider, dict(first.options)).device()


def _check_nothing_waits(home: AgentHome) -> None:
    spool = Spool(home.spool_path)
    try:
        waiting = spool.counts().waiting
    finally:
        spool.close()
    if waiting:
        raise UsageError(
            f"{waiting} results in {home.folder} wait for another hub",
            remedy="let the agent send them first, or enrol in another folder: --home DIR",
        )
