"""A recorded board that runs: QEMU answers for its processor, the recording for its files and programs.

QEMU's prefix lays the board's tree over every absolute path, so the agent and the runner are those that a board runs,
as aarch64, and look where they look on a board. What stays the host's: the CPUs that a process may use, and time.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecost.devices.boards.recording import BoardRecording, load
from tests.emulated.make_files import QEMU

_BOARDS = Path(__file__).resolve().parents[1] / "boards"
_PACKAGE = Path(__file__).resolve().parents[2] / "build" / "dev"

#: What others do on the host is no load of the board.
_AT_REST = {
    "loadavg": "0.00 0.00 0.00 1/120 4242\n",
    "stat": "cpu  1000 0 1000 90000 0 0 0 0 0 0\nprocs_running 1\nprocs_blocked 0\n",
}


@dataclass(frozen=True)
class EmulatedBoard:
    """One board, with a Python that every program may call.

    Attributes:
        root: its tree, which it may write to.
        python: starts Python as the board's processor; also what a process there calls its interpreter.
    """

    name: str
    root: Path
    python: Path

    def run(self, *arguments: str | Path, within_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """What Python says to these arguments."""
        return subprocess.run([self.python, *arguments], capture_output=True, text=True, timeout=within_s, check=False)

    def edgecost(self, *arguments: str | Path) -> str:
        """What a command prints that must end well."""
        ended = self.run("-m", "edgecost", *arguments)
        assert ended.returncode == 0, (arguments, ended.stdout, ended.stderr)
        return ended.stdout


def recorded(name: str) -> BoardRecording:
    """A recording of tests/boards."""
    return load(_BOARDS / f"{name}.json")


def boot(files: Path, folder: Path, name: str, cpu: str, onnxruntime: str) -> EmulatedBoard:
    """A board in an empty folder.

    Args:
        files: made by ``make_files``.
        name: of its recording.
        cpu: as QEMU calls it.
    """
    recording = recorded(name)
    root, programs = folder / "root", folder / "bin"
    # A board writes to its own tree, and everything that it shares with others it only reads.
    shutil.copytree(files / "sysroot", root, symlinks=True, copy_function=_link)
    recording.unpack(root)
    # What is not there would be the host's: its Python's packages, and its notes of what to restore.
    for own in ("usr/lib/python3/dist-packages", "var/lib/edgecost", "proc"):
        (root / own).mkdir(parents=True, exist_ok=True)
    for file, text in _AT_REST.items():
        (root / "proc" / file).write_text(text)
    programs.mkdir()
    _make_programs(recording, programs)
    python = programs / "python3"
    settings = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONHOME": "/usr",
        "PYTHONPATH": f"{files / f'site-{onnxruntime}'}{os.pathsep}{_PACKAGE}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    emulator = [
        *(str(files / QEMU), "-L", str(root), "-r", recording.kernel_release, "-cpu", cpu),
        *("-0", str(python), str(root / "usr" / "bin" / "python3.11")),
    ]
    _make_script(python, f'{_assigned(settings)} exec {shlex.join(emulator)} "$@"')
    return EmulatedBoard(name, root, python)


def _link(source: str, target: str) -> None:
    os.link(source, target, follow_symlinks=False)


def _assigned(settings: Mapping[str, str]) -> str:
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())


def _make_programs(recording: BoardRecording, folder: Path) -> None:
    """Programs that say what was recorded, and to any other question that they do not know it."""
    asked: dict[str, list[str]] = {}
    for (program, *arguments), answer in recording.commands.items():
        words = shlex.quote(" ".join(arguments))
        says = f"printf %s {shlex.quote(answer.stdout)}; printf %s {shlex.quote(answer.stderr)} >&2"
        asked.setdefault(program, []).append(f"{words}) {says}; exit {answer.returncode};;")
    for program, cases in asked.items():
        _make_script(folder / Path(program).name, "\n".join(('case "$*" in', *cases, "*) exit 127;;", "esac")))


def _make_script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
