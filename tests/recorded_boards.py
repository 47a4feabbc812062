"""The recordings of tests/boards, and a user who may not read everything."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecost.devices.boards.recording import BoardRecording, load

FOLDER = Path(__file__).parent / "boards"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
_NOBODY = 65534


def recorded(name: str) -> BoardRecording:
    """The recording of that name."""
    return load(FOLDER / f"{name}.json")


@contextmanager
def unpacked(board: BoardRecording) -> Iterator[Path]:
    """Its tree, where every user may look: pytest's own folders are closed to all but their owner."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield board.unpack(folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read what nobody may; tests that run as root step down meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
