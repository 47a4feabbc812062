"""The link between two devices: a rate, a latency, and what people write for them. It knows nothing of contention.

A rate is what reaches the other side. Headers, retries and other users of the air are in it, or the time is too short.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ...profiler.errors import UsageError

_RATE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]?)(i?)(bit/s|bits/s|b/s|bps|B/s|Byte/s|bytes/s)")
_DELAY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|µs|μs|ms|s)")
#: Prefixes of the SI. A small m is a thousandth, and nobody means it.
_PREFIXES = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3}
_BYTES = frozenset({"B/s", "Byte/s", "bytes/s"})
_MS = {"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_BITS_PER_BYTE = 8


@dataclass(frozen=True)
class Link:
    """Both directions alike.

    Attributes:
        bits_per_s: what gets through.
        latency_ms: from the last bit sent to the last bit there, each way and once for all that crosses together.

    Raises:
        UsageError: no rate, or a latency below 0.
    """

    bits_per_s: float
    latency_ms: float = 0.0

    def __post_init__(self) -> None:
        if not (self.bits_per_s > 0 and math.isfinite(self.bits_per_s)):
            raise UsageError(f"nothing crosses a link of {self.bits_per_s:g} bit/s")
        if not (self.latency_ms >= 0 and math.isfinite(self.latency_ms)):
            raise UsageError(f"a link cannot have a latency of {self.latency_ms:g} ms")

    def sending_ms(self, size_bytes: int) -> float:
        """Time on the air, which a radio pays for."""
        return size_bytes * _BITS_PER_BYTE / self.bits_per_s * 1e3

    def crossing_ms(self, size_bytes: int) -> float:
        """Until everything is there."""
        return self.sending_ms(size_bytes) + self.latency_ms

    @property
    def label(self) -> str:
        """For people: ``20 Mbit/s, 5 ms``."""
        for prefix, power in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if self.bits_per_s >= power:
                rate = f"{self.bits_per_s / power:g} {prefix}bit/s"
                break
        else:
            rate = f"{self.bits_per_s:g} bit/s"
        return f"{rate}, {self.latency_ms:g} ms" if self.latency_ms else rate


def parse_rate(text: str) -> float:
    """``20Mbit/s``, ``2.5MB/s``, ``1Gbit/s``, ``512KiB/s`` → bits per second. A b is a bit, and a B is a byte.

    Raises:
        UsageError: it is none of these.
    """
    found = _RATE.fullmatch(text.strip())
    if found is None or found[2] not in _PREFIXES or (found[3] and not found[2]):
        hint = "a small m is a thousandth; " if found is not None and found[2] == "m" else ""
        raise UsageError(f"{text!r} is no rate", remedy=f"{hint}write it like 20Mbit/s, 2.5MB/s or 1Gbit/s")
    scale = float(1024 if found[3] else 1000) ** _PREFIXES[found[2]]
    rate: float = float(found[1]) * scale * (_BITS_PER_BYTE if found[4] in _BYTES else 1)
    if not 0 < rate < math.inf:
        raise UsageError(f"nothing crosses a link of {text!r}", remedy="write it like 20Mbit/s, 2.5MB/s or 1Gbit/s")
    return rate


def parse_delay_ms(text: str) -> float:
    """``5ms``, ``200us``, ``0.1s`` → milliseconds.

    Raises:
        UsageError: it is none of these.
    """
    found = _DELAY.fullmatch(text.strip())
    delay_ms = math.inf if found is None else float(found[1]) * _MS[found[2]]
    if not math.isfinite(delay_ms):
        raise UsageError(f"{text!r} is no latency", remedy="write it like 5ms, 200us or 0.1s")
    return delay_ms
