"""What a call costs before any work is done: measured with two tiny graphs in every session. Standard library only.

A chain of n sigmoids over one element takes ``overhead + n × node``; chains of two lengths give both. Kernels of a few
microseconds are mostly overhead, and a network pays it once where a sum of blocks would pay it twenty times.

The two graphs are written byte by byte, since a board that measures need not have the onnx package. They are to the
last bit what ``GraphBuilder`` makes, and a test keeps them so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise

from .protobuf import written
from .records import Visit
from .runner import ONNX_TYPES
from .statistics import median
from .workload import Workload

_SHORT, _LONG = 1, 17
#: Identity of each chain by its length (``identity.py``). Stored measurements go by it: it changes only with the rules
#: of identity, and then with everybody else's.
_GRAPH_HASHES = {
    _SHORT: "078930678cde0444d8f5c9314197bf6b9cd6277b2e4bfce8c5b04327ec7ad018",
    _LONG: "1af8469abeef2b37a44e632aea53f9fa41834dffc973bc1b90aaf5e202f442b1",
}
#: As ``graphs/operators.py`` has them.
_IR_VERSION, _OPSET = 8, 17


@cache
def overhead_probes() -> dict[str, Workload]:
    """The two chains by name."""
    return {f"sigmoid_chain_{length}": _sigmoid_chain(length) for length in (_SHORT, _LONG)}


def _sigmoid_chain(length: int) -> Workload:
    return Workload(f"sigmoid_chain_{length}", "operator", _GRAPH_HASHES[length], _chain_model(length))


def _chain_model(length: int) -> bytes:
    """The serialised model; the numbers are those of ONNX's fields (onnx.proto)."""
    values = ["input", *(f"v{place}" for place in range(length))]
    graph = b"".join(
        written(1, written(1, read) + written(2, made) + written(4, "Sigmoid")) for read, made in pairwise(values)
    )
    graph += written(2, "graph") + written(11, _one_float(values[0])) + written(12, _one_float(values[-1]))
    opset = written(1, "") + written(2, _OPSET)
    return written(1, _IR_VERSION) + written(7, graph) + written(8, opset)


def _one_float(name: str) -> bytes:
    """An input or output of one float32 element."""
    shape = written(1, written(1, 1))
    tensor = written(1, ONNX_TYPES["float32"]) + written(2, shape)
    return written(1, name) + written(2, written(1, tensor))


def overhead_ms(visits: Mapping[str, Sequence[Visit]]) -> float | None:
    """Milliseconds of an empty call; None when either chain has no valid visit."""
    medians = {}
    for name, made in visits.items():
        values = [visit.value_ns for visit in made if visit.value_ns is not None]
        if not values:
            return None
        medians[name] = median(values)
    short, long = medians[f"sigmoid_chain_{_SHORT}"], medians[f"sigmoid_chain_{_LONG}"]
    node = max(0.0, (long - short) / (_LONG - _SHORT))
    return max(0.0, short - _SHORT * node) / 1e6
