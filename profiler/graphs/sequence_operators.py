"""Build the operators of transformers: dense layers over tokens, layer and RMS norm, gated units, attention.

Activations are (N, L, C): batch, tokens, channels. Every function returns the name of the new value.

Opset 17 has LayerNormalization, but no Gelu (opset 20), no RMSNormalization and no Attention (both opset 23): those are
written out as exporters write them, and what becomes one kernel is left to the runtime.
"""

from __future__ import annotations

import math

import numpy as np

from .operators import GraphBuilder
from .tensor_operators import AnyActivation, activate, binary, concat, matmul, reduce_mean, reshape, softmax, transpose

#: A mask is added to the logits before the softmax; minus infinity would make NaN of a row that is masked whole.
MASKED = -1e4


def dense(graph: GraphBuilder, x: str, features: int, *, bias: bool = True, activation: AnyActivation = "") -> str:
    """x · W + b over the last axis: MatMul and Add, as exporters write a linear layer on tokens."""
    width = graph.shapes[x][-1]
    y = matmul(graph, x, graph.weight((width, features), fan_in=width))
    if bias:
        y = binary(graph, "Add", y, graph.weight((features,)))
    return activate(graph, y, activation)


def layer_norm(graph: GraphBuilder, x: str, epsilon: float = 1e-5) -> str:
    """Layer normalisation over the last axis (Ba et al., 2016) with scale and bias."""
    width = graph.shapes[x][-1]
    inputs = [x, graph.weight((width,), spread=1.0), graph.weight((width,))]
    return graph.node("LayerNormalization", inputs, graph.shapes[x], axis=-1, epsilon=epsilon)


def rms_norm(graph: GraphBuilder, x: str, epsilon: float = 1e-6) -> str:
    """Root-mean-square normalisation over the last axis (Zhang and Sennrich, NeurIPS 2019, eq. 4)."""
    shape = graph.shapes[x]
    mean = reduce_mean(graph, graph.node("Pow", [x, graph.scalar(2.0)], shape), [-1])
    root = graph.node("Sqrt", [binary(graph, "Add", mean, graph.scalar(epsilon))], graph.shapes[mean])
    return binary(graph, "Mul", binary(graph, "Div", x, root), graph.weight((shape[-1],), spread=1.0))


def gated_linear(
    graph: GraphBuilder, x: str, features: int, *, gate: AnyActivation = "sigmoid", bias: bool = True
) -> str:
    """Gated linear unit: dense(x) · gate(dense(x)) (Dauphin et al., 2017); with ``swish`` SwiGLU (Shazeer, 2020)."""
    value = dense(graph, x, features, bias=bias)
    return binary(graph, "Mul", value, dense(graph, x, features, bias=bias, activation=gate))


def attention(
    graph: GraphBuilder,
    x: str,
    *,
    heads: int,
    head_size: int,
    memory: str = "",
    causal: bool = False,
    bias: bool = True,
    key_value_heads: int = 0,
) -> str:
    """Multi-head attention (Vaswani et al., 2017, §3.2): queries from x (N, L, C), output (N, L, C).

    Args:
        memory: (N, S, E) that keys and values come from; empty for self-attention. S and E may differ from L and C.
        causal: a token sees itself and those before it. Only for self-attention.
        bias: of the four projections.
        key_value_heads: fewer key and value heads, each shared by several query heads (Ainslie et al., 2023, grouped
            queries); 0 for as many as ``heads``.
    """
    source = memory or x
    held = key_value_heads or heads
    query = _heads(graph, dense(graph, x, heads * head_size, bias=bias), heads)
    key = _heads(graph, dense(graph, source, held * head_size, bias=bias), held)
    value = _heads(graph, dense(graph, source, held * head_size, bias=bias), held)
    length = graph.shapes[x][1]
    mask = graph.constant(np.triu(np.full((length, length), MASKED, np.float32), 1)) if causal else ""
    return _attend(graph, query, key, value, graph.shapes[x][-1], mask=mask, bias=bias)


def cached_attention(
    graph: GraphBuilder,
    x: str,
    *,
    heads: int,
    head_size: int,
    past_length: int,
    bias: bool = True,
    key_value_heads: int = 0,
) -> str:
    """One step of a decoder's self-attention: x (N, 1, C) attends to ``past_length`` cached tokens and to itself.

    The cached keys and values are inputs of the graph, (N, heads, past_length, head_size), and the step appends to them
    by Concat, as exported decoders do.
    """
    held = key_value_heads or heads
    query = _heads(graph, dense(graph, x, heads * head_size, bias=bias), heads)
    new = [_heads(graph, dense(graph, x, held * head_size, bias=bias), held) for _ in range(2)]
    cached = _cache(graph, (graph.shapes[x][0], held, past_length, head_size))
    key, value = (concat(graph, [old, fresh], 2) for old, fresh in zip(cached, new, strict=True))
    return _attend(graph, query, key, value, graph.shapes[x][-1], bias=bias)


def static_attention(
    graph: GraphBuilder, x: str, *, heads: int, head_size: int, memory_length: int, bias: bool = True
) -> str:
    """One step of a decoder's cross-attention: keys and values of the encoder were projected once and are inputs."""
    query = _heads(graph, dense(graph, x, heads * head_size, bias=bias), heads)
    key, value = _cache(graph, (graph.shapes[x][0], heads, memory_length, head_size))
    return _attend(graph, query, key, value, graph.shapes[x][-1], bias=bias)


def _cache(graph: GraphBuilder, shape: tuple[int, ...]) -> tuple[str, str]:
    place = len(graph.inputs)
    return graph.input(shape, f"key{place}"), graph.input(shape, f"value{place}")


def _heads(graph: GraphBuilder, x: str, heads: int) -> str:
    """(N, L, heads · size) → (N, heads, L, size)"""
    n, length, width = graph.shapes[x]
    return transpose(graph, reshape(graph, x, (n, length, heads, width // heads)), [0, 2, 1, 3])


def _attend(
    graph: GraphBuilder, query: str, key: str, value: str, width: int, *, mask: str = "", bias: bool = True
) -> str:
    n, heads, length, size = graph.shapes[query]
    key, value = (_shared(graph, part, heads) for part in (key, value))
    logits = matmul(graph, query, transpose(graph, key, [0, 1, 3, 2]))
    logits = binary(graph, "Div", logits, graph.scalar(math.sqrt(size)))
    if mask:
        logits = binary(graph, "Add", logits, mask)
    mixed = transpose(graph, matmul(graph, softmax(graph, logits), value), [0, 2, 1, 3])
    return dense(graph, reshape(graph, mixed, (n, length, heads * size)), width, bias=bias)


def _shared(graph: GraphBuilder, x: str, heads: int) -> str:
    """Repeat each of fewer key or value heads for the query heads that share it: Unsqueeze, Expand, Reshape."""
    n, held, length, size = graph.shapes[x]
    if held == heads:
        return x
    y = reshape(graph, x, (n, held, 1, length, size))
    spread = (n, held, heads // held, length, size)
    y = graph.node("Expand", [y, graph.integers(*spread)], spread)
    return reshape(graph, y, (n, heads, length, size))
