"""Build recurrences: LSTM, GRU, and the scan of a selective state-space model as ONNX Scan and as ONNX Loop.

The recurrent layers take (L, N, C), tokens first: ONNX can also say batch first (``layout`` 1), but ONNX Runtime's CPU
kernels do not implement it, so exporters transpose around the layer. Opset 17 has no operator for a parallel
(associative) scan: what CUDA kernels of state-space models do can only be written as a loop over tokens. ONNX Runtime
executes all of these; TVM 0.27 imports none of LSTM, GRU, Scan and Loop.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from .operators import GraphBuilder, Shape
from .tensor_operators import binary, reshape, transpose

#: The ONNX operator that carries the state of a scan over tokens.
Form = Literal["scan", "loop"]


def lstm(graph: GraphBuilder, x: str, hidden: int, *, bidirectional: bool = False) -> str:
    """Long short-term memory over (L, N, C): (L, N, hidden), twice as wide when bidirectional. Starts from zeros."""
    return _recurrent(graph, "LSTM", x, hidden, 4, bidirectional)


def gru(graph: GraphBuilder, x: str, hidden: int, *, bidirectional: bool = False) -> str:
    """Gated recurrent unit over (L, N, C), in PyTorch's and cuDNN's variant (``linear_before_reset``)."""
    return _recurrent(graph, "GRU", x, hidden, 3, bidirectional, linear_before_reset=1)


def _recurrent(
    graph: GraphBuilder, op: str, x: str, hidden: int, gates: int, bidirectional: bool, **attributes: int
) -> str:
    length, n, width = graph.shapes[x]
    ways = 2 if bidirectional else 1
    spread = 1.0 / math.sqrt(hidden)  # PyTorch's range; larger weights saturate the gates
    weights = [
        graph.weight((ways, gates * hidden, width), spread=spread),
        graph.weight((ways, gates * hidden, hidden), spread=spread),
        graph.weight((ways, 2 * gates * hidden), spread=spread),
    ]
    (y,) = graph.multi_node(
        op,
        [x, *weights],
        [(length, ways, n, hidden)],
        hidden_size=hidden,
        direction="bidirectional" if bidirectional else "forward",
        **attributes,
    )
    return reshape(graph, transpose(graph, y, [0, 2, 1, 3]), (length, n, ways * hidden))


def selective_scan(graph: GraphBuilder, x: str, delta: str, b: str, c: str, *, form: Form = "scan") -> str:
    """The recurrence of a selective state-space model (Gu and Dao, 2023, algorithm 2, zero-order hold of A).

    hₜ = exp(Δₜ A) hₜ₋₁ + Δₜ Bₜ xₜ and yₜ = Cₜ hₜ + D xₜ, over (N, L, channels); the state is (N, channels, states).

    Args:
        x, delta: (N, L, channels); delta is positive.
        b, c: (N, L, states).
        form: the ONNX operator that carries the state.
    """
    n, _, channels = graph.shapes[x]
    states = graph.shapes[b][-1]
    # Exporters keep log(-A); A must stay negative, or the state grows without bound.
    log_a = graph.weight((channels, states))
    a = graph.node("Neg", [graph.node("Exp", [log_a], (channels, states))], (channels, states))
    start = graph.constant(np.zeros((n, channels, states), np.float32))
    scanned = (_scan if form == "scan" else _loop)(graph, (x, delta, b, c), a, start)
    return binary(graph, "Add", scanned, binary(graph, "Mul", x, graph.weight((channels,), spread=1.0)))


def _scan(graph: GraphBuilder, series: tuple[str, ...], a: str, start: str) -> str:
    x = series[0]
    n, length, channels = graph.shapes[x]
    body = graph.body("scan")
    state = body.input(graph.shapes[start], "state")
    rows = [
        body.input((n, graph.shapes[name][2]), label) for name, label in zip(series, ("x", "d", "b", "c"), strict=True)
    ]
    after, y = _step(body, state, a, rows)
    _, out = graph.multi_node(
        "Scan",
        [start, *series],
        [graph.shapes[start], (n, length, channels)],
        body=body.subgraph(after, y),
        num_scan_inputs=4,
        scan_input_axes=[1] * 4,
        scan_output_axes=[1],
    )
    return out


def _loop(graph: GraphBuilder, series: tuple[str, ...], a: str, start: str) -> str:
    n, length, channels = graph.shapes[series[0]]
    trips = graph.constant(np.array(length, np.int64))
    true = graph.constant(np.array(True))
    body = graph.body("loop")
    index = body.input((), "index", dtype="int64")
    going = body.input((), "going", dtype="bool")
    state = body.input(graph.shapes[start], "state")
    rows = [body.node("Gather", [name, index], (n, graph.shapes[name][2]), axis=1) for name in series]
    after, y = _step(body, state, a, rows)
    # A body may not hand its input on as its output: the runtime wants a node between them.
    still = body.typed_node("Identity", [going], (), "bool")
    shapes: list[Shape] = [graph.shapes[start], (length, n, channels)]
    _, out = graph.multi_node("Loop", [trips, true, start], shapes, body=body.subgraph(still, after, y))
    return transpose(graph, out, [1, 0, 2])


def _step(body: GraphBuilder, state: str, a: str, rows: list[str]) -> tuple[str, str]:
    """One token: the state after it, and the output (N, channels)."""
    x, delta, b, c = rows
    n, channels, states = body.shapes[state]
    column = reshape(body, delta, (n, channels, 1))
    product = binary(body, "Mul", column, a)
    decayed = binary(body, "Mul", body.node("Exp", [product], (n, channels, states)), state)
    driven = binary(
        body, "Mul", reshape(body, b, (n, 1, states)), reshape(body, binary(body, "Mul", delta, x), (n, channels, 1))
    )
    after = binary(body, "Add", decayed, driven)
    y = body.node("MatMul", [after, reshape(body, c, (n, states, 1))], (n, channels, 1))
    return after, reshape(body, y, (n, channels))
