"""How a kernel's loops run over its data: what its operations and bytes do not tell of the time it takes.

A convolution of twenty channels takes as long as one of thirty-two where the vector holds sixteen; a map four pixels
wide is computed pixel by pixel; a product packs what is no constant. The rules follow how runtimes for CPUs walk
(vectors of channels, tiles of registers, spans that are copied whole), seen from ONNX Runtime's blocked layouts; which
of them cost what on a device is fitted. Elsewhere they are just further sizes. Shapes only: no values, no device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..profiler.kernels.graph import Kernel
from .kernel_work import filter_of, is_shallow
from .work_rules.operands import Shape, size
from .work_rules.table import plain_name

#: Outputs of a register tile, and of the short tile that takes what is left; what is then left is done one by one.
TILE, SHORT_TILE = 6, 3
#: Vectors of output channels that a tile holds at once, and input channels after which it stores and loads again.
SET, DEPTH = 4, 128
#: Rows and columns of a tile of a matrix product.
PRODUCT_ROWS, _PRODUCT_COLUMNS = 12, 32
#: Channels of a blocked layout: the wider one wherever it fits, since a kernel does not say which one it is in.
BLOCKS = (16, 8)
#: Functions that cost a few operations for each element, beside those that cost none (Relu) and many (Sigmoid).
SIMPLE = frozenset({"Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "ThresholdedRelu"})
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_MILLION, _THOUSAND = 1e6, 1e3
Span = tuple[int, int, int]


@dataclass(frozen=True)
class Loops:
    """How a kernel walks.

    Attributes:
        loops: thousands of starts of the innermost loop.
        tiles: thousands of register tiles.
        full_steps: millions of vector steps in whole tiles.
        short_steps: the same in tiles that are not full.
        single_steps: the same one output at a time: at borders, and what tiles leave over.
        reloaded_megabytes: what is stored and loaded again, or copied to be packed.
        split_megabytes: what is moved across the boundaries of vectors.
        simple_activations, costly_activations: millions of elements that a fused function is applied to.
        inner: elements of the innermost loop.
        depth: terms of the sum behind each output.
    """

    loops: float
    inner: float
    depth: float = 1.0
    tiles: float = 0.0
    full_steps: float = 0.0
    short_steps: float = 0.0
    single_steps: float = 0.0
    reloaded_megabytes: float = 0.0
    split_megabytes: float = 0.0
    simple_activations: float = 0.0
    costly_activations: float = 0.0


def loops_of(kernel: Kernel) -> Loops:
    """How this kernel walks; an unknown shape counts as a scalar."""
    target = _first(kernel.outputs)
    window, name = filter_of(kernel), plain_name(kernel.op)
    if window is not None and len(target) == len(window) > 2 and kernel.inputs:
        walk = _blocked_convolution if kernel.op.startswith("nchwc.") else _plain_convolution
        return walk(kernel, window, _first(kernel.inputs), target)
    if "MatMul" in name or "Gemm" in name:
        return _product(kernel, target)
    if name in _RECURRENT and len(kernel.weights) > 1 and len(kernel.weights[0]) == len(kernel.weights[1]) == 3:
        return _recurrence(kernel.weights, _first(kernel.inputs))
    if name in ("ReorderInput", "ReorderOutput"):
        return _reorder(kernel, is_input=name == "ReorderInput")
    spans = max(1, _spans(kernel, name, target))
    whole = max(size(target), size(_first(kernel.inputs)))
    tiles = size(target) / _MILLION if name == "Transpose" and spans == size(target) else 0.0
    depth = size(_first(kernel.inputs)) / max(1, size(target)) if "Reduce" in name or "Pool" in name else 1.0
    return Loops(loops=spans / _THOUSAND, inner=whole / spans, depth=depth, tiles=tiles)


def _first(shapes: tuple[Shape | None, ...]) -> Shape:
    return (shapes[0] or ()) if shapes else ()


def _numbers(kernel: Kernel, name: str, count: int, default: int) -> list[int]:
    """An attribute that lists whole numbers; the default where it is absent or something else."""
    found = [int(float(part)) for part in kernel.attribute.get(name, "").split("x") if part]
    return found if len(found) == count else [default] * count


@dataclass(frozen=True)
class _Axis:
    """One spatial axis: outputs before, inside and behind the padding's reach, and window places that hit the input."""

    before: int
    inside: int
    behind: int
    hits: int


def _axis(read: int, made: int, window: int, stride: int, padding: int, dilation: int) -> _Axis:
    reach = dilation * (window - 1) + 1
    first = min(made, -(-padding // stride))
    past = min(made, max(first, (read + padding - reach) // stride + 1))
    hits = 0
    for place in range(made):
        begin = place * stride - padding
        if first <= place < past:
            hits += window
        else:
            hits += sum(0 <= begin + step * dilation < read for step in range(window))
    return _Axis(first, past - first, made - past, hits)


def _axes(kernel: Kernel, window: Shape, source: Shape, target: Shape) -> list[_Axis]:
    axes = len(window) - 2
    strides, dilations = _numbers(kernel, "strides", axes, 1), _numbers(kernel, "dilations", axes, 1)
    paddings = _numbers(kernel, "pads", 2 * axes, 0)
    return [
        _axis(source[2 + one], target[2 + one], window[2 + one], strides[one], paddings[one], dilations[one])
        for one in range(axes)
    ]


def _tiles(outputs: int, singles: int = 0) -> Span:
    """Whole tiles, short tiles, and outputs that are done one by one."""
    left = outputs % TILE
    return outputs // TILE, left // SHORT_TILE, left % SHORT_TILE + singles


def _blocked_convolution(kernel: Kernel, window: Shape, source: Shape, target: Shape) -> Loops:
    """In a layout that keeps the channels of a block side by side: each step is a vector of output channels."""
    block = next((width for width in BLOCKS if target[1] % width == 0), BLOCKS[-1])
    blocks = math.ceil(target[1] / block)
    axes = _axes(kernel, window, source, target)
    rows, last = size(target[2:-1]), axes[-1]
    hits = math.prod(axis.hits for axis in axes[:-1]) * window[-1]
    whole, short, single = _tiles(last.inside, last.before + last.behind)
    batch, simple, costly = target[0], *_activations(kernel, target)
    if window[1] == 1 and int(float(kernel.attribute.get("group", "1"))) > 1:
        steps = batch * blocks * hits / _MILLION
        return Loops(
            loops=batch * blocks * rows / _THOUSAND,
            inner=target[-1],
            depth=size(window[2:]),
            tiles=batch * blocks * rows * (whole + short + single) / _THOUSAND,
            full_steps=TILE * whole * steps,
            short_steps=SHORT_TILE * short * steps,
            single_steps=single * steps,
            simple_activations=simple,
            costly_activations=costly,
        )
    is_blocked = not is_shallow(kernel, window)
    depth = math.ceil(window[1] / block) * block if is_blocked else window[1]
    sets, rest = divmod(blocks, SET)
    passes, reloads = sets + bool(rest), max(1, depth // block) if is_blocked else depth
    if math.prod(window[2:]) == 1 and is_blocked:
        reloads = math.ceil(depth / DEPTH)
        if math.prod(_numbers(kernel, "strides", len(window) - 2, 1)) == 1:
            # Without a window or a stride the whole map is one row.
            rows, hits, (whole, short, single) = 1, 1, _tiles(size(target[2:]))
    groups = max(1, int(float(kernel.attribute.get("group", "1"))))
    steps = batch * depth * hits / _MILLION
    return Loops(
        loops=batch * rows * passes * reloads / _THOUSAND,
        inner=target[-1],
        depth=size(window[1:]),
        tiles=batch * rows * passes * reloads * (whole + short + single) / _THOUSAND,
        full_steps=TILE * whole * steps * SET * sets / groups,
        short_steps=(TILE * whole * (rest + 1) * bool(rest) + SHORT_TILE * short * blocks) * steps / groups,
        single_steps=single * blocks * steps / groups,
        reloaded_megabytes=4 * (size(target) * (reloads - 1) + size(source) * (passes - 1)) / _MILLION,
        simple_activations=simple,
        costly_activations=costly,
    )


def _plain_convolution(kernel: Kernel, window: Shape, source: Shape, target: Shape) -> Loops:
    """In rows of pixels: windows are copied into a matrix, which is then a factor of a product."""
    groups = max(1, int(float(kernel.attribute.get("group", "1"))))
    depth, pixels = size(window[1:]), size(target[2:])
    simple, costly = _activations(kernel, target)
    steps = groups * _up(target[1] / groups, PRODUCT_ROWS) * depth * _up(pixels, BLOCKS[0]) / BLOCKS[0]
    return Loops(
        loops=target[0] * groups / _THOUSAND,
        inner=pixels,
        depth=depth,
        tiles=target[0] * groups * pixels / _THOUSAND,
        full_steps=target[0] * steps / _MILLION,
        reloaded_megabytes=4 * target[0] * groups * depth * pixels / _MILLION if size(window[2:]) > 1 else 0.0,
        simple_activations=simple,
        costly_activations=costly,
    )


def _product(kernel: Kernel, target: Shape) -> Loops:
    """Tiles of rows and columns; a factor that is no constant is packed first; one row is a vector times a matrix."""
    factors = [shape for shape in (*kernel.inputs, *kernel.weights) if shape is not None and len(shape) > 1]
    left = factors[0] if factors else target
    is_turned = kernel.attribute.get("transA", "0") == "1"
    depth = (left[-2] if is_turned else left[-1]) if len(left) > 1 else size(left)
    rows, columns, batch = (target[-2] if len(target) > 1 else 1), (target[-1] if target else 1), size(target[:-2])
    if len(factors) > 1 and len(factors[1]) == 2:
        rows, batch = rows * batch, 1
    vectors = _up(columns, BLOCKS[0]) / BLOCKS[0]
    whole = rows // PRODUCT_ROWS * PRODUCT_ROWS
    work = batch * depth * vectors / _MILLION
    is_row = rows == 1
    return Loops(
        loops=batch / _THOUSAND,
        inner=columns,
        depth=depth,
        tiles=batch
        * math.ceil(rows / PRODUCT_ROWS)
        * math.ceil(columns / _PRODUCT_COLUMNS)
        * math.ceil(depth / DEPTH)
        / _THOUSAND,
        full_steps=0.0 if is_row else whole * work,
        short_steps=0.0 if is_row else (rows - whole) * work,
        single_steps=work if is_row else 0.0,
        reloaded_megabytes=0.0 if kernel.weights else 4 * batch * depth * columns / _MILLION,
    )


def _recurrence(weights: tuple[Shape, ...], source: Shape) -> Loops:
    """All tokens are projected at once; then token by token a vector meets the matrix of the state."""
    (ways, gates, width), (_, _, hidden) = weights[:2]
    tokens, batch = (*source, 1, 1)[:2]
    vectors = ways * tokens * batch * _up(gates, BLOCKS[0]) / BLOCKS[0] / _MILLION
    return Loops(
        loops=ways * tokens / _THOUSAND,
        inner=gates,
        depth=width + hidden,
        full_steps=vectors * width,
        single_steps=vectors * hidden,
        costly_activations=ways * tokens * batch * (gates + hidden) / _MILLION,
    )


def _reorder(kernel: Kernel, *, is_input: bool) -> Loops:
    """Into blocks of channels or out of them: vector by vector, where the map is a multiple of a vector's length."""
    source, target = _first(kernel.inputs), _first(kernel.outputs)
    if kernel.attribute.get("channels_last", "0") == "1" and len(source) == len(target) > 2:
        # The side that is not blocked has its channels last.
        source, target = (_channels_second(source), target) if is_input else (source, _channels_second(target))
    pixels, channels = size(target[2:]), target[1] if len(target) > 1 else 1
    blocks, rest = math.ceil(channels / BLOCKS[0]), channels % BLOCKS[0]
    narrow = min(source[1] if len(source) > 1 else 1, channels) % BLOCKS[0]
    return Loops(
        loops=(pixels * blocks if is_input else channels) / _THOUSAND,
        inner=pixels,
        single_steps=(pixels * narrow if is_input else channels * (pixels % 4)) / _MILLION,
        short_steps=pixels * (bool(narrow) if is_input else bool(rest)) / _MILLION,
        split_megabytes=4 * size(target) / _MILLION if pixels % BLOCKS[0] else 0.0,
        reloaded_megabytes=4 * abs(size(source) - size(target)) / _MILLION,
    )


def _channels_second(shape: Shape) -> Shape:
    return (shape[0], shape[-1], *shape[1:-1])


def _spans(kernel: Kernel, name: str, target: Shape) -> int:
    """How many runs of elements lie side by side in whatever is read and written."""
    source = _first(kernel.inputs)
    if name == "Transpose":
        order = _numbers(kernel, "perm", len(target), -1)
        kept = 0
        while kept < len(target) and order[len(target) - 1 - kept] == len(target) - 1 - kept:
            kept += 1
        return size(target[: len(target) - kept])
    if any(word in name for word in ("Softmax", "Normalization", "Reduce", "ArgM")):
        return size(source[:-1])
    if name == "Concat":
        return size(target[: _place(kernel, target)])
    if name == "Split":
        return size(source[: _place(kernel, source)])
    if "Pool" in name or name in ("Pad", "Slice", "Gather", "Resize", "Upsample"):
        return size(target[:-1])
    return _broadcast_spans([shape or () for shape in (*kernel.inputs, *kernel.weights)], target)


def _place(kernel: Kernel, shape: Shape) -> int:
    axis = int(float(kernel.attribute.get("axis", "0")))
    return axis % len(shape) if shape else 0


def _broadcast_spans(operands: list[Shape], target: Shape) -> int:
    """An operand that is smaller than the result is repeated; a run ends where it stops to grow with the result."""
    inner = size(target)
    for operand in operands:
        if not 1 < size(operand) < size(target) or len(operand) > len(target):
            continue
        padded = (1,) * (len(target) - len(operand)) + operand
        is_repeated, run = padded[-1] == 1 != target[-1], 1
        for mine, whole in zip(reversed(padded), reversed(target), strict=True):
            if whole > 1 and (mine == 1) != is_repeated:
                break
            run *= whole
        inner = min(inner, run)
    return size(target) // max(1, inner)


def _activations(kernel: Kernel, target: Shape) -> tuple[float, float]:
    name, elements = kernel.attribute.get("activation", ""), size(target) / _MILLION
    if name in ("", "Relu"):
        return 0.0, 0.0
    return (elements, 0.0) if name in SIMPLE else (0.0, elements)


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
