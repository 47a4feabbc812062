"""Names attempts: the time comes first, so that what was measured together stands together in every store's index.

A store on PostgreSQL keeps raw samples of each month apart by this name (``db/partitions.py``).
"""

from __future__ import annotations

import os
import time

#: Milliseconds have 48 bits.
_MS_END = 1 << 48


def new_measurement_id() -> str:
    """A UUID of version 7 (RFC 9562, section 5.7) as 32 hexadecimal digits, by this machine's clock.

    A board without a clock of its own may say 1970: it is as unique, and only stands elsewhere.
    """
    chance = int.from_bytes(os.urandom(10), "big")
    head, tail = chance >> 68, chance & ((1 << 62) - 1)
    return f"{first_id_of(time.time_ns() // 1_000_000)}{0x7000 | head:04x}{1 << 63 | tail:016x}"


def first_id_of(moment_ms: int) -> str:
    """What no name made before this moment comes after, and none made later comes before, in the order of text.

    Args:
        moment_ms: since 1970; what 48 bits do not hold counts as the end of them.
    """
    return f"{min(max(moment_ms, 0), _MS_END - 1):012x}"
