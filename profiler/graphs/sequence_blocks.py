"""Build the blocks of transformer spaces: attention, feed-forward, whole layers, embeddings; HAT, BERT, ViT and GPT.

Activations are (N, L, C): batch, tokens, channels. What a block needs beside its input (an encoder's output, cached
keys and values) becomes a further input of the graph. HAT: Wang et al., ACL 2020; its decoder runs one token a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .operators import GraphBuilder
from .sequence_operators import attention, cached_attention, dense, gated_linear, layer_norm, rms_norm, static_attention
from .tensor_operators import AnyActivation, binary, concat, embedding, reshape, slice_axis, transpose
from .vision_operators import conv

#: Where a residual block normalises: its input (pre), or the sum (post).
NormPlace = Literal["pre", "post"]
NormKind = Literal["layer", "rms"]


@dataclass(frozen=True)
class SelfAttention:
    """Self-attention with its residual and norm: an entry of HAT's encoder, or half a layer of any transformer.

    Attributes:
        head_size: channels of one head; HAT divides 512 among its heads, BERT and HuBERT spaces keep 64.
        causal: a token sees itself and those before it: a decoder that reads its prompt.
        key_value_heads: 0 for as many as ``heads``.
    """

    heads: int
    head_size: int
    norm: NormPlace = "post"
    kind: NormKind = "layer"
    causal: bool = False
    bias: bool = True
    key_value_heads: int = 0

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = attention(
            graph,
            _before(graph, x, self.norm, self.kind),
            heads=self.heads,
            head_size=self.head_size,
            causal=self.causal,
            bias=self.bias,
            key_value_heads=self.key_value_heads,
        )
        return _after(graph, x, y, self.norm, self.kind)


@dataclass(frozen=True)
class CachedSelfAttention:
    """A decoder's self-attention at one step: x is (N, 1, C), ``past_length`` tokens are cached."""

    heads: int
    head_size: int
    past_length: int
    norm: NormPlace = "post"
    kind: NormKind = "layer"
    bias: bool = True
    key_value_heads: int = 0

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = cached_attention(
            graph,
            _before(graph, x, self.norm, self.kind),
            heads=self.heads,
            head_size=self.head_size,
            past_length=self.past_length,
            bias=self.bias,
            key_value_heads=self.key_value_heads,
        )
        return _after(graph, x, y, self.norm, self.kind)


@dataclass(frozen=True)
class CrossAttention:
    """Attention to an encoder's output. HAT's "arbitrary" attention to 1..3 encoder layers: as many times the length.

    Attributes:
        memory_length, memory_width: of the encoder's output, which becomes an input of the graph.
        projected: keys and values were projected at the first step and are inputs: every later step of a decoder.
    """

    heads: int
    head_size: int
    memory_length: int
    memory_width: int
    projected: bool = False
    norm: NormPlace = "post"

    def build(self, graph: GraphBuilder, x: str) -> str:
        query = _before(graph, x, self.norm, "layer")
        heads, size = self.heads, self.head_size
        if self.projected:
            y = static_attention(graph, query, heads=heads, head_size=size, memory_length=self.memory_length)
        else:
            shape = (graph.shapes[x][0], self.memory_length, self.memory_width)
            memory = graph.input(shape, f"memory{len(graph.inputs)}")
            y = attention(graph, query, heads=heads, head_size=size, memory=memory)
        return _after(graph, x, y, self.norm, "layer")


@dataclass(frozen=True)
class FeedForward:
    """Two dense layers with their residual and norm; ``gated`` is SwiGLU with ``activation`` as its gate."""

    intermediate: int
    activation: AnyActivation = "relu"
    norm: NormPlace = "post"
    kind: NormKind = "layer"
    bias: bool = True
    gated: bool = False

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = _before(graph, x, self.norm, self.kind)
        if self.gated:
            y = gated_linear(graph, y, self.intermediate, gate=self.activation, bias=self.bias)
        else:
            y = dense(graph, y, self.intermediate, bias=self.bias, activation=self.activation)
        y = dense(graph, y, graph.shapes[x][-1], bias=self.bias)
        return _after(graph, x, y, self.norm, self.kind)


@dataclass(frozen=True)
class EncoderLayer:
    """Self-attention and feed-forward: BERT, ViT (``norm`` pre), HAT's encoder, HuBERT.

    DyNAS-T's BERT space: hidden 768, heads {6, 8, 10, 12} of 64, intermediate {1024, 2048, 3072}.
    """

    heads: int
    head_size: int
    intermediate: int
    activation: AnyActivation = "gelu"
    norm: NormPlace = "post"

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = SelfAttention(self.heads, self.head_size, self.norm).build(graph, x)
        return FeedForward(self.intermediate, self.activation, self.norm).build(graph, y)


@dataclass(frozen=True)
class HatDecoderLayer:
    """One step through a decoder layer of HAT: self-attention over the cache, cross-attention, feed-forward.

    Attributes:
        heads, cross_heads: of self- and cross-attention; ``width`` channels are divided among either (HAT: 512).
        past_length: tokens decoded before this step.
        memory_length: tokens of the source, times the encoder layers attended to (1..3).
    """

    heads: int
    cross_heads: int
    intermediate: int
    past_length: int
    memory_length: int
    width: int = 512

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = CachedSelfAttention(self.heads, self.width // self.heads, self.past_length).build(graph, x)
        size = self.width // self.cross_heads
        # Projected keys and values do not depend on the width of what they were projected from.
        y = CrossAttention(self.cross_heads, size, self.memory_length, 0, projected=True).build(graph, y)
        return FeedForward(self.intermediate).build(graph, y)


@dataclass(frozen=True)
class GptLayer:
    """A decoder-only layer with its norms before each half: GPT-2 (HW-GPT-Bench), or Llama's with rms, gated, no bias.

    Attributes:
        past_length: cached tokens for one step with x (N, 1, C); 0 reads a prompt x (N, L, C) under a causal mask.

    Rotary position embeddings, which Llama adds to queries and keys, are left out.
    """

    heads: int
    head_size: int
    intermediate: int
    past_length: int = 0
    activation: AnyActivation = "gelu_tanh"
    kind: NormKind = "layer"
    bias: bool = True
    gated: bool = False
    key_value_heads: int = 0

    def build(self, graph: GraphBuilder, x: str) -> str:
        heads, size, kept = self.heads, self.head_size, self.key_value_heads
        if self.past_length:
            step = CachedSelfAttention(heads, size, self.past_length, "pre", self.kind, self.bias, kept)
            y = step.build(graph, x)
        else:
            y = SelfAttention(heads, size, "pre", self.kind, True, self.bias, kept).build(graph, x)
        return FeedForward(self.intermediate, self.activation, "pre", self.kind, self.bias, self.gated).build(graph, y)


@dataclass(frozen=True)
class SeparableTokenConv:
    """A separable convolution over tokens, NAS-BERT's: depthwise k, pointwise, with residual and norm.

    After the paper's description (Xu et al., KDD 2021, §3.1); its source was not read: verify before use.
    """

    kernel: int

    def build(self, graph: GraphBuilder, x: str) -> str:
        width = graph.shapes[x][-1]
        y = transpose(graph, x, [0, 2, 1])
        for _ in range(2):  # as in DARTS, from which the paper takes the operation
            y = conv(graph, graph.activate(y, "relu"), width, kernel=self.kernel, groups=width, bias=False)
            y = conv(graph, y, width, kernel=1)
        return _after(graph, x, transpose(graph, y, [0, 2, 1]), "post", "layer")


@dataclass(frozen=True)
class TokenEmbedding:
    """int64 ids (N, L) to (N, L, width): token and position tables, BERT's segment table and norm if ``segments``."""

    vocabulary: int
    positions: int
    width: int
    segments: int = 0

    def build(self, graph: GraphBuilder, x: str) -> str:
        n, length = graph.shapes[x]
        y = embedding(graph, x, self.vocabulary, self.width)
        table = graph.weight((self.positions, self.width), spread=1.0)
        y = binary(graph, "Add", y, slice_axis(graph, table, 0, 0, length))
        if not self.segments:
            return y
        kinds = graph.input((n, length), f"segments{len(graph.inputs)}", dtype="int64")
        return layer_norm(graph, binary(graph, "Add", y, embedding(graph, kinds, self.segments, self.width)))


@dataclass(frozen=True)
class PatchEmbedding:
    """Image (N, 3, H, W) to tokens (N, 1 + patches, width) with a class token and positions (ViT)."""

    width: int
    patch: int

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = conv(graph, x, self.width, kernel=self.patch, stride=self.patch, padding=0)
        n, width, rows, columns = graph.shapes[y]
        y = transpose(graph, reshape(graph, y, (n, width, rows * columns)), [0, 2, 1])
        token = graph.weight((1, 1, width), spread=1.0)
        if n > 1:
            token = graph.node("Expand", [token, graph.integers(n, 1, width)], (n, 1, width))
        y = concat(graph, [token, y], 1)
        return binary(graph, "Add", y, graph.weight((1, 1 + rows * columns, width), spread=1.0))


@dataclass(frozen=True)
class TokenHead:
    """The first token, through what its family puts there, to ``out`` features (N, out).

    Attributes:
        kind: ``norm`` normalises and classifies (ViT); ``pool`` is BERT's dense layer with tanh.
    """

    out: int
    kind: Literal["norm", "pool"] = "norm"

    def build(self, graph: GraphBuilder, x: str) -> str:
        n, _, width = graph.shapes[x]
        y = layer_norm(graph, x) if self.kind == "norm" else x
        y = reshape(graph, slice_axis(graph, y, 1, 0, 1), (n, width))
        y = graph.linear(y, self.out)
        return y if self.kind == "norm" else graph.node("Tanh", [y], graph.shapes[y])


@dataclass(frozen=True)
class Projection:
    """A dense layer over the tokens: HAT's projection to the vocabulary, a change of width."""

    out: int
    bias: bool = False

    def build(self, graph: GraphBuilder, x: str) -> str:
        return dense(graph, x, self.out, bias=self.bias)


def _norm(graph: GraphBuilder, x: str, kind: NormKind) -> str:
    return layer_norm(graph, x) if kind == "layer" else rms_norm(graph, x)


def _before(graph: GraphBuilder, x: str, place: NormPlace, kind: NormKind) -> str:
    return _norm(graph, x, kind) if place == "pre" else x


def _after(graph: GraphBuilder, x: str, y: str, place: NormPlace, kind: NormKind) -> str:
    total = graph.add(x, y)
    return _norm(graph, total, kind) if place == "post" else total
