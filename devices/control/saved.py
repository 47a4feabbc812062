"""What a board was before it was changed: on the disk, and known to be there, before anything is changed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...profiler.errors import UsageError

#: Outlives a restart, as the power mode of a Jetson does.
STATE = "var/lib/edgecost/control.json"
_BOOT_ID = "proc/sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Saved:
    """What is to come back.

    Attributes:
        profile: the one that was applied over it.
        files: what they held, relative to the root, in the order in which they are to be written.
        mode: of nvpmodel; None where it was not changed.
        boot_id: of the start of the machine in which this was.
        process, process_start: who changes it, and when it started by the kernel's clock; 0 where a person keeps it
            applied by hand.
    """

    profile: str
    files: Mapping[str, str]
    mode: int | None
    boot_id: str
    process: int = 0
    process_start: int = 0

    def is_held(self, root: Path) -> bool:
        """Whether who changed it still wants it so: since this start, and by hand or alive."""
        if self.boot_id != boot_id(root):
            return False
        return not self.process or started_at(self.process) == self.process_start


def boot_id(root: Path) -> str:
    """Of this start of the machine; empty where the kernel does not tell."""
    try:
        return (root / _BOOT_ID).read_text().strip()
    except OSError:
        return ""


def started_at(process: int) -> int | None:
    """When a process of this machine started, in the kernel's ticks: its number alone may be another's by now."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def load(root: Path) -> Saved | None:
    """What is to come back; None where nothing is.

    Raises:
        UsageError: there is something, and it cannot be read. It is never taken for nothing.
    """
    path = root / STATE
    try:
        found = json.loads(_believed(path))
        return Saved(
            str(found["profile"]),
            {str(name): str(value) for name, value in found["files"].items()},
            None if found["mode"] is None else int(found["mode"]),
            str(found["boot_id"]),
            int(found["process"]),
            int(found["process_start"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"{path} says what this board is to be restored to, and cannot be read: {error}",
            remedy="as root: read it, restore what it names by hand, and delete it",
        ) from error


def _believed(path: Path) -> str:
    """The text of a file that only root or this user can have written: who restores as root writes what it says.

    Raises:
        OSError: it cannot be read.
        ValueError: somebody else may write it.
    """
    with path.open() as file:
        about = os.fstat(file.fileno())
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError("others than root may write it")
        return file.read()


def save(saved: Saved, root: Path) -> None:
    """Keep it: when this returns it survives a power cut.

    Raises:
        UsageError: it cannot be written, so that nothing may be changed.
    """
    path = root / STATE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)  # one of an earlier attempt may be anybody's
        with open(beside, "x", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:
            json.dump(asdict(saved), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UsageError(
            f"what is to be restored cannot be kept in {path}, so nothing is changed: {error.strerror}",
            remedy="run it as root",
        ) from error


def forget(root: Path) -> None:
    """Nothing is to come back any more."""
    path = root / STATE
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
