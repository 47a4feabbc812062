"""Rows of numbers as small pictures in a line of text: a course in time, a spread of values.

A picture is never all that is said: its ends stand beside it as numbers.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise

#: From low to high.
BLOCKS = "▁▂▃▄▅▆▇█"
#: The same heights for an output that has no blocks, as far as seven bits draw them.
ASCII_BLOCKS = "_.,-~=*#"
GAP = " "
_WIDTH = 48


def sparkline(values: Sequence[float | None], blocks: str = BLOCKS) -> str:
    """One character for each value, the least at the bottom and the greatest at the top.

    What is not known, None or no finite number, is a gap. Values that are all the same are a line at half height: how
    high they are against others nobody can say.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return GAP * len(values)
    low, high = min(known), max(known)
    return "".join(
        GAP if value is None or not math.isfinite(value) else blocks[_level(value, low, high, len(blocks))]
        for value in values
    )


def _level(value: float, low: float, high: float, levels: int) -> int:
    if low == high:
        return (levels - 1) // 2
    # Halves, because the difference of two finite numbers may be none.
    span = high / 2 - low / 2
    share = (value / 2 - low / 2) / span if span > 0 else float(value == high)
    return min(levels - 1, int(share * levels))


def course(values: Sequence[float | None], blocks: str = BLOCKS, width: int = _WIDTH) -> str:
    """Values in their order. Too many are drawn as medians of neighbours, with a gap where no neighbour is known."""
    if len(values) <= width:
        return sparkline(values, blocks)
    ends = [len(values) * at // width for at in range(width + 1)]
    return sparkline([_median(values[begin:end]) for begin, end in pairwise(ends)], blocks)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.median(known) if known else None


def spread(values: Iterable[float], blocks: str = BLOCKS) -> str:
    """How many values lie where between the least and the greatest: a gap for none, and a block from one value on.

    There are about twice as many characters as the root of the number of values: with more, most would be empty.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(known), max(known)
    bins = 1 if low == high else min(_WIDTH, 2 * math.isqrt(len(known)))
    counts = [0] * bins
    for value in known:
        counts[0 if bins == 1 else _level(value, low, high, bins)] += 1
    # The ceiling: what is there is seen.
    levels = [math.ceil(count / max(counts) * len(blocks)) for count in counts]
    return "".join(GAP if level == 0 else blocks[level - 1] for level in levels)


def printed_blocks() -> str:
    """The blocks that standard output can print."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII_BLOCKS
    return BLOCKS
