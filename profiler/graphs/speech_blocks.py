"""Build the blocks of speech search spaces and of state-space models: HuBERT's front end, TDNN blocks, recurrences.

Signals are (N, C, L): batch, channels, time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .operators import GraphBuilder
from .recurrent_operators import Form, gru, lstm, selective_scan
from .sequence_operators import dense, layer_norm
from .tensor_operators import activate, binary, concat, reduce_mean, reshape, softmax, split, swish, transpose
from .vision_operators import EPSILON, batch_norm, channel_gate, conv, group_norm

#: (kernel, stride) of the front end of wav2vec 2.0, HuBERT and LightHuBERT: 320 samples a frame (Hsu et al., 2021).
HUBERT_FRONT_END = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))


@dataclass(frozen=True)
class SpeechFrontEnd:
    """Waveform (N, 1, samples) to frames (N, channels, frames): strided convolutions with GELU, no bias, no padding.

    The first convolution is followed by a group norm with one group per channel, as in HuBERT's base model.
    """

    channels: int = 512
    layers: tuple[tuple[int, int], ...] = HUBERT_FRONT_END

    def build(self, graph: GraphBuilder, x: str) -> str:
        for place, (kernel, stride) in enumerate(self.layers):
            x = conv(graph, x, self.channels, kernel=kernel, stride=stride, padding=0, bias=False)
            if place == 0:
                x = group_norm(graph, x, self.channels)
            x = activate(graph, x, "gelu")
        return x


@dataclass(frozen=True)
class FrameProjection:
    """Frames (N, C, L) to tokens (N, L, width): layer norm and dense layer, between HuBERT's front end and encoder."""

    width: int

    def build(self, graph: GraphBuilder, x: str) -> str:
        return dense(graph, layer_norm(graph, transpose(graph, x, [0, 2, 1])), self.width)


@dataclass(frozen=True)
class PositionalConv:
    """Position by a grouped convolution over tokens (N, L, C), GELU, residual and norm (Baevski et al., 2020, §2)."""

    kernel: int = 128
    groups: int = 16

    def build(self, graph: GraphBuilder, x: str) -> str:
        width, length = graph.shapes[x][-1], graph.shapes[x][1]
        y = transpose(graph, x, [0, 2, 1])
        y = conv(graph, y, width, kernel=self.kernel, groups=self.groups, padding=self.kernel // 2)
        if self.kernel % 2 == 0:  # an even kernel makes one frame too many
            y = split(graph, y, [length, 1], 2)[0]
        y = transpose(graph, activate(graph, y, "gelu"), [0, 2, 1])
        return layer_norm(graph, binary(graph, "Add", x, y))


@dataclass(frozen=True)
class TdnnConv:
    """Convolution, ReLU, batch normalisation over (N, C, L): first and last layer of ECAPA-TDNN."""

    out: int
    kernel: int = 1
    dilation: int = 1

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = conv(graph, x, self.out, kernel=self.kernel, dilation=self.dilation, activation="relu")
        # The norm stands behind the ReLU, where no convolution before it can take it up.
        return batch_norm(graph, y)


@dataclass(frozen=True)
class SeRes2Tdnn:
    """SE-Res2Block (Desplanques et al., Interspeech 2020, figure 2), the block of EfficientTDNN's space.

    Attributes:
        mid: channels of the dilated convolutions, in ``scale`` pieces; the first piece passes as it is, every further
            one is added the result of the one before it.
        squeeze: channels inside squeeze-and-excitation.
    """

    out: int
    mid: int
    kernel: int = 3
    dilation: int = 2
    scale: int = 8
    squeeze: int = 128

    def build(self, graph: GraphBuilder, x: str) -> str:
        y = TdnnConv(self.mid).build(graph, x)
        width = self.mid // self.scale
        pieces = split(graph, y, [width] * self.scale, 1)
        made = [pieces[0]]
        for place, piece in enumerate(pieces[1:]):
            source = binary(graph, "Add", piece, made[-1]) if place else piece
            made.append(TdnnConv(width, self.kernel, self.dilation).build(graph, source))
        y = TdnnConv(self.out).build(graph, concat(graph, made, 1))
        y = channel_gate(graph, y, self.squeeze, inner="relu", gate="sigmoid")
        return graph.add(x, y) if graph.shapes[x] == graph.shapes[y] else y


@dataclass(frozen=True)
class AttentiveStatistics:
    """Attentive statistics pooling (Okabe et al., Interspeech 2018): (N, C, L) to (N, 2 C).

    The attention sees each frame alone, as in that paper; ECAPA-TDNN also shows it the mean and deviation of the whole
    utterance. Which of the two EfficientTDNN has was not read: verify before use.
    """

    squeeze: int = 128

    def build(self, graph: GraphBuilder, x: str) -> str:
        n, channels, _ = graph.shapes[x]
        y = conv(graph, x, self.squeeze, kernel=1, activation="tanh")
        weight = softmax(graph, conv(graph, y, channels, kernel=1))
        mean = _total(graph, binary(graph, "Mul", weight, x))
        square = _total(graph, binary(graph, "Mul", weight, binary(graph, "Mul", x, x)))
        spread = binary(graph, "Sub", square, binary(graph, "Mul", mean, mean))
        # Rounding can take a variance of nothing below zero.
        spread = graph.node("Max", [spread, graph.scalar(EPSILON)], (n, channels))
        return concat(graph, [mean, graph.node("Sqrt", [spread], (n, channels))], 1)


@dataclass(frozen=True)
class StatisticsPool:
    """Mean and deviation of every channel over time (Snyder et al., ICASSP 2018, §2.1).

    (N, C, L) becomes (N, 2 C); of (N, C, H, L) each row of each channel is a channel of its own: (N, 2 C H).
    """

    def build(self, graph: GraphBuilder, x: str) -> str:
        shape = graph.shapes[x]
        channels, length = math.prod(shape[1:-1]), shape[-1]
        y = reshape(graph, x, (shape[0], channels, length)) if len(shape) == 4 else x
        rest = binary(graph, "Sub", y, reduce_mean(graph, y, [-1]))
        squares = _total(graph, binary(graph, "Mul", rest, rest))
        # A constant signal has no deviation, and the root no slope there: the source keeps the sum above this.
        squares = graph.node("Max", [squares, graph.scalar(1e-10)], (shape[0], channels))
        spread = graph.node("Sqrt", [binary(graph, "Div", squares, graph.scalar(length))], (shape[0], channels))
        return concat(graph, [reduce_mean(graph, y, [-1], keep=False), spread], 1)


def _total(graph: GraphBuilder, x: str) -> str:
    return graph.node("ReduceSum", [x, graph.integers(-1)], graph.shapes[x][:-1], keepdims=0)


@dataclass(frozen=True)
class Recurrence:
    """An LSTM or GRU layer over (L, N, C), tokens first (``recurrent_operators`` says why)."""

    cell: Literal["lstm", "gru"]
    hidden: int
    bidirectional: bool = False

    def build(self, graph: GraphBuilder, x: str) -> str:
        layer = lstm if self.cell == "lstm" else gru
        return layer(graph, x, self.hidden, bidirectional=self.bidirectional)


@dataclass(frozen=True)
class MambaBlock:
    """The block of Mamba (Gu and Dao, 2023, figure 3) over (N, L, C), without its norm and residual.

    Attributes:
        inner: channels of the state-space model, twice C in the paper.
        states: states of each channel.
        rank: channels that Δ is projected through; C / 16 in the paper's code.
        form: the ONNX operator that carries the state.
    """

    inner: int
    states: int = 16
    rank: int = 8
    kernel: int = 4
    form: Form = "scan"

    def build(self, graph: GraphBuilder, x: str) -> str:
        width, inner = graph.shapes[x][-1], self.inner
        y, gate = split(graph, dense(graph, x, 2 * inner, bias=False), [inner, inner], 2)
        y = transpose(graph, y, [0, 2, 1])
        length = graph.shapes[y][2]
        # Causal: padding on the left alone is padding on both sides with the end cut off, as PyTorch code has it.
        y = conv(graph, y, inner, kernel=self.kernel, groups=inner, padding=self.kernel - 1)
        y = split(graph, y, [length, self.kernel - 1], 2)[0]
        y = swish(graph, transpose(graph, y, [0, 2, 1]))
        sizes = [self.rank, self.states, self.states]
        low, b, c = split(graph, dense(graph, y, sum(sizes), bias=False), sizes, 2)
        delta = dense(graph, low, inner, activation="softplus")
        y = selective_scan(graph, y, delta, b, c, form=self.form)
        return dense(graph, binary(graph, "Mul", y, swish(graph, gate)), width, bias=False)
