"""A small network with the layers that tables of operators are made from, as PyTorch would export it."""

from __future__ import annotations

from pathlib import Path

import onnx

from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.precision.convert import convert
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import workload_from_model

#: Name in PyTorch, channels in and out, kernel, stride, groups, side of the input.
LAYERS = (
    ("features.0", 3, 16, 3, 2, 1, 32),
    ("features.1", 16, 16, 3, 1, 16, 16),
    ("features.2", 16, 24, 1, 1, 1, 16),
    ("features.3", 24, 24, 3, 1, 1, 16),
)
CLASSES = 10


def write_model(path: Path, *, batch: int = 1, clip: bool = False) -> Path:
    """Convolution, ReLU, depthwise and pointwise convolution, one with an addition, pool, fully connected layer."""
    graph = GraphBuilder("net")
    x = graph.input((batch, 3, 32, 32))
    for name, _, out, kernel, stride, groups, _ in LAYERS:
        y = graph.conv(x, out, kernel=kernel, stride=stride, groups=groups)
        activation = "relu6" if clip and name == "features.0" else "relu" if name != "features.2" else ""
        y = graph.activate(y, activation)
        x = graph.add(x, y) if name == "features.3" else y
    x = graph.linear(graph.global_average_pool(x), CLASSES)
    model = onnx.load_model_from_string(complete(graph.model(x).SerializeToString(), graph.weights))
    names = [f"{name}.{part}" for name, *_ in LAYERS for part in ("weight", "bias")]
    names += ["classifier.weight", "classifier.bias"]
    renamed = {f"w{place}": name for place, name in enumerate(names)}
    for tensor in model.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
    onnx.save(model, path)
    return path


def layers(profile: RuntimeProfile) -> list[tuple[Kernel, ...]]:
    """Graphs that hold every kind of kernel that the small network has."""
    found = []
    for place in range(30):
        graph = GraphBuilder("g")
        x = graph.input((1, 3, 32, 32))
        for out, kernel, stride in ((16 + 16 * (place % 3), 3, 2), (24 + 8 * (place % 5), 1, 1), (24, 3, 1)):
            x = graph.conv(x, out, kernel=kernel, stride=stride, activation="relu")
            x = graph.depthwise(x, kernel=3, activation="relu")
        x = graph.linear(graph.global_average_pool(graph.add(x, graph.conv(x, 24))), 10 + place)
        workload = workload_from_model("g", "block", graph.model(x), tuple(graph.weights))
        found.append(kernels(convert(workload, profile.precision), profile))
    return found
