"""Models that were fetched from the hub, by their sha256: whole and checked, or a part to go on from.

A folder with a size cap; what was not used for longest goes first. Standard library only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..profiler.errors import BadDocument, OutputError

#: As many bytes as a board of 16 GB can spare.
CACHE_BYTES = 1 << 30
_NAME = re.compile(r"[0-9a-f]{64}(\.part)?")


class ModelCache:
    """The folder. One thread at a time writes into it."""

    def __init__(self, folder: Path, cap_bytes: int = CACHE_BYTES) -> None:
        self._folder = folder
        self._cap_bytes = cap_bytes

    def path(self, sha256: str) -> Path:
        """Where a whole model stands."""
        return self._folder / sha256

    @contextmanager
    def open(self, sha256: str, most_bytes: int) -> Iterator[Entry]:
        """A model that is there, or is to be written.

        Raises:
            OutputError: the folder cannot be written.
            BadDocument: the name is no sha256.
        """
        if _NAME.fullmatch(sha256) is None or sha256.endswith(".part"):
            raise BadDocument(f"{sha256!r} is no sha256")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            entry = Entry(self.path(sha256), sha256, most_bytes)
            try:
                yield entry
            finally:
                entry.close()
            self._make_room(sha256)
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def _make_room(self, keep: str) -> None:
        """Delete what was not used for longest, but not what is about to be."""
        found = [(path.stat(), path) for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        size = sum(stat.st_size for stat, _ in found)
        for stat, path in sorted(found, key=lambda one: one[0].st_mtime_ns):
            if size <= self._cap_bytes:
                return
            if path.name != keep:
                path.unlink()
                size -= stat.st_size


class Entry:
    """One model on its way into the cache."""

    def __init__(self, path: Path, sha256: str, most_bytes: int) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._sha256 = sha256
        self._most_bytes = most_bytes
        self._file: IO[bytes] | None = None
        self.is_whole = path.exists()
        if self.is_whole and _sha256_of(path) != sha256:
            # A card that loses power loses what it said it had written.
            path.unlink()
            self.is_whole = False

    @property
    def size_bytes(self) -> int:
        """Of the part that is there."""
        return self._part.stat().st_size if self._part.exists() else 0

    def restart(self) -> None:
        """Forget the part."""
        self.close()
        self._part.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        """Add to the part.

        Raises:
            BadDocument: it is too large.
            OutputError: it cannot be written.
        """
        try:
            self._write(piece)
        except OSError as error:  # not to be taken for one of the network, in whose midst this is called
            raise _unwritable(self._path.parent, error) from error

    def _write(self, piece: bytes) -> None:
        if self._file is None:
            self._file = self._part.open("ab")
        if self._file.tell() + len(piece) > self._most_bytes:
            self.restart()
            raise BadDocument(f"the model {self._sha256[:12]} has more than {self._most_bytes:,} bytes")
        self._file.write(piece)

    def finish(self) -> bytes:
        """The whole model, checked and kept.

        Raises:
            BadDocument: it has another sha256.
        """
        if not self.is_whole:
            if self._file is None:
                self._file = self._part.open("ab")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.close()
            if _sha256_of(self._part) != self._sha256:
                self.restart()
                raise BadDocument(f"what the hub sent is not the model {self._sha256[:12]}")
            self._part.replace(self._path)
            self.is_whole = True
        os.utime(self._path)
        return self._path.read_bytes()

    def close(self) -> None:
        found, self._file = self._file, None
        if found is not None:
            found.close()


def _unwritable(folder: Path, error: OSError) -> OutputError:
    cause = "there is no room" if error.errno == errno.ENOSPC else error.strerror or str(error)
    return OutputError(f"cannot keep a model in {folder}: {cause}", remedy="make room, or let the agent's user write")


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
