"""Read an ONNX file as a workload, and refuse what cannot be measured, with the reason and the remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import TensorProto, checker, external_data_helper, helper, shape_inference

from .errors import BrokenModel, DynamicShape, ExternalDataMissing, UnsupportedOperator, UsageError
from .identity import hash_graph, is_structural, strip_model
from .precision.roles import quantised_roles
from .runner import ONNX_TYPES
from .shape_operands import decides_shapes, shape_operands
from .weights import Weight
from .workload import Workload

Shape = tuple[int, ...]


def read_model(path: Path, shapes: Mapping[str, Shape] | None = None, scratch: Path | None = None) -> Workload:
    """The whole network in an ONNX file.

    Args:
        shapes: concrete shapes of inputs, by name; needed for inputs with dynamic dimensions.
        scratch: a folder for the copy with concrete shapes; needed only when ``shapes`` is given.

    Raises:
        BrokenModel: not an ONNX file, truncated, or not valid.
        ExternalDataMissing: a file that holds weights is not beside the model.
        DynamicShape: an input has no concrete shape; the message names the option.
        UnsupportedOperator: an operator that ONNX does not define. One of another domain is left to the runtime.
        UsageError: ``shapes`` names an input that does not exist, or contradicts the model.
    """
    if shapes and scratch is None:
        raise UsageError("concrete shapes need a scratch folder for the copy of the model")
    model, workload = _read(path, shapes)
    measured = _write_copy(model, path, scratch) if shapes and scratch else path
    return replace(workload, path=str(measured.resolve()))


def read_graph(path: Path, shapes: Mapping[str, Shape] | None = None) -> Workload:
    """The network in an ONNX file, to be priced and not to be run: no copy is written, and it points to no file.

    Raises what ``read_model`` raises.
    """
    return _read(path, shapes)[1]


def _read(path: Path, shapes: Mapping[str, Shape] | None) -> tuple[onnx.ModelProto, Workload]:
    model = _load(path)
    _check_external_data(model, path)
    _load_structural(model, path)
    if shapes:
        _set_shapes(model, shapes)
    _check_shapes(model)
    with _told(path):
        _check_file(path)
        skeleton, weights = split_weights(model)
        # The numbers of weights say nothing about shapes, and are most of the file.
        shape_inference.infer_shapes(with_weight_inputs(skeleton, weights), strict_mode=True, data_prop=True)
    try:
        graph_hash = hash_graph(skeleton, weights)
    except ValueError as error:
        raise BrokenModel(f"{path}: {error}") from error
    return model, Workload(path.stem, "network", graph_hash, skeleton.SerializeToString(), weights)


def split_weights(
    model: onnx.ModelProto, keep: frozenset[str] = frozenset()
) -> tuple[onnx.ModelProto, tuple[Weight, ...]]:
    """The model without the numbers of its weights, and the description of what was taken out.

    The initialisers named in ``keep``, and the scales and zero points of quantised operators, stay as they are; so do
    the factors of a Resize and whatever else decides the shape of what follows.
    """
    skeleton = strip_model(model)
    roles = quantised_roles(skeleton.graph.node)
    operands = shape_operands(skeleton.graph.node)
    weights = []
    kept = []
    for tensor in skeleton.graph.initializer:
        dtype = str(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        inside = tensor.data_location != TensorProto.EXTERNAL
        kept_by_name = inside and (tensor.name in keep or decides_shapes(tensor, operands))
        if kept_by_name or is_structural(tensor, roles.get(tensor.name)) or dtype not in ONNX_TYPES:
            # Strings, float8 and the like cannot be generated, so they stay as they are.
            kept.append(tensor)
            continue
        fan_in = math.prod(tensor.dims[1:]) if len(tensor.dims) > 1 else 0
        spread = math.sqrt(2.0 / fan_in) if fan_in else 0.1
        weights.append(Weight(tensor.name, tuple(tensor.dims), dtype, spread))
    del skeleton.graph.initializer[:]
    skeleton.graph.initializer.extend(kept)
    names = {weight.name for weight in weights}
    # Old exporters list weights among the inputs as well; nobody feeds those.
    inputs = [value for value in skeleton.graph.input if value.name not in names]
    del skeleton.graph.input[:]
    skeleton.graph.input.extend(inputs)
    return skeleton, tuple(weights)


def with_weight_inputs(skeleton: onnx.ModelProto, weights: Sequence[Weight]) -> onnx.ModelProto:
    """A copy of the skeleton in which its weights are inputs, for shape inference."""
    complete = onnx.ModelProto()
    complete.CopyFrom(skeleton)
    for weight in weights:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(weight.dtype))
        complete.graph.input.append(helper.make_tensor_value_info(weight.name, kind, weight.shape))
    return complete


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError as error:
        raise BrokenModel(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise BrokenModel(f"{path} is a folder, not an ONNX file") from error
    except OSError as error:
        raise BrokenModel(f"{path} cannot be read: {error.strerror or error}") from error
    except DecodeError as error:
        raise BrokenModel(
            f"{path} is not an ONNX model, or is truncated", remedy="export or download it again"
        ) from error
    if not model.graph.node:
        raise BrokenModel(f"{path} holds no graph: empty, truncated, or not an ONNX model", remedy="export it again")
    return model


def _check_external_data(model: onnx.ModelProto, path: Path) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        data = path.parent / entries.get("location", "")
        if not data.is_file():
            raise ExternalDataMissing(
                f"the weight {tensor.name!r} of {path} stands in {entries.get('location')!r}, which is not there",
                remedy=f"put the file beside the model, into {path.parent}",
            )
        need = int(entries.get("offset", "0")) + int(entries.get("length", "0"))
        if data.stat().st_size < need:
            raise ExternalDataMissing(
                f"{data} is truncated: {data.stat().st_size} bytes, the weight {tensor.name!r} ends at {need}",
                remedy="download or export it again",
            )


def _load_structural(model: onnx.ModelProto, path: Path) -> None:
    """Take in the shapes, axes, indices and scales that stand in another file: their values decide what is computed."""
    roles = quantised_roles(model.graph.node)
    operands = shape_operands(model.graph.node)
    for tensor in model.graph.initializer:
        inside = TensorProto(data_type=tensor.data_type, dims=tensor.dims)
        wanted = decides_shapes(tensor, operands) or is_structural(inside, roles.get(tensor.name))
        if tensor.data_location == TensorProto.EXTERNAL and wanted:
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        if "No Op registered" in str(error):
            raise UnsupportedOperator(f"{path} holds an operator that ONNX does not define: {error}") from error
        raise BrokenModel(
            f"{path} is not a valid ONNX model: {error}",
            remedy="onnx.checker.check_model(path, full_check=True) says the same; export it again",
        ) from error


def _check_file(path: Path) -> None:
    try:
        checker.check_model(str(path), full_check=False)
    except checker.ValidationError as error:
        # Values of unknown rank break ONNX's rules but no runtime; inputs are dealt with under their own name.
        if "Field 'shape' of 'type' is required but missing" not in str(error):
            raise


def _feeds(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _set_shapes(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> None:
    inputs = {value.name: value for value in _feeds(model)}
    for name, shape in shapes.items():
        if name not in inputs:
            raise UsageError(f"the model has no input {name!r}; its inputs are {', '.join(inputs)}")
        _check_tensor(inputs[name])
        dims = inputs[name].type.tensor_type.shape.dim
        if inputs[name].type.tensor_type.HasField("shape") and len(dims) != len(shape):
            raise UsageError(f"input {name!r} has {len(dims)} dimensions, the given shape has {len(shape)}")
        fixed = [dim.dim_value for dim in dims]
        if any(old > 0 and old != new for old, new in zip(fixed, shape, strict=False)):
            raise UsageError(f"input {name!r} is fixed to {_shape_text(inputs[name])}; {list(shape)} contradicts it")
        for dim in dims:
            dim.Clear()
        dims_left = inputs[name].type.tensor_type.shape
        while len(dims_left.dim) < len(shape):
            dims_left.dim.add()
        for dim, size in zip(dims_left.dim, shape, strict=True):
            dim.dim_value = size
    # Shapes that were written down for the dynamic model would contradict the new ones.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _check_shapes(model: onnx.ModelProto) -> None:
    for value in _feeds(model):
        _check_tensor(value)
        tensor = value.type.tensor_type
        concrete = tensor.HasField("shape") and all(dim.dim_value > 0 for dim in tensor.shape.dim)
        if not concrete:
            example = (
                ",".join(str(dim.dim_value) if dim.dim_value > 0 else "1" for dim in tensor.shape.dim) or "1,3,224,224"
            )
            zero = any(dim.HasField("dim_value") and dim.dim_value <= 0 for dim in tensor.shape.dim)
            raise DynamicShape(
                f"input {value.name!r} has the shape {_shape_text(value)}: "
                + ("a dimension is zero" if zero else "a dimension is not fixed"),
                remedy=f"give it: --shape {value.name}={example}",
            )


def _check_tensor(value: onnx.ValueInfoProto) -> None:
    if not value.type.HasField("tensor_type"):
        raise BrokenModel(f"input {value.name!r} is not a tensor; edgecost measures tensors only")


def _shape_text(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return "unknown"
    dims = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    return "[" + ", ".join(dims) + "]"


def _write_copy(model: onnx.ModelProto, path: Path, scratch: Path) -> Path:
    """The model with concrete shapes; weights in other files are written again beside the copy."""
    copy = scratch / path.name
    external = any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    if external:
        onnx.load_external_data_for_model(whole, str(path.parent))
    onnx.save(whole, str(copy), save_as_external_data=external, location=f"{path.name}.data")
    return copy
