"""Applies a control profile and brings back what was before: at the end, after a crash, and after a restart."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...profiler.errors import EdgecostError, UsageError
from ..commands import Commands, HostCommands
from . import nvpmodel, saved
from .profiles import Plan, control_profile
from .saved import Saved
from .undisturbed import undisturbed

#: Limits are refused while a lower one is above a higher one: what is refused is tried again when the others stand.
_PASSES = 3
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Controlled:
    """What became of applying or restoring.

    Attributes:
        profile: the one that is, or was, applied; empty where none was.
        gone: files that are not there any more, and so were not restored.
    """

    profile: str
    gone: tuple[str, ...] = ()


def show(root: Path = Path("/")) -> Saved | None:
    """What is applied and will be restored; None where nothing is."""
    return saved.load(root)


def apply(name: str, *, root: Path = Path("/"), commands: Commands | None = None, by_hand: bool = False) -> Controlled:
    """Apply a profile; what was before is on the disk first.

    Args:
        by_hand: it stays until ``restore`` or the next start of the machine, whoever started it; else until this
            process ends.

    Raises:
        UsageError: there is no such profile, this board cannot have it, another one is applied, a right is missing, or
            what an earlier one left cannot be read.
    """
    asked, profile = commands or HostCommands(), control_profile(name)
    plan = profile.plan(root)
    if not plan.lines():
        _restore_unheld(root, asked)
        return Controlled(name)
    _check_rights(plan, name, root)
    with _locked(root):
        _restore_leftover(root, asked)
        plan = profile.plan(root)  # anew: what was restored may have switched CPUs on
        saved.save(_before(name, plan, root, asked, by_hand=by_hand), root)
        try:
            _change(plan, root, asked)
        except (EdgecostError, OSError) as error:
            _restore(root, asked)
            if isinstance(error, EdgecostError):
                raise
            raise UsageError(f"{name} cannot be applied: {error}", remedy="run it as root") from error
    return Controlled(name)


def restore(*, root: Path = Path("/"), commands: Commands | None = None, leftover_only: bool = False) -> Controlled:
    """Bring back what was before; nothing where nothing was changed.

    Args:
        leftover_only: leave what a living process or somebody by hand holds.

    Raises:
        UsageError: a file or program refuses, and what is to be restored is kept; or that cannot be read.
    """
    if leftover_only:
        return _restore_unheld(root, commands or HostCommands())
    if saved.load(root) is None:
        return Controlled("")
    with _locked(root):
        return _restore(root, commands or HostCommands())


def restore_leftover(*, root: Path = Path("/"), commands: Commands | None = None) -> str:
    """Bring back what a process that died, or an earlier start of the machine, left; what somebody holds stays.

    Who only wants to measure goes on whatever becomes of it, and is told.

    Returns:
        What was done, or why it could not be; empty where nothing was left.
    """
    try:
        profile = _restore_unheld(root, commands or HostCommands()).profile
    except UsageError as error:
        return f"what a control profile left was not restored: {error.message}; {error.remedy}"
    return f"restored what {profile} had left" if profile else ""


@contextmanager
def controlled(name: str, *, root: Path = Path("/"), commands: Commands | None = None) -> Iterator[Controlled]:
    """A profile for the duration of a context. One that is applied by hand already stays as it is.

    Raises:
        UsageError: as ``apply`` and ``restore``.
    """
    standing = saved.load(root)
    if standing is not None and standing.profile == name and not standing.process and standing.is_held(root):
        yield Controlled(name)
        return
    # Of this process already: whoever applied that restores it.
    is_within = standing is not None and standing.process == os.getpid() and standing.is_held(root)
    try:
        yield apply(name, root=root, commands=commands)
    finally:
        left = saved.load(root)
        if left is not None and left.process == os.getpid() and not is_within:
            restore(root=root, commands=commands)


def _before(name: str, plan: Plan, root: Path, commands: Commands, *, by_hand: bool) -> Saved:
    files = {}
    for path in plan.files:
        text = _read(root / path)
        # As a file of a CPU that is off: it cannot come back, and may not be written either.
        if text is None and path in (plan.writes or {}):
            raise UsageError(f"/{path} cannot be read, so it could not be restored", remedy="run it as root")
        if text is not None:
            files[path] = text
    mode = None
    if plan.mode is not None and (mode := nvpmodel.mode_now(root, commands)) is None:
        raise UsageError("the power mode of this board cannot be read, so it could not be restored")
    process = 0 if by_hand else os.getpid()
    start = 0 if by_hand else saved.started_at(process) or 0
    return Saved(name, files, mode, saved.boot_id(root), process, start)


def _change(plan: Plan, root: Path, commands: Commands) -> None:
    if plan.mode is not None and plan.mode != nvpmodel.mode_now(root, commands):
        nvpmodel.set_mode(plan.mode, root, commands)
    for command in plan.commands:
        answer = commands.run(command, _TIMEOUT_S)
        if answer is None or answer.returncode != 0:
            said = (answer.stderr or answer.stdout).strip() if answer is not None else "not there, or did not end"
            raise UsageError(f"{command[0]} failed: {said}", remedy="run it as root")
    refused = _write(plan.writes or {}, root)
    if refused:
        raise UsageError(f"{', '.join(refused)} did not take what was written", remedy="see `dmesg`")


def _restore_unheld(root: Path, commands: Commands) -> Controlled:
    """What nobody holds comes back. Without anything no right is needed."""
    standing = saved.load(root)
    if standing is None or standing.is_held(root):
        return Controlled("")
    with _locked(root):
        # Anew: until the lock was had, another process may have restored it, and applied its own.
        standing = saved.load(root)
        if standing is None or standing.is_held(root):
            return Controlled("")
        return _restore(root, commands)


def _restore_leftover(root: Path, commands: Commands) -> None:
    """What a dead process or an earlier start left; what somebody still holds is not touched, nor covered."""
    standing = saved.load(root)
    if standing is None:
        return
    if standing.is_held(root):
        by = f"process {standing.process}" if standing.process else "hand"
        raise UsageError(
            f"the control profile {standing.profile} is applied, by {by}", remedy="edgecost control restore"
        )
    _restore(root, commands)


def _restore(root: Path, commands: Commands) -> Controlled:
    standing = saved.load(root)
    if standing is None:
        return Controlled("")
    if standing.mode is not None and standing.mode != nvpmodel.mode_now(root, commands):
        # First of all: a mode sets limits and switches CPUs on that have files below.
        nvpmodel.set_mode(standing.mode, root, commands)
    refused = _write(standing.files, root)
    gone = tuple(path for path in refused if not (root / path).exists())
    left = [f"/{path}" for path in refused if path not in gone]
    if left:
        raise UsageError(
            f"{', '.join(left)} could not be restored to what it was before {standing.profile}",
            remedy=f"as root: edgecost control restore; what was before stands in /{saved.STATE}",
        )
    saved.forget(root)
    return Controlled(standing.profile, gone)


def _write(contents: Mapping[str, str], root: Path) -> list[str]:
    """Write what differs; those that do not hold it afterwards."""
    left = list(contents)
    for _ in range(_PASSES):
        for path in left:
            if _read(root / path) != contents[path]:
                _write_one(root / path, contents[path])
        # Of all, since one may have moved another.
        left = [path for path in contents if _read(root / path) != contents[path]]
        if not left:
            break
    return left


def _write_one(path: Path, text: str) -> None:
    """As the kernel wants it: one write, into a file that is there. A refusal shows when it is read again."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(descriptor, text.encode())
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _is_writable(path: Path) -> bool:
    """Asked by opening: ``os.access`` answers for the user who called, not for the rights that the process has."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


def _check_rights(plan: Plan, name: str, root: Path) -> None:
    """Before anything is looked at further: who may not change it all changes nothing."""
    barred = [f"/{path}" for path in plan.writes or {} if not _is_writable(root / path)]
    if (plan.mode is not None or plan.commands) and root == Path("/") and os.geteuid() != 0:
        barred.append("nvpmodel")
    if barred:
        raise UsageError(
            f"{name} needs the right to change {barred[0]}{' and others' if len(barred) > 1 else ''}",
            remedy="run it as root: sudo edgecost …; or leave out --control",
        )


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One process at a time applies or restores, and goes through with it."""
    path = (root / saved.STATE).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", remedy="run it as root") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with undisturbed():
            yield
    finally:
        os.close(descriptor)
