"""How many kernels walk at once: ``kernel_loops.loops_of`` as arrays, for the operators that ``work.has_arrays`` knows.

Each formula stands there with its reason; here is the same arithmetic in the same order. Where it branches on a size,
the rows are parted by it first.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from .. import kernel_loops as scalar
from ..work_rules.table import plain_name
from .rows import Extents, Ints, KernelRows
from .work import Flags, extent, filter_of_rows, known_shapes, shallow

Floats = npt.NDArray[np.float64]
_MILLION, _THOUSAND = 1e6, 1e3


@dataclass(frozen=True, eq=False)
class LoopRows:
    """As ``Loops``, each of shape (rows,)."""

    loops: Floats
    inner: Floats
    depth: Floats
    tiles: Floats
    full_steps: Floats
    short_steps: Floats
    single_steps: Floats
    reloaded_megabytes: Floats
    split_megabytes: Floats
    simple_activations: Floats
    costly_activations: Floats


_FIELDS = tuple(field.name for field in fields(LoopRows))


def loops_of_rows(rows: KernelRows) -> LoopRows:
    """How each kernel walks."""
    target = known_shapes(rows.outputs)[0]
    window, name = filter_of_rows(rows), plain_name(rows.op)
    if window is not None and len(target) == len(window) > 2:
        walk = _blocked_convolution if rows.op.startswith("nchwc.") else _plain_convolution
        return walk(rows, window)
    if name in ("ReorderInput", "ReorderOutput"):
        return _reorder(rows, is_input=name == "ReorderInput")
    return _by_spans(rows, name, target)


def _loops(count: int, **found: Floats | Ints) -> LoopRows:
    """What is not found is 0, a depth 1."""
    columns = {name: np.full(count, 1.0 if name == "depth" else 0.0) for name in _FIELDS}
    return LoopRows(**{**columns, **{name: np.asarray(value, np.float64) for name, value in found.items()}})


def _axis(read: Ints, made: Ints, window: Ints, stride: Ints, padding: Ints, dilation: Ints) -> tuple[Ints, ...]:
    """Outputs before, inside and behind the reach of the padding, and window places that hit the input."""
    reach = dilation * (window - 1) + 1
    first = np.minimum(made, -(-padding // stride))
    past = np.minimum(made, np.maximum(first, (read + padding - reach) // stride + 1))
    hits = (past - first) * window
    for begin_at, end in ((np.zeros_like(first), first), (past, made)):
        for step in range(int((end - begin_at).max(initial=0))):
            place = begin_at + step
            begin = place * stride - padding
            # The first window place at or behind the input's begin, and the first one at or behind its end.
            low = np.clip(-(begin // dilation), 0, window)
            high = np.clip(-((begin - read) // dilation), 0, window)
            hits = hits + np.where(place < end, np.maximum(high - low, 0), 0)
    return first, past - first, made - past, hits


def _axes(rows: KernelRows, window: Extents) -> list[tuple[Ints, ...]]:
    source, target = known_shapes(rows.inputs)[0], known_shapes(rows.outputs)[0]
    axes = len(window) - 2
    strides, dilations = rows.numbers("strides", axes, 1), rows.numbers("dilations", axes, 1)
    paddings = rows.numbers("pads", 2 * axes, 0)
    return [
        _axis(source[2 + one], target[2 + one], window[2 + one], strides[one], paddings[one], dilations[one])
        for one in range(axes)
    ]


def _tiles(outputs: Ints, singles: Ints | int = 0) -> tuple[Ints, Ints, Ints]:
    left = outputs % scalar.TILE
    return outputs // scalar.TILE, left // scalar.SHORT_TILE, left % scalar.SHORT_TILE + singles


def _blocks(channels: Ints) -> tuple[Ints, Ints]:
    """The width of a block, and how many there are."""
    block = np.where(channels % scalar.BLOCKS[0] == 0, scalar.BLOCKS[0], scalar.BLOCKS[1])
    return block, _ceil(channels / block)


def _blocked_convolution(rows: KernelRows, window: Extents) -> LoopRows:
    """Parted by what ``kernel_loops`` branches on: depthwise or dense, blocked or shallow, a window or none, a stride
    or none."""
    axes = len(window) - 2
    is_depthwise = (window[1] == 1) & (rows.number("group", 1) > 1)
    is_blocked = ~shallow(rows, window)
    is_pointwise = (extent(window[2:], rows.count) == 1) & is_blocked
    is_one_row = is_pointwise & (extent(rows.numbers("strides", axes, 1), rows.count) == 1)
    branch = np.where(is_depthwise, 4, 0 + is_blocked + is_pointwise + is_one_row)
    parts = []
    for number in np.unique(branch).tolist():
        part = np.flatnonzero(branch == number)
        some, chosen = rows.take(part), tuple(one[part] for one in window)
        parts.append((part, _depthwise(some, chosen) if number == 4 else _dense(some, chosen, number)))
    return _joined(rows.count, parts)


def _joined(count: int, parts: list[tuple[Ints, LoopRows]]) -> LoopRows:
    columns = {name: np.empty(count) for name in _FIELDS}
    for place, part in parts:
        for name in _FIELDS:
            columns[name][place] = getattr(part, name)
    return LoopRows(**columns)


def _depthwise(rows: KernelRows, window: Extents) -> LoopRows:
    target, count = known_shapes(rows.outputs)[0], rows.count
    _, blocks = _blocks(target[1])
    axes = _axes(rows, window)
    before, inside, behind, _ = axes[-1]
    made = extent(target[2:-1], count)
    hits = extent(tuple(axis[3] for axis in axes[:-1]), count) * window[-1]
    whole, short, single = _tiles(inside, before + behind)
    batch = target[0]
    steps = batch * blocks * hits / _MILLION
    simple, costly = _activations(rows, target)
    return _loops(
        count,
        loops=batch * blocks * made / _THOUSAND,
        inner=target[-1],
        depth=extent(window[2:], count),
        tiles=batch * blocks * made * (whole + short + single) / _THOUSAND,
        full_steps=scalar.TILE * whole * steps,
        short_steps=scalar.SHORT_TILE * short * steps,
        single_steps=single * steps,
        simple_activations=simple,
        costly_activations=costly,
    )


def _dense(rows: KernelRows, window: Extents, branch: int) -> LoopRows:
    """Branch 0 is shallow, 1 blocked with a window, 2 blocked without one, 3 that without a stride."""
    source, target, count = known_shapes(rows.inputs)[0], known_shapes(rows.outputs)[0], rows.count
    block, blocks = _blocks(target[1])
    depth = _ceil(window[1] / block) * block if branch else window[1]
    sets, rest = blocks // scalar.SET, blocks % scalar.SET
    is_rest = (rest > 0).astype(np.int64)
    passes = sets + is_rest
    reloads = depth if branch == 0 else np.maximum(1, depth // block)
    if branch > 1:
        reloads = _ceil(depth / scalar.DEPTH)
    if branch == 3:
        made, hits = np.ones(count, np.int64), np.ones(count, np.int64)
        whole, short, single = _tiles(extent(target[2:], count))
    else:
        axes = _axes(rows, window)
        made = extent(target[2:-1], count)
        hits = extent(tuple(axis[3] for axis in axes[:-1]), count) * window[-1]
        whole, short, single = _tiles(axes[-1][1], axes[-1][0] + axes[-1][2])
    groups = np.maximum(1, rows.number("group", 1))
    batch = target[0]
    steps = batch * depth * hits / _MILLION
    simple, costly = _activations(rows, target)
    reloaded = extent(target, count) * (reloads - 1) + extent(source, count) * (passes - 1)
    shorts = scalar.TILE * whole * (rest + 1) * is_rest + scalar.SHORT_TILE * short * blocks
    return _loops(
        count,
        loops=batch * made * passes * reloads / _THOUSAND,
        inner=target[-1],
        depth=extent(window[1:], count),
        tiles=batch * made * passes * reloads * (whole + short + single) / _THOUSAND,
        full_steps=scalar.TILE * whole * steps * scalar.SET * sets / groups,
        short_steps=shorts * steps / groups,
        single_steps=single * blocks * steps / groups,
        reloaded_megabytes=4 * reloaded / _MILLION,
        simple_activations=simple,
        costly_activations=costly,
    )


def _plain_convolution(rows: KernelRows, window: Extents) -> LoopRows:
    target, count = known_shapes(rows.outputs)[0], rows.count
    groups = np.maximum(1, rows.number("group", 1))
    depth, pixels, batch = extent(window[1:], count), extent(target[2:], count), target[0]
    simple, costly = _activations(rows, target)
    vector = scalar.BLOCKS[0]
    steps = groups * _up(target[1] / groups, scalar.PRODUCT_ROWS) * depth * _up(pixels, vector) / vector
    copied = 4 * batch * groups * depth * pixels / _MILLION
    return _loops(
        count,
        loops=batch * groups / _THOUSAND,
        inner=pixels,
        depth=depth,
        tiles=batch * groups * pixels / _THOUSAND,
        full_steps=batch * steps / _MILLION,
        reloaded_megabytes=np.where(extent(window[2:], count) > 1, copied, 0.0),
        simple_activations=simple,
        costly_activations=costly,
    )


def _reorder(rows: KernelRows, *, is_input: bool) -> LoopRows:
    source, target, count = known_shapes(rows.inputs)[0], known_shapes(rows.outputs)[0], rows.count
    last = rows.number("channels_last", 0)
    if len(source) == len(target) > 2 and bool(np.any(last == 1)):
        # The side that is not blocked has its channels last.
        if is_input:
            source = _where(last == 1, (source[0], source[-1], *source[1:-1]), source)
        else:
            target = _where(last == 1, (target[0], target[-1], *target[1:-1]), target)
    one, vector = np.ones(count, np.int64), scalar.BLOCKS[0]
    pixels, channels = extent(target[2:], count), target[1] if len(target) > 1 else one
    blocks, rest = _ceil(channels / vector), channels % vector
    narrow = np.minimum(source[1] if len(source) > 1 else one, channels) % vector
    return _loops(
        count,
        loops=(pixels * blocks if is_input else channels) / _THOUSAND,
        inner=pixels,
        single_steps=(pixels * narrow if is_input else channels * (pixels % 4)) / _MILLION,
        short_steps=pixels * ((narrow if is_input else rest) > 0) / _MILLION,
        split_megabytes=np.where(pixels % vector > 0, 4 * extent(target, count) / _MILLION, 0.0),
        reloaded_megabytes=4 * np.abs(extent(source, count) - extent(target, count)) / _MILLION,
    )


def _where(chosen: Flags, first: Extents, other: Extents) -> Extents:
    return tuple(np.where(chosen, one, two) for one, two in zip(first, other, strict=True))


def _by_spans(rows: KernelRows, name: str, target: Extents) -> LoopRows:
    count, source = rows.count, known_shapes(rows.inputs)[0]
    made, read = extent(target, count), extent(source, count)
    spans = np.maximum(1, _spans(rows, name, target))
    whole = np.maximum(made, read)
    tiles = np.where(spans == made, made / _MILLION, 0.0) if name == "Transpose" else np.zeros(count)
    depth = read / np.maximum(1, made) if "Pool" in name else np.ones(count)
    return _loops(count, loops=spans / _THOUSAND, inner=whole / spans, depth=depth, tiles=tiles)


def _spans(rows: KernelRows, name: str, target: Extents) -> Ints:
    count, last = rows.count, len(target) - 1
    if name == "Transpose":
        order = [int(axis[0]) for axis in rows.numbers("perm", len(target), -1)]
        kept = 0
        while kept < len(target) and order[last - kept] == last - kept:
            kept += 1
        return extent(target[: len(target) - kept], count)
    if name == "Concat":
        axis = int(rows.number("axis", 0)[0])
        return extent(target[: axis % len(target) if target else 0], count)
    if "Pool" in name:
        return extent(target[:-1], count)
    return _broadcast_spans([*known_shapes(rows.inputs), *rows.weights], target, count)


def _broadcast_spans(operands: list[Extents], target: Extents, count: int) -> Ints:
    made = extent(target, count)
    inner = made
    for operand in operands:
        if len(operand) > len(target):
            continue
        elements, one = extent(operand, count), np.ones(count, np.int64)
        padded = (one,) * (len(target) - len(operand)) + operand
        run, goes_on = one, np.ones(count, bool)
        is_repeated = (padded[-1] == 1) & (target[-1] != 1) if padded else np.zeros(count, bool)
        for mine, whole in zip(reversed(padded), reversed(target), strict=True):
            goes_on = goes_on & ~((whole > 1) & ((mine == 1) != is_repeated))
            run = np.where(goes_on, run * whole, run)
        smaller = (elements > 1) & (elements < made)
        inner = np.where(smaller, np.minimum(inner, run), inner)
    return made // np.maximum(1, inner)


def _activations(rows: KernelRows, target: Extents) -> tuple[Floats, Floats]:
    name, none = rows.attribute.get("activation", ""), np.zeros(rows.count)
    if name in ("", "Relu"):
        return none, none
    elements = extent(target, rows.count) / _MILLION
    return (elements, none) if name in scalar.SIMPLE else (none, elements)


def _ceil(value: Floats) -> Ints:
    return np.ceil(value).astype(np.int64)


def _up(value: Floats | Ints, step: int) -> Ints:
    return _ceil(value / step) * step
