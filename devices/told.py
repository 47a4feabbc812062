"""How an agent speaks: one line at a time, with a weight; the command line decides where it goes."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum


class Weight(IntEnum):
    """How much a line matters; the numbers are syslog's."""

    ERROR = 3
    WARNING = 4
    NOTE = 6


Told = Callable[[Weight, str], None]
