"""Signals that end a process wait while a board is between two states: half applied is what nobody wants."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that come meanwhile do at its end what they would have done; only the main thread hears them at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    # A handler that Python did not set could not be put back.
    known = [number for number in _ENDING if signal.getsignal(number) is not None]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in known}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for sent in dict.fromkeys(came):
            signal.raise_signal(sent)
