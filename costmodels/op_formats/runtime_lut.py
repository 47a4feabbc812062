"""runtime_lut (facebookresearch/mobile-vision): JSON lines of Caffe2's operators, in microseconds.

Its reader compares type, arguments, input shapes, types and device letter for letter, and reports a network as not
found where one operator is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...profiler.errors import GateError
from ...profiler.records import Json
from ..lut_formats.card import UNITS, FormatCard
from .base import OpTableFormat, Priced, Row
from .model_layers import Layer, is_convolution, is_linear, require_plain
from .operators import Shape
from .request import Request

#: Caffe2's numbers of its types.
_FLOAT, _UINT8, _INT8, _INT32 = 1, 4, 5, 2
_POLICY = (
    "runtime_us_p50 is the predicted median. p0, p10, p90 and p100 would be the spread of single runs, which a"
    " predictor does not know: null. The 90 % interval of the median stands at each row as lo and hi."
)
_SPELLING = (
    "op_args as Caffe2's ONNX backend writes them (kernels, strides, pads, dilations, group); a net that was made with"
    " other arguments (kernel, stride, pad) finds nothing"
)
#: Operators whose arguments say nothing, under Caffe2's names.
_PLAIN = {"Relu": "Relu", "Add": "Add", "Mul": "Mul", "Sigmoid": "Sigmoid", "Sum": "Sum"}
#: A runtime that keeps these in 8 bits reads and writes channels last.
_INT8_KINDS = frozenset({"Conv", "FC", "Relu", "Add", "AveragePool", "MaxPool"})


@dataclass(frozen=True)
class _Record:
    """What the reader looks for."""

    op_type: str
    op_args: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    input_dtypes: tuple[int, ...]

    @property
    def name(self) -> str:
        arguments = " ".join(" ".join(argument.split()) for argument in self.op_args)
        shapes = " ".join("x".join(map(str, shape)) for shape in self.input_shapes)
        return f"{self.op_type} {shapes} {list(self.input_dtypes)} {arguments}".rstrip()


class RuntimeLutFormat(OpTableFormat):
    """A line for each distinct operator of the models."""

    name = "runtime-lut"
    card = FormatCard(
        title="runtime_lut (ChamNet, FBNet)",
        reader="runtime_lut/code/api.py RunTimeAPI(db_dir).get_net_runtime(net, …, device)",
        units=(("latency", "us"),),
        note="From .onnx files. p0, p10, p90 and p100 are null: a predictor knows no spread of runs.",
    )
    models = (1, 1000)

    def rows(self, request: Request) -> list[Row]:
        """Each distinct operator once; what Caffe2 has no name for here is refused."""
        found: dict[str, Row] = {}
        strange: Counter[str] = Counter()
        for model in request.models:
            for layer in model.layers:
                record = _record(layer, _is_int8(request))
                if record is None:
                    strange[layer.kernel.op] += 1
                else:
                    found.setdefault(record.name, Row(record.name, layer.operator))
        if strange:
            named = ", ".join(f"{kind} ({count})" for kind, count in sorted(strange.items()))
            raise GateError(
                f"'{self.name}' has no rows for {named}, and its reader reports a network as not found that lacks one",
                remedy="write 'mobile-cv', whose reader counts convolutions and fully connected layers alone",
            )
        return list(found.values())

    def render(self, priced: Sequence[Priced], request: Request) -> dict[str, bytes]:
        """One object a line."""
        latency = {one.row.name: one.latency_ms for one in priced}
        records = {}
        for model in request.models:
            for layer in model.layers:
                record = _record(layer, _is_int8(request))
                if record is not None:
                    records[record.name] = record
        device = request.prices.about.slug
        lines = [_line(record, device, latency[name] * UNITS["us"]) for name, record in records.items()]
        return {f"{device}-op_lut_database.json": ("\n".join(lines) + "\n").encode()}

    def said(self, priced: Sequence[Priced], request: Request) -> dict[str, Json]:
        models: list[Json] = [model.name for model in request.models]
        return {**super().said(priced, request), "models": models, "percentiles": _POLICY, "arguments": _SPELLING}


def _line(record: _Record, device: str, p50_us: float) -> str:
    document: dict[str, Json] = {
        "op_type": record.op_type,
        "op_args": [*record.op_args],
        "input_shapes": [[*shape] for shape in record.input_shapes],
        "input_dtypes": [*record.input_dtypes],
        "runtime_us_p0": None,
        "runtime_us_p10": None,
        "runtime_us_p50": p50_us,
        "runtime_us_p90": None,
        "runtime_us_p100": None,
        "device": device,
    }
    return json.dumps(document, allow_nan=False)


def _is_int8(request: Request) -> bool:
    return (request.prices.about.precision or "").startswith("int8")


def _record(layer: Layer, is_int8: bool) -> _Record | None:
    op_type, arguments = _described(layer)
    if not op_type:
        return None
    shapes = tuple(shape for shape in (*layer.kernel.inputs, *layer.kernel.weights) if shape is not None)
    inputs = len(layer.kernel.inputs)
    if not is_int8 or op_type not in _INT8_KINDS:
        args = tuple(_proto(name, value) for name, value in sorted(arguments.items()))
        return _Record(op_type, args, shapes, (_FLOAT,) * len(shapes))
    arguments = {**arguments, **({"order": "NHWC"} if len(layer.input) == 4 else {})}
    kinds = (_UINT8,) * inputs + (_INT8, _INT32)[: len(shapes) - inputs]
    args = tuple(_proto(name, value) for name, value in sorted(arguments.items()))
    return _Record(f"Int8{op_type}", args, tuple(map(_channels_last, shapes)), kinds)


def _described(layer: Layer) -> tuple[str, Mapping[str, int | float | str | Shape]]:
    """Caffe2's type and arguments; an empty type where there is none."""
    if is_convolution(layer):
        require_plain(layer)
        return "Conv", {**_window(layer), "dilations": layer.numbers("dilations", 1), "group": layer.groups}
    if is_linear(layer) and layer.kernel.op == "Gemm":
        return "FC", {}
    if layer.kernel.op == "GlobalAveragePool":
        return "AveragePool", {"global_pooling": 1}
    if layer.kernel.op in ("AveragePool", "MaxPool"):
        require_plain(layer)
        return layer.kernel.op, _window(layer)
    if layer.kernel.op in ("Concat", "Softmax", "Flatten"):
        return layer.kernel.op, {"axis": int(layer.kernel.attribute.get("axis", "1"))}
    if layer.kernel.op == "Clip" and len(layer.scalars) == 2:
        return "Clip", {"min": layer.scalars[0], "max": layer.scalars[1]}
    return _PLAIN.get(layer.kernel.op, ""), {}


def _window(layer: Layer) -> dict[str, Shape]:
    names: dict[str, tuple[str, int]] = {"kernels": ("kernel_shape", 1), "strides": ("strides", 1), "pads": ("pads", 0)}
    return {caffe: layer.numbers(name, default) for caffe, (name, default) in names.items()}


def _proto(name: str, value: int | float | str | Shape) -> str:
    """An argument as the text form of its protocol buffer."""
    if isinstance(value, str):
        fields = [f's: "{value}"']
    elif isinstance(value, tuple):
        fields = [f"ints: {number}" for number in value]
    else:
        fields = [f"i: {value}" if isinstance(value, int) else f"f: {value}"]
    return "".join(f"{line}\n" for line in [f'name: "{name}"', *fields])


def _channels_last(shape: Shape) -> Shape:
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape
