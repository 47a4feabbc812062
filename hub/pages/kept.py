"""What was read of a model, kept until a file in its folder changes: to read and check a card takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Found = TypeVar("Found")
_Stamp = tuple[tuple[str, int], ...]


class Kept(Generic[Found]):
    """Reads each folder once, and again when it has changed."""

    def __init__(self, read: Callable[[Path], Found]) -> None:
        self._read = read
        self._known: dict[Path, tuple[_Stamp, Found]] = {}

    def of(self, folder: Path) -> Found:
        """What stands in a folder now."""
        stamp = _stamp(folder)
        known = self._known.get(folder)
        if known is None or known[0] != stamp:
            known = self._known[folder] = (stamp, self._read(folder))
        return known[1]


def _stamp(folder: Path) -> _Stamp:
    """Empty for a folder that is not there, or goes away meanwhile."""
    try:
        return tuple(sorted((one.name, one.stat().st_mtime_ns) for one in folder.iterdir()))
    except OSError:
        return ()
