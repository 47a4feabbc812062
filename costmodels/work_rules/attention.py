"""Attention in the forms that ONNX and ONNX Runtime have: two products over every pair of query and key, and a softmax.

Masks, causal ones included, take nothing off: the runtimes compute the whole square.
"""

from __future__ import annotations

from collections.abc import Mapping

from .operands import Operands, Rule, Shape, per_output, size

#: Of each score: the largest, a difference, an exponential, a sum, a quotient.
SOFTMAX = 5


def _scores(batch: int, heads: int, queries: int, keys: int, key_width: int, value_width: int) -> float:
    """Q·Kᵀ, softmax, and the product with V. Widths are of one head."""
    return float(batch * heads * queries * keys) * (2 * key_width + SOFTMAX + 2 * value_width)


def _standard(operands: Operands) -> float:
    """ai.onnx Attention (opset 23 on): Q, K, V of rank 4 (batch, heads, length, width) or 3 (heads in the width)."""
    if len(operands.all) < 3 or not all(len(shape) in (3, 4) for shape in operands.all[:3]):
        return per_output(1)(operands)
    query, key, _ = operands.all[:3]
    result = operands.outputs[0]
    if len(query) == 4:
        batch, heads, queries, key_width = query
        value_width = result[-1]
    else:
        batch, queries = query[:2]
        heads = max(int(operands.number("q_num_heads", 1)), 1)
        key_width, value_width = query[-1] // heads, result[-1] // heads
    return _scores(batch, heads, queries, _all_keys(operands, key), key_width, value_width)


def _all_keys(operands: Operands, key: Shape) -> int:
    """Keys of this call and of the cache. A present key is longer than the key; failing that, the past is asked."""
    if len(operands.outputs) > 2 and len(operands.outputs[1]) == 4:
        return operands.outputs[1][2]
    past = operands.inputs[-2:]
    if len(operands.inputs) > 4 and all(len(shape) == 4 for shape in past) and past[0][:3] == past[1][:3]:
        return key[-2] + past[0][2]
    return key[-2]


def _packed(operands: Operands) -> float:
    """com.microsoft Attention and QAttention: the projections of x, then attention. Weights are (inputs, 3 · width)."""
    flat = [shape for shape in operands.all if len(shape) == 2]
    source = operands.first
    matrix = next((shape for shape in flat if shape[0] == source[-1]), None)
    if matrix is None or len(source) != 3:
        return per_output(1)(operands)
    batch, queries, inputs = source
    value_width = operands.outputs[0][-1]
    # qkv_hidden_sizes lists the widths of Q, K and V where they differ.
    widths = operands.numbers("qkv_hidden_sizes")
    key_width = widths[0] if widths else value_width
    heads = max(int(operands.number("num_heads", 1)), 1)
    present = operands.outputs[1] if len(operands.outputs) > 1 else ()
    keys = present[-2] if len(present) == 5 else queries
    projection = 2.0 * batch * queries * inputs * matrix[1]
    return projection + _scores(batch, heads, queries, keys, key_width // heads, value_width // heads)


def _multi_head(operands: Operands) -> float:
    """com.microsoft MultiHeadAttention and GroupQueryAttention: heads share the width of the output.

    The keys are those of the cache that is written; without one those of the key, or of the query where all is packed.
    """
    result, heads = operands.outputs[0], max(int(operands.number("num_heads", 1)), 1)
    if len(result) != 3:
        return per_output(1)(operands)
    batch, queries, value_width = result
    query = operands.first
    # Of rank 5 (batch, length, heads, 3, width) all is packed; a packed GroupQueryAttention is wider than its output.
    is_packed = len(query) == 5 or len(operands.all) < 2 or query[-1] > value_width
    key_width = value_width if is_packed else query[-1]
    present = operands.outputs[1] if len(operands.outputs) > 1 else ()
    if len(present) == 4:
        keys = present[2]
    elif is_packed:
        keys = queries
    else:
        key = operands.all[1]
        # Rank 4 is (batch, heads, length, width), rank 5 (batch, length, heads, 2, width), else (batch, length, width).
        keys = key[2] if len(key) == 4 else key[1] if len(key) > 1 else queries
    return _scores(batch, heads, queries, keys, key_width // heads, value_width // heads)


def _linear(operands: Operands) -> float:
    """A state of (key width × value width) for each head: written and read at each step, by the update rule named.

    Plain: an outer product (2) and a read (2). A gate multiplies the state once more; the delta rule reads it first and
    subtracts (3).
    """
    if len(operands.all) < 3 or len(operands.first) not in (3, 4):
        return per_output(1)(operands)
    rule = operands.attributes.get("update_rule", "gated_delta")
    per_cell = 4 + ("gated" in rule) + 3 * ("delta" in rule)
    query, _, value = operands.all[:3]
    if len(query) == 4:
        batch, heads, steps, key_width = query
        return float(batch * heads * steps * key_width * value[-1] * per_cell)
    heads = max(int(operands.number("q_num_heads", 1)), 1)
    states = max(int(operands.number("kv_num_heads", heads)), 1)
    return float(size(query[:2]) * max(heads, states) * (query[-1] // heads) * (value[-1] // states) * per_cell)


def _rotary(operands: Operands) -> float:
    """Two products and a sum for each element that is turned; an attribute may leave the rest of a head as it is."""
    source = operands.first
    heads = max(int(operands.number("num_heads", 1)), 1)
    width = source[-1] if len(source) == 4 else (source[-1] // heads if source else 1)
    turned = operands.number("rotary_embedding_dim", 0) or width
    return 3.0 * operands.elements * min(turned / max(width, 1), 1.0)


ATTENTION: Mapping[str, Rule] = {
    "Attention": Rule(_standard),
    # What scores are modified by stands in a subgraph that a kernel does not show.
    "FlexAttention": Rule(_standard, "lower_bound"),
    "microsoft.Attention": Rule(_packed),
    "QAttention": Rule(_packed),
    "MultiHeadAttention": Rule(_multi_head),
    "DecoderMaskedMultiHeadAttention": Rule(_multi_head),
    # How much of the cache is filled is data.
    "GroupQueryAttention": Rule(_multi_head, "upper_bound"),
    "SparseAttention": Rule(_multi_head, "upper_bound"),
    "LinearAttention": Rule(_linear),
    **{name: Rule(_rotary) for name in ("RotaryEmbedding", "MRotaryEmbedding", "GemmaRotaryEmbedding")},
}
