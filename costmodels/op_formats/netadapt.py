"""NetAdapt (denru01/netadapt): a pickle of each layer's latencies over its numbers of channels: batch 4, seconds.

Its reader takes a pair that stands there as it is, puts a cubic surface through the others, and stops at a layer that
is missing.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence

import numpy as np

from ...profiler.errors import UsageError
from ...profiler.records import Json
from ..lut_formats.card import UNITS, FormatCard
from .base import OpTableFormat, Priced, Row, unit_of
from .model_layers import Layer, ModelLayers, at_batch, features, is_linear
from .request import Request

_PROTOCOL = 4
_BATCH = 4
#: The reader's own steps: numbers of channels that it asks for are multiples of these, or the layer's own.
_CONVOLUTION_STEP, _LINEAR_STEP = 8, 128

Pair = tuple[int, int]


class NetAdaptFormat(OpTableFormat):
    """``{layer: {"latency": {(in, out): seconds}}}``."""

    name = "netadapt"
    card = FormatCard(
        title="NetAdapt",
        reader="functions.compute_latency_from_lookup_table(network_def, file); master.py -lt file",
        units=(("latency", "s"), ("energy", "mJ")),
        note="From one .onnx file with PyTorch's names. Batch 4. Between the grid's channels it interpolates.",
    )
    models = (1, 1)

    def rows(self, request: Request) -> list[Row]:
        """Every layer's grid."""
        (model,) = request.models
        _check_layers(model)
        return [
            Row(_name(layer, pair), at_batch(layer, _BATCH, pair))
            for layer in model.weighted
            for pair in _pairs(layer, request.grid.steps)
        ]

    def render(self, priced: Sequence[Priced], request: Request) -> dict[str, bytes]:
        """Plain dictionaries and numbers."""
        (model,) = request.models
        factor = UNITS[unit_of(self.name, self.card, request)]
        latency = {one.row.name: one.latency_ms * factor for one in priced}
        table = {
            layer.name: {
                "latency": {pair: latency[_name(layer, pair)] for pair in _pairs(layer, request.grid.steps)},
            }
            for layer in model.weighted
        }
        return {f"{model.name}-{request.prices.about.slug}-lut.pkl": pickle.dumps(table, _PROTOCOL)}

    def said(self, priced: Sequence[Priced], request: Request) -> dict[str, Json]:
        return {"batch": _BATCH, "model": request.models[0].name, "channel_steps": request.grid.steps}


def _check_layers(model: ModelLayers) -> None:
    """Names must tell layers apart, and all layers that the reader asks for must be there.

    Raises:
        UsageError: they do not, or one cannot be had.
    """
    names = [layer.name for layer in model.weighted]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"several layers of {model.name} are called {', '.join(twice)}",
            remedy="export the model with keep_initializers_as_inputs=False and unfused names, as PyTorch does",
        )
    other = [layer.name for layer in model.layers if layer.kernel.op == "ConvTranspose"]
    if other:
        raise UsageError(f"transposed convolutions have no grid here: {', '.join(other)}")
    grouped = [one.name for one in model.weighted if not is_linear(one) and 1 < one.groups < one.input[1]]
    if grouped:
        raise UsageError(
            f"convolutions in groups have no grid: {', '.join(grouped)}",
            remedy="the reader takes every convolution in groups for a depthwise one",
        )


def _pairs(layer: Layer, steps: int) -> Iterator[Pair]:
    """The largest first, as the reader makes them."""
    if is_linear(layer):
        inner, outer = features(layer)
        step = _LINEAR_STEP
    else:
        inner, outer = layer.input[1], layer.weight[0]
        step = _CONVOLUTION_STEP
        if layer.groups == inner > 1:
            yield from ((size, size) for size in _sizes(inner, step, steps))
            return
    for some in _sizes(inner, step, steps):
        yield from ((some, other) for other in _sizes(outer, step, steps))


def _sizes(most: int, step: int, count: int) -> list[int]:
    """Sizes that the reader may ask for, evenly over all of them: from the layer's own down to the last above 0."""
    every = list(range(most, 0, -step))
    chosen = np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int))
    return [every[place] for place in chosen.tolist()]


def _name(layer: Layer, pair: Pair) -> str:
    return f"{layer.name} {pair[0]} {pair[1]}"
