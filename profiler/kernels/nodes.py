"""Names of a workload's ONNX nodes, and which kernel a line of the runtime's trace is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from .shapes import Shape

if TYPE_CHECKING:
    from ..workload import Workload
    from .graph import Kernel


def node_names(workload: Workload) -> tuple[str, ...]:
    """Names for people of the nodes of a workload's skeleton, in its order.

    Those of the file at ``workload.path`` where it is there and has names, else ``<op type>_<position>``, which is also
    how ONNX Runtime calls a nameless node in its traces.
    """
    nodes = onnx.load_model_from_string(workload.skeleton).graph.node
    names = [f"{node.op_type}_{position}" for position, node in enumerate(nodes)]
    if not workload.path:
        return tuple(names)
    try:
        written = onnx.load(Path(workload.path), load_external_data=False).graph.node
    except (OSError, DecodeError):
        # Copies with concrete shapes live only as long as they are measured.
        return tuple(names)
    if [node.op_type for node in written] != [node.op_type for node in nodes]:
        return tuple(names)
    return tuple(node.name or name for node, name in zip(written, names, strict=True))


def match_records(kernels: Sequence[Kernel], records: Sequence[Mapping[str, object]]) -> list[int | None]:
    """For each line of a trace the position of its kernel in ``kernels``.

    ONNX Runtime names the nodes that it inserts anew in every session, and independent ones change places from session
    to session, so neither name nor place decides alone: operator and shapes of the outputs must agree; among those that
    do, names and then the order of execution tell which is which. None for a line about a node inside an If, Loop or
    Scan, whose time is part of that kernel's, and for what fits nothing.

    Args:
        kernels: of the traced graph, in order of execution.
        records: of the runner's ``profile`` answer: ``op``, ``name`` and ``outputs`` (type and shape of each).
    """
    scores = [[_likeness(kernel, record) for record in records] for kernel in kernels]
    found = _align(scores, len(records))
    for k in sorted(set(range(len(kernels))) - set(found)):
        free = [r for r, taken in enumerate(found) if taken is None and scores[k][r]]
        if free:
            found[max(free, key=lambda r: scores[k][r])] = k
    return found


def match_calls(kernels: Sequence[Kernel], records: Sequence[Mapping[str, object]]) -> list[int | None]:
    """For each call that TVM's virtual machine made the position of its kernel: the next one of the same name.

    None for a call that the compiler did not announce.
    """
    waiting: dict[str, list[int]] = {}
    for place, kernel in enumerate(kernels):
        waiting.setdefault(kernel.name, []).append(place)
    found: list[int | None] = []
    for record in records:
        places = waiting.get(str(record["name"]), [])
        found.append(places.pop(0) if places else None)
    return found


def _likeness(kernel: Kernel, record: Mapping[str, object]) -> int:
    """0 where they cannot be the same; known shapes count 1 and a name 2."""
    if kernel.op.rpartition(".")[2] != record["op"]:
        return 0
    outputs = record["outputs"]
    shapes = [tuple(shape) for _, shape in outputs] if isinstance(outputs, list) else []
    pairs = zip(map(_unpadded(kernel), kernel.outputs), map(_unpadded(kernel), shapes), strict=False)
    if any(stated is not None and stated != seen for stated, seen in pairs):
        return 0
    return 1 + (None not in kernel.outputs) + 2 * (record["name"] == kernel.name)


def _unpadded(kernel: Kernel) -> Callable[[Shape | None], Shape | None]:
    """What to compare of a shape: a kernel that reorders an input states it without the padding of its channels."""
    if kernel.op == "nchwc.ReorderInput":
        return lambda shape: shape if shape is None else (shape[0], *shape[2:])
    return lambda shape: shape


def _align(scores: list[list[int]], width: int) -> list[int | None]:
    """Global alignment of two sequences (Needleman & Wunsch, J. Mol. Biol. 1970) without a price for gaps."""
    best = [[0] * (width + 1) for _ in range(len(scores) + 1)]
    for k, row in enumerate(scores):
        for r, score in enumerate(row):
            matched = best[k][r] + score if score else 0
            best[k + 1][r + 1] = max(matched, best[k][r + 1], best[k + 1][r])
    found: list[int | None] = [None] * width
    k, r = len(scores), width
    while k and r:
        score = scores[k - 1][r - 1]
        if score and best[k][r] == best[k - 1][r - 1] + score:
            k, r = k - 1, r - 1
            found[r] = k
        elif best[k][r] == best[k][r - 1]:
            r -= 1
        else:
            k -= 1
    return found
