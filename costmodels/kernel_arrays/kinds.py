"""Kinds of many kernels at once. A kind depends on few things beside the structure: one of each sort is asked."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..kernel_work import kind_among
from .rows import Ints, KernelRows
from .work import extent, filter_of_rows, has_arrays, shallow


def kinds_of_rows(rows: KernelRows, known: Collection[str]) -> tuple[list[str | None], Ints]:
    """Kinds, as ``kind_among`` names them, and the place among them of each row, shape (rows,)."""
    sort = _sorts(rows)
    _, first, place = np.unique(sort, return_index=True, return_inverse=True)
    return [kind_among(kernel, known) for kernel in rows.take(first).kernels()], place.reshape(-1)


def _sorts(rows: KernelRows) -> Ints:
    """A number for everything that a kind may depend on (``kernel_work._kind``)."""
    window = filter_of_rows(rows) if has_arrays(rows) else None
    if window is None or rows.outputs[0] is None:
        # Without a window the structure tells all, its attributes included, unless one of them is a row's own.
        own = any(not isinstance(value, str) for _, value in rows.attributes) or not has_arrays(rows)
        return np.arange(rows.count) if own else np.zeros(rows.count, np.int64)
    is_last = rows.number("channels_last", 0) == 1
    made = rows.outputs[0]
    flags = (
        rows.number("group", 1) > 1,
        window[1] == 1,
        extent(window[2:], rows.count) == 1,
        extent(made[2:], rows.count) == 1,
        extent(made[1:-1], rows.count) == 1,
        is_last,
        shallow(rows, window),
    )
    return sum((flag.astype(np.int64) << bit for bit, flag in enumerate(flags)), np.zeros(rows.count, np.int64))
