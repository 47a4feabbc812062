"""Write files whole or not at all, and say it plainly when that fails."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..profiler.errors import OutputError


def make_folder(folder: Path) -> Path:
    """Create an output folder and try to write into it, before any work is done for it.

    Raises:
        OutputError: it cannot be created or written.
    """
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".edgecost-{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()
    return folder


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write a file so that a reader finds the old one or the new one, also after a power cut. Text becomes UTF-8.

    Raises:
        OutputError: it cannot be written; what stood there before still does.
    """
    target = Path(path)
    with drafted(target) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
    return target


@contextmanager
def drafted(target: Path) -> Iterator[Path]:
    """A draft to write piece by piece, which becomes the file when the block ends and is gone when it fails.

    Raises:
        OutputError: it cannot be written; what stood there before still does.
    """
    # Not mkstemp: its mode 0600 would keep a file from the colleagues it is made for.
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    with _told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            _sync(draft)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        _sync(target.parent)


def _sync(path: Path) -> None:
    """To the disk: a rename may reach it before the data does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}",
            remedy="free space, or name another folder: --out DIR",
        ) from error
