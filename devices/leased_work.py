"""A leased job as a workload: its model unpacked or fetched, and through the gate before any runtime sees it.

That a skeleton has the graph's hash is not checked here: the hash is of the canonical graph, which takes the onnx
package. A blob's sha256 is. Standard library only.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Callable
from dataclasses import replace

from ..profiler.errors import BrokenModel, UnsafeModel
from ..profiler.fleet_protocol import LeasedWorkload
from ..profiler.onnx_gate import DEFAULT_LIMITS, GateLimits, check_onnx
from ..profiler.weights import Weight
from ..profiler.workload import Workload

#: Bytes of one element of the types that weights may have.
_WIDTHS = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4, "uint32": 4, "float32": 4,
    "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip

#: A larger file is not fetched: the gate would refuse it.
MODEL_BYTES_MAX = DEFAULT_LIMITS.model_bytes
#: Fetches a skeleton by its sha256.
Fetch = Callable[[str], bytes]


def gate_limits(memory_bytes: int | None) -> GateLimits:
    """What a model may be on a machine with so much memory for a runner."""
    if memory_bytes is None:
        return DEFAULT_LIMITS
    return replace(DEFAULT_LIMITS, tensor_bytes=min(DEFAULT_LIMITS.tensor_bytes, memory_bytes))


def workload_of(leased: LeasedWorkload, fetch: Fetch, limits: GateLimits) -> Workload:
    """The workload, ready to be measured.

    Raises:
        ModelError: it is not what a runtime may be handed.
        HubError, OutputError: as the fetching of it.
    """
    if leased.skeleton_sha256:
        skeleton = fetch(leased.skeleton_sha256)
    else:
        skeleton = _unpacked(leased.skeleton, limits.model_bytes) if leased.skeleton else b""
    if not skeleton:
        raise BrokenModel("the lease brings no model")
    _check(skeleton, leased.weights, limits)
    return Workload(leased.name, leased.kind, leased.graph_hash, skeleton, leased.weights)


def _check(model: bytes, weights: tuple[Weight, ...], limits: GateLimits) -> None:
    """The one call of the gate; the weights that are to be made count with what the model brings."""
    found = check_onnx(model, limits).tensor_bytes + sum(map(_size_bytes, weights))
    if found > limits.tensor_bytes:
        raise UnsafeModel(f"its tensors take {found:,} bytes, more than {limits.tensor_bytes:,}")


def _size_bytes(weight: Weight) -> int:
    if weight.dtype not in _WIDTHS or any(size < 0 for size in weight.shape):
        raise UnsafeModel(f"the weight {weight.name!r} has the type {weight.dtype!r} and the shape {weight.shape}")
    return _WIDTHS[weight.dtype] * math.prod(weight.shape)


def _unpacked(text: str, most_bytes: int) -> bytes:
    try:
        packed = base64.b64decode(text, validate=True)
        unpacker = zlib.decompressobj()
        found = unpacker.decompress(packed, most_bytes)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise BrokenModel(f"the skeleton in the lease cannot be unpacked: {error}") from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise BrokenModel(f"the skeleton in the lease is cut off, or has more than {most_bytes:,} bytes")
    return found
