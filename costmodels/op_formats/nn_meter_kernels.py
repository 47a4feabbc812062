"""nn-Meter's kinds of kernels: the row of features that its reader makes of each, and random kernels of the kind.

The features are those of nn-Meter's prediction (``extract_feature``): sizes of maps, channels, kernel, stride, millions
of products and of weights. Names are those of its files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ...profiler.graphs.operators import GraphBuilder
from ...profiler.graphs.vision_operators import batch_norm
from ...profiler.workload import workload_from_model
from .operators import Convolution, Linear, MapOperator, NodeOperator, Operator

Generator = np.random.Generator

_SIDES = (7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224)
_MOST_CHANNELS = 2048
#: Larger than any kernel of a network for devices; a random shape beyond is drawn again.
_MOST_WEIGHTS, _MOST_VALUES = 2**22, 2**22
#: nn-Meter's reader loses the size of the map below a global pool and says 1, whatever it is: most networks end on 7.
_POOLED_SIDE = 7


@dataclass(frozen=True)
class Sample:
    """A kernel and what nn-Meter's reader says of it."""

    features: tuple[float, ...]
    operator: Operator


def _channels(dice: Generator, least: int = 8) -> int:
    """Log-uniform multiples of 8, which networks for devices have: runtimes run others by other code.

    A model in these features cannot tell an odd number from its neighbours, and would mix both up.
    """
    drawn = round(float(np.exp(dice.uniform(np.log(least), np.log(_MOST_CHANNELS)))))
    return max(least, drawn // 8 * 8)


def _pick(dice: Generator, values: tuple[int, ...]) -> int:
    return int(dice.choice(values))


def _map(dice: Generator) -> tuple[int, int]:
    """Side and channels of a map."""
    while True:
        side, channels = _pick(dice, _SIDES), _channels(dice)
        if side * side * channels <= _MOST_VALUES:
            return side, channels


def _work(side: int, stride: int, parameters: int) -> tuple[float, float]:
    """Millions of products and of weights, as the reader has them: its map shrinks to a fraction."""
    return 2 * side / stride * side / stride * parameters / 2e6, parameters / 1e6


def _conv(dice: Generator) -> Sample:
    while True:
        side, cin = _map(dice)
        if dice.random() < 0.1:
            side, cin = _pick(dice, _SIDES[9:]), 3
        cout, kernel, stride = _channels(dice), _pick(dice, (1, 1, 3, 3, 5, 7)), _pick(dice, (1, 1, 2))
        fits = side * side * cout <= _MOST_VALUES * stride * stride
        if fits and cin * cout * kernel * kernel <= _MOST_WEIGHTS:
            break
    work = _work(side, stride, cout * (kernel * kernel * cin + 1))
    operator = Convolution.square(1, cin, side, cout, kernel, stride, relu=True)
    return Sample((side, cin, cout, kernel, stride, *work), operator)


def _dwconv(dice: Generator) -> Sample:
    side, channels = _map(dice)
    kernel, stride = _pick(dice, (3, 5, 7)), _pick(dice, (1, 1, 2))
    work = _work(side, stride, channels * (kernel * kernel + 1))
    operator = Convolution.square(1, channels, side, channels, kernel, stride, groups=channels, relu=True)
    return Sample((side, channels, channels, kernel, stride, *work), operator)


def _fc(dice: Generator) -> Sample:
    while True:
        inner, outer = _channels(dice), _channels(dice)
        if inner * outer <= _MOST_WEIGHTS:
            products = (2 * inner + 1) * outer
            return Sample((inner, outer, products / 2e6, products / 1e6), Linear(1, inner, outer))


def _pool(kind: str) -> Callable[[Generator], Sample]:
    def draw(dice: Generator) -> Sample:
        side, channels = _map(dice)
        kernel, stride = _pick(dice, (2, 3, 5)), _pick(dice, (1, 2, 2))
        operator = MapOperator(kind, side, (channels,), kernel, stride)
        return Sample((side, channels, channels, kernel, stride), operator)

    return draw


def _global_pool(dice: Generator) -> Sample:
    side, channels = _map(dice)
    told, side = (1, _POOLED_SIDE) if dice.random() < 0.5 else (side, side)
    return Sample((told, channels), MapOperator("global-avgpool", side, (channels,)))


def _one_map(kind: str) -> Callable[[Generator], Sample]:
    def draw(dice: Generator) -> Sample:
        side, channels = _map(dice)
        return Sample((side, channels), MapOperator(kind, side, (channels,)))

    return draw


def _sum(kind: str) -> Callable[[Generator], Sample]:
    def draw(dice: Generator) -> Sample:
        side, channels = _map(dice)
        return Sample((side, channels, channels), MapOperator(kind, side, (channels, channels)))

    return draw


def _concat(dice: Generator) -> Sample:
    """Up to four inputs; the reader fills their channels up with zeros."""
    count = _pick(dice, (2, 3, 4))
    while True:
        side = _pick(dice, _SIDES)
        channels = tuple(_channels(dice) for _ in range(count))
        if side * side * sum(channels) <= _MOST_VALUES:
            break
    padded = channels + (0,) * (4 - count)
    return Sample((side, count, *padded), MapOperator("concat", side, channels))


#: The files that nn-Meter's own CPU predictor has, in its order.
KERNELS: Mapping[str, Callable[[Generator], Sample]] = MappingProxyType(
    {
        "conv-bn-relu": _conv,
        "dwconv-bn-relu": _dwconv,
        "fc": _fc,
        "global-avgpool": _global_pool,
        "hswish": _one_map("hswish"),
        "relu": _one_map("relu"),
        "se": _one_map("se"),
        "split": _one_map("split"),
        "add": _sum("add"),
        "addrelu": _sum("addrelu"),
        "maxpool": _pool("maxpool"),
        "avgpool": _pool("avgpool"),
        "bn": _one_map("bn"),
        "bnrelu": _one_map("bnrelu"),
        "channelshuffle": _one_map("channelshuffle"),
        "concat": _concat,
    }
)


def samples_of(kind: str, count: int, seed: int) -> list[Sample]:
    """Distinct random kernels of one kind; fewer where the kind has not so many."""
    dice = np.random.default_rng([seed, *kind.encode()])
    found: dict[tuple[float, ...], Sample] = {}
    for _ in range(4 * count):
        one = KERNELS[kind](dice)
        found.setdefault(one.features, one)
        if len(found) == count:
            break
    return list(found.values())


def fusion_pairs() -> dict[str, Operator]:
    """Pairs of operators that a runtime may run as one kernel, under the names of nn-Meter's rules.

    Which of them it does is asked of the runtime (``Prices.fuses``).
    """
    pairs: dict[str, Operator] = {}
    for name, groups in (("conv", 1), ("dwconv", 64)):
        pairs[f"{name}_relu"] = Convolution.square(1, 64, 28, 64, 3, 1, groups=groups, relu=True)
        pairs[f"{name}_add"] = Convolution.square(1, 64, 28, 64, 3, 1, groups=groups, residual=True)
        for second in ("bn", "hswish"):
            pairs[f"{name}_{second}"] = _conv_and(second, groups)
    pairs["fc_relu"] = _conv_and("relu", 0)
    return {**pairs, "add_relu": MapOperator("addrelu", 28, (64, 64)), "bn_relu": MapOperator("bnrelu", 28, (64,))}


def _conv_and(second: str, groups: int) -> NodeOperator:
    """A convolution, or a fully connected layer for 0 groups, and what follows it."""
    graph = GraphBuilder("pair")
    if groups:
        y = graph.conv(graph.input((1, 64, 28, 28)), 64, kernel=3, groups=groups)
    else:
        y = graph.linear(graph.input((1, 64)), 64)
    if second == "bn":
        y = batch_norm(graph, y)
    else:
        y = graph.activate(y, "relu" if second == "relu" else "hard_swish")
    name = f"pair {groups} {second}"
    return NodeOperator(name, workload_from_model(name, "operator", graph.model(y), tuple(graph.weights)))
