"""The folder of one agent: whose hub, under which name and token, with which runtimes; and its lock.

Only its user may look into it. Written whole or not at all. Standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..profiler.documents import decode, document_of
from ..profiler.errors import BadDocument, OutputError, UsageError
from ..profiler.records import VIRTUAL, Device
from ..profiler.runtimes import NamedRuntime, runs_elsewhere

#: Of ``agent.json``. 1: the first.
VERSION = 1
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


@dataclass(frozen=True)
class Membership:
    """What an agent knows of itself and its hub, without its token.

    Attributes:
        name: as the hub calls it.
        device: as it enrolled; the identity does not change when the name or the host's name does.
        ca_file: see ``hub_connection.Place``.
        runtimes: what it offers.
    """

    hub_url: str
    agent_id: str
    name: str
    device: Device
    runtimes: tuple[NamedRuntime, ...]
    ca_file: str = ""
    allow_plain_http: bool = False
    version: int = VERSION


class AgentHome:
    """The folder and what stands in it by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def spool_path(self) -> Path:
        """Work in hand and results on their way (``spool.py``)."""
        return self.folder / "spool.sqlite"

    @property
    def models_path(self) -> Path:
        """Models that were fetched."""
        return self.folder / "models"

    @property
    def contact_path(self) -> Path:
        """An empty file, as old as the last answer of the hub."""
        return self.folder / "contact"

    @property
    def is_enrolled(self) -> bool:
        return self._enrolment_path.exists()

    @property
    def _enrolment_path(self) -> Path:
        return self.folder / "agent.json"

    @property
    def _token_path(self) -> Path:
        return self.folder / "token"

    def read(self) -> Membership:
        """What was written at enrolment.

        Raises:
            UsageError: nothing was, or it is not what an agent writes.
        """
        try:
            document = json.loads(self._enrolment_path.read_bytes())
            if (
                isinstance(document, dict)
                and isinstance(document.get("version"), int)
                and document["version"] > VERSION
            ):
                raise UsageError(
                    f"{self._enrolment_path} was written by another version of edgecost", remedy="upgrade this one"
                )
            return decode(Membership, document)
        except FileNotFoundError:
            raise UsageError(
                f"there is no agent in {self.folder}", remedy="enrol this board: edgecost agent enroll HUB_URL CODE"
            ) from None
        except (BadDocument, ValueError) as error:
            raise UsageError(
                f"{self._enrolment_path} is damaged: {error}", remedy="enrol this board anew: edgecost agent enroll"
            ) from error
        except OSError as error:
            raise UsageError(f"{self._enrolment_path} cannot be read: {error.strerror}") from error

    def token(self) -> str:
        """The secret that the hub knows this agent by.

        Raises:
            UsageError: it is not there, or may not be read.
        """
        try:
            return self._token_path.read_text().strip()
        except OSError as error:
            raise UsageError(
                f"{self._token_path} cannot be read: {error.strerror}", remedy="run it as the user who enrolled it"
            ) from error

    def write(self, membership: Membership, token: str) -> None:
        """Keep an enrolment.

        Raises:
            OutputError: the folder cannot be written.
        """
        with self._writing():
            # The token first: where only it is new, the hub says so; a board without one could not even ask.
            self._replace(self._token_path, token.encode())
            self._replace(self._enrolment_path, json.dumps(document_of(membership), indent=2).encode())

    def touch_contact(self) -> None:
        """The hub has answered now. Not written to the disk for it: it is worth no wear of a card."""
        with suppress(OSError):
            self.contact_path.touch()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other agents out of this folder while the context lasts; it ends with the process, however that ends.

        Raises:
            UsageError: another agent is in it.
            OutputError: it cannot be made.
        """
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
            self.folder.chmod(_FOLDER_MODE)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, _FILE_MODE)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another agent runs in {self.folder}", remedy="give this one a folder of its own: --home DIR"
                ) from None
            yield
        finally:
            os.close(descriptor)

    def is_running(self) -> bool:
        """Whether an agent is in this folder now."""
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"the agent's folder {self.folder} cannot be written: {error.strerror or error}",
                remedy="name another: --home DIR, or EDGECOST_AGENT_HOME",
            ) from error

    def _replace(self, path: Path, contents: bytes) -> None:
        """Write a file so that after a power cut there is the old one or the new one."""
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def device_named(device: Device, name: str) -> Device:
    """This machine as the device ``name``.

    Under another name than the machine's own it is another device: several agents on one machine, each with CPUs of
    its own, are several devices to the hub. Whoever gives the same name again gets the same one.
    """
    if not name or name == device.name:
        return device
    identity = hashlib.sha256(f"{device.identity}/{name}".encode()).hexdigest()
    return replace(device, name=name, identity=identity)


def check_runtimes(runtimes: tuple[NamedRuntime, ...]) -> None:
    """Refuse what an agent cannot offer.

    Raises:
        UsageError: none, one twice, one that measures on another machine, or a virtual device that is not alone.
    """
    names = [named.name for named in runtimes]
    if not names or len(set(names)) < len(names):
        raise UsageError("an agent offers one runtime or more, each once")
    if len(runtimes) > 1 and any(named.runtime == VIRTUAL for named in runtimes):
        raise UsageError(
            "a virtual device is a device of its own, beside this machine",
            remedy="enrol an agent for it alone, in another folder: --home DIR --runtime virtual-nano",
        )
    for named in runtimes:
        if runs_elsewhere(named.options):
            raise UsageError(
                f"{named.name} measures on another machine than this one", remedy="enrol an agent on that machine"
            )
