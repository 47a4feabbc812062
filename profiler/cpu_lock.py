"""One measurement at a time on a CPU: two processes that time graphs on the same core would time each other."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def hold_cpus(cpus: Sequence[int]) -> Iterator[None]:
    """Wait until no other process of edgecost measures on these CPUs, and keep them until the end of the context.

    The lock goes with the process, however that ends. Where the temporary folder cannot be written nothing is held: the
    canary still sees a neighbour, it only cannot keep it away.
    """
    with ExitStack() as held:
        # In ascending order, so that two processes with overlapping sets cannot wait for each other.
        for cpu in sorted(cpus):
            with suppress(OSError):
                descriptor = _open(Path(tempfile.gettempdir(), f"edgecost-cpu-{cpu}.lock"))
                held.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        # Another user of the machine must be able to hold the lock too, whatever this user's umask.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(PermissionError):
            os.fchmod(descriptor, 0o666)
        return descriptor
