"""The power modes of a Jetson: which there are, which it is in, and how it is put into another.

Modes are found by name in the board's own file; their numbers differ from board to board.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...profiler.errors import UsageError
from ..commands import Commands

_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")
_STATUS = re.compile(r"pmode:(\d+)")
_ASKED = re.compile(r"^NV Power Mode:.*\n(\d+)\s*$", re.MULTILINE)
#: Cores go off and on, and the program waits for them.
_TIMEOUT_S = 60.0


def modes(root: Path) -> dict[str, int]:
    """Numbers by name; none where this is no Jetson."""
    try:
        text = (root / "etc/nvpmodel.conf").read_text(errors="replace")
    except OSError:
        return {}
    return {name: int(number) for number, name in _MODE.findall(text)}


def mode_now(root: Path, commands: Commands) -> int | None:
    """Of the file that every user may read, else of the program; None where neither tells."""
    try:
        found = _STATUS.search((root / "var/lib/nvpmodel/status").read_text(errors="replace"))
    except OSError:
        found = None
    if found is None:
        answer = commands.run(("nvpmodel", "-q"))
        found = _ASKED.search(answer.stdout) if answer is not None and answer.returncode == 0 else None
    return int(found.group(1)) if found else None


def set_mode(number: int, root: Path, commands: Commands) -> None:
    """Put the board into a mode.

    Raises:
        UsageError: it refuses, or is in another one afterwards: some modes need a restart.
    """
    answer = commands.run(("nvpmodel", "-m", str(number)), _TIMEOUT_S)
    if answer is None or answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip() if answer is not None else "it is not there, or did not end"
        raise UsageError(f"nvpmodel -m {number} failed: {said}", remedy=f"run it as root: sudo nvpmodel -m {number}")
    if mode_now(root, commands) != number:
        raise UsageError(
            f"nvpmodel took the mode {number} and the board is in another one",
            remedy=f"some modes need a restart: sudo nvpmodel -m {number}, and restart the board",
        )
