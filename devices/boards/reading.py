"""A short file of a board, as text; apart from the sensors, whose package an agent does not load to say what it is."""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str | None:
    """What is in it; None where it cannot be read, or there is nothing in it."""
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None
