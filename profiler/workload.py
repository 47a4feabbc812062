"""A workload: an ONNX graph with concrete shapes, as it is named, stored, sent and measured.

Reading a file is in ``model_file.py``; the hashes are made in ``identity.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .weights import Weight

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Workload:
    """One measurable graph.

    Attributes:
        name: for people; not part of the identity.
        kind: ``operator``, ``block``, ``network``, or ``kernel`` for one that was cut out of a network.
        graph_hash: sha256 of the canonical graph (``identity.py``), the same for any weights.
        skeleton: serialised ModelProto without the numbers of its weights.
        weights: what to generate in their place.
        path: an ONNX file with its own weights; the runner loads that instead of the skeleton. Empty for built graphs.
    """

    name: str
    kind: str
    graph_hash: str
    skeleton: bytes = field(repr=False)
    weights: tuple[Weight, ...] = field(repr=False, default=())
    path: str = ""


def workload_from_model(name: str, kind: str, model: onnx.ModelProto, weights: tuple[Weight, ...] = ()) -> Workload:
    """Name a built graph: its skeleton stripped of names and notes, and hashed."""
    # Who only measures what others have built reads no graph, and a board need not have the onnx package.
    from .identity import hash_graph, strip_model

    skeleton = strip_model(model)
    return Workload(
        name=name,
        kind=kind,
        graph_hash=hash_graph(skeleton, weights),
        skeleton=skeleton.SerializeToString(),
        weights=weights,
    )
