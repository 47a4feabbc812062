"""mobile_cv (facebookresearch/mobile-vision): a pickle of its LutTable, of the operators of one or more models.

Its reader finds an operator by its PyTorch arguments and input shapes, averages what stands there twice, and fails at
one that is missing. Batch normalisation and activations it does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...profiler.errors import UsageError
from ...profiler.records import Json
from ..lut_formats.card import FormatCard
from .base import OpTableFormat, Priced, Row
from .class_pickle import Instance, Value, pickled
from .model_layers import Layer, features, is_convolution, is_linear, require_plain
from .operators import Shape
from .request import Request

_SCHEMA = "mobile_cv.lut.lib.lut_schema"
_OPS = "mobile_cv.lut.lib.lut_ops"
#: How PyTorch's users write a pool to one number; the model's file does not tell.
_POOL_SIZES: tuple[Value, ...] = (1, (1, 1))

_Known = tuple[str, dict[str, Value]]


class MobileCvFormat(OpTableFormat):
    """Convolutions, transposed convolutions, fully connected layers, pools to one number, matrix products."""

    name = "mobile-cv"
    card = FormatCard(
        title="mobile_cv (FBNet, mobile-vision)",
        reader="mobile_cv.lut.lib.lut_schema.LutTable.Load(file), LutQuery(table.items)",
        units=(("latency", "ms"), ("energy", "mJ")),
        note="From .onnx files. MultiheadAttention cannot be told from an ONNX file; its products have rows.",
    )
    models = (1, 1000)

    def rows(self, request: Request) -> list[Row]:
        """Each distinct operator of the models once."""
        found: dict[str, Row] = {}
        for model in request.models:
            for layer in model.layers:
                for kind, info in _operators(layer):
                    name = _name(kind, info, layer)
                    found.setdefault(name, Row(name, layer.operator))
        return list(found.values())

    def render(self, priced: Sequence[Priced], request: Request) -> dict[str, bytes]:
        """The classes are the reader's, by name."""
        latency = {one.row.name: one.latency_ms for one in priced}
        items: dict[str, Value] = {}
        for model in request.models:
            for layer in model.layers:
                for kind, info in _operators(layer):
                    name = _name(kind, info, layer)
                    items[name] = _item(kind, info, layer, latency[name])
        table = Instance(_SCHEMA, "LutTable", {"items": list(items.values())})
        return {f"{request.prices.about.slug}-lut.pkl": pickled(table)}

    def said(self, priced: Sequence[Priced], request: Request) -> dict[str, Json]:
        free = sorted({layer.kernel.op for model in request.models for layer in model.layers if not _operators(layer)})
        return {
            **super().said(priced, request),
            "models": [model.name for model in request.models],
            "operators_that_the_reader_does_not_count": [*free],
        }


def _item(kind: str, info: dict[str, Value], layer: Layer, latency_ms: float) -> Value:
    own: dict[str, Value] = {"info": info}
    if kind.startswith("Conv") and kind != "ConvTranspose2d":
        own["allow_frac"] = False
    shapes: list[Value] = [Instance(_SCHEMA, "TensorShape", {"shape": shape}) for shape in layer.kernel.inputs]
    described = Instance(_SCHEMA, "OpInfo", {"op": Instance(_OPS, kind, own), "input_shapes": shapes})
    return Instance(_SCHEMA, "LutItem", {"op_info": described, "latency": latency_ms})


def _name(kind: str, info: dict[str, Value], layer: Layer) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in info.items())
    return f"{kind}({arguments}) {' '.join(str(shape) for shape in layer.kernel.inputs)}"


def _operators(layer: Layer) -> list[_Known]:
    """The rows of a node; none for one that the reader does not count."""
    if is_convolution(layer) and 3 <= len(layer.input) <= 5:
        return [(f"Conv{len(layer.input) - 2}d", _convolution(layer))]
    if layer.kernel.op == "ConvTranspose" and len(layer.input) == 4:
        return [("ConvTranspose2d", _transposed(layer))]
    if is_linear(layer):
        inner, outer = features(layer)
        return [("Linear", {"in_features": inner, "out_features": outer, "bias": layer.has_bias})]
    if layer.kernel.op == "MatMul" and len(layer.kernel.inputs) == 2:
        return [("MatMul", {})]
    if layer.kernel.op == "GlobalAveragePool" and len(layer.input) == 4:
        return [("AdaptiveAvgPool2d", {"output_size": size}) for size in _POOL_SIZES]
    return []


def _convolution(layer: Layer) -> dict[str, Value]:
    return {
        "in_channels": layer.weight[1] * layer.groups,
        "out_channels": layer.weight[0],
        "kernel_size": layer.numbers("kernel_shape", 1),
        "stride": layer.numbers("strides", 1),
        "padding": _padding(layer),
        "dilation": layer.numbers("dilations", 1),
        "groups": layer.groups,
        "bias": layer.has_bias,
    }


def _transposed(layer: Layer) -> dict[str, Value]:
    return {
        "in_channels": layer.weight[0],
        "out_channels": layer.weight[1] * layer.groups,
        "kernel_size": layer.numbers("kernel_shape", 1),
        "stride": layer.numbers("strides", 1),
        "padding": _padding(layer),
        "output_padding": layer.numbers("output_padding", 0),
        "groups": layer.groups,
        "bias": layer.has_bias,
        "dilation": layer.numbers("dilations", 1),
    }


def _padding(layer: Layer) -> Shape:
    """PyTorch pads both ends alike."""
    require_plain(layer)
    pads = layer.numbers("pads", 0)
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        raise UsageError(
            f"{layer.name} is padded by {pads}, which no PyTorch convolution is",
            remedy="export the model from PyTorch, which pads by an operator of its own",
        )
    return pads[:half]
