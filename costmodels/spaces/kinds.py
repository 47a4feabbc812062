"""The kinds of block that a space file may name, beside those of ``cell.BlockSpec``: fields, output shape, builder.

A kind is data: which fields it has, what its output's shape is, and which class of ``profiler.graphs`` builds it. ONNX
is imported only by ``build``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from ...profiler.errors import UsageError

if TYPE_CHECKING:
    from ...profiler.graphs.blocks import Block

Shape = tuple[int, ...]
Value: TypeAlias = bool | int | float | str
Values = Mapping[str, Value]
#: What a field may hold: a type (it must be given), a default of that type, or strings of which the first is default.
FieldRule: TypeAlias = type[int] | Value | tuple[str, ...]

_ACTS = ("relu", "", "relu6", "hard_swish", "swish", "gelu", "gelu_tanh", "hard_sigmoid", "sigmoid")
_NORMS = ("post", "pre")
#: (kernel, stride) of the front end of wav2vec 2.0, HuBERT and LightHuBERT: 320 samples a frame (Hsu et al., 2021).
_HUBERT = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))


@dataclass(frozen=True)
class Kind:
    """A kind of block.

    Attributes:
        builder: module and class below ``profiler.graphs``; its attributes are the fields, ``act`` its ``activation``.
        ranks: dimensions that its input may have: 4 for images, 3 for tokens and signals, 2 for ids.
        shape: the output's shape from the input's and the fields. Raises ``UsageError`` where a block does not fit.
        lists: fields whose text is a list for the builder, its parts joined by "+".
        joins: the field that counts equal inputs; empty for one input.
        makes: what the builder is told beside the fields.
        mid_of: whether a ratio ``expand`` counts from output or input channels.
        even: whether its kernel may be even.
        canonical: the fields in the form that equal graphs share.
    """

    builder: str
    ranks: tuple[int, ...]
    fields: Mapping[str, FieldRule]
    shape: Callable[[Shape, Values], Shape]
    lists: tuple[str, ...] = ()
    joins: str = ""
    makes: Mapping[str, object] = field(default_factory=dict)
    mid_of: Literal["out", "input"] = "out"
    even: bool = False
    canonical: Callable[[dict[str, Value]], dict[str, Value]] = dict

    def build(self, values: Values) -> Block:
        """The builder with these fields. Imports ONNX."""
        module, name = self.builder.split(".")
        made = getattr(import_module(f"...profiler.graphs.{module}", __package__), name)
        given: dict[str, object] = {**self.makes, **{("activation" if k == "act" else k): v for k, v in values.items()}}
        given.update({key: tuple(str(values[key]).split("+")) for key in self.lists})
        return cast("Block", made(**given))


def _int(values: Values, name: str) -> int:
    return int(values[name])


def _strided(shape: Shape, values: Values) -> Shape:
    """Convolution-like with "same" padding over one or two axes; keeps channels where there is no ``out``."""
    n, channels, *sides = shape
    stride = _int(values, "stride") if "stride" in values else 1
    return (n, int(values.get("out", channels)), *((side - 1) // stride + 1 for side in sides))


def _pooled_shortcut(shape: Shape, values: Values) -> Shape:
    """Pooling rounds an odd side up as a strided convolution does."""
    return _strided(shape, values)


def _fused(values: dict[str, Value]) -> dict[str, Value]:
    """Deployed, all branches are one convolution, and a plain branch alone is one while it trains."""
    is_one = values["deployed"] or values["branches"] == "plain"
    return {**values, "branches": "plain", "deployed": True} if is_one else values


def _kept(shape: Shape, values: Values) -> Shape:
    return shape


def _halved(shape: Shape, values: Values) -> Shape:
    n, _, *sides = shape
    return (n, _int(values, "out"), *((side + 1) // 2 for side in sides))


def _even(shape: Shape, values: Values) -> Shape:
    if any(side % 2 for side in shape[2:]):
        raise UsageError(f"a factorised reduction needs even sides, not {shape}", remedy="Choose another resolution.")
    return _halved(shape, values)


def _features(shape: Shape, values: Values) -> Shape:
    return (shape[0], _int(values, "out"))


def _classes(shape: Shape, values: Values) -> Shape:
    return (shape[0], _int(values, "classes"))


def _concatenated(shape: Shape, values: Values) -> Shape:
    return (shape[0], shape[1] * _int(values, "count"), *shape[2:])


def _embedded(shape: Shape, values: Values) -> Shape:
    return (*shape, _int(values, "width"))


def _patches(shape: Shape, values: Values) -> Shape:
    patch = _int(values, "patch")
    return (shape[0], 1 + shape[2] // patch * (shape[3] // patch), _int(values, "width"))


def _projected(shape: Shape, values: Values) -> Shape:
    return (*shape[:-1], _int(values, "out"))


def _frames(shape: Shape, values: Values) -> Shape:
    length = shape[2]
    for kernel, stride in _HUBERT:
        length = (length - kernel) // stride + 1
    if length < 1:
        raise UsageError(f"{shape[2]} samples give no frame", remedy="400 samples give the first one.")
    return (shape[0], _int(values, "channels"), length)


def _tokens(shape: Shape, values: Values) -> Shape:
    return (shape[0], shape[2], _int(values, "width"))


def _statistics(shape: Shape, values: Values) -> Shape:
    return (shape[0], 2 * math.prod(shape[1:-1]))


_ATTENTION: Mapping[str, FieldRule] = {"heads": int, "head_size": int, "norm": _NORMS}

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        # Convolutional spaces (profiler/graphs/vision_blocks.py)
        "bottleneck": Kind(
            "vision_blocks.Bottleneck",
            (4,),
            {"out": int, "mid": int, "stride": 1, "kernel": 3, "downsample": ("conv", "average_pool")},
            _strided,
        ),
        "basic_residual": Kind(
            "vision_blocks.BasicResidual",
            (4,),
            {"out": int, "stride": 1, "kernel": 3, "downsample": ("conv", "average_pool")},
            _strided,
        ),
        "three_conv_residual": Kind(
            "vision_blocks.ThreeConvResidual",
            (4,),
            {"out": int, "mid": int, "kernel": 3, "stride": 1, "squeeze": 0},
            _strided,
            mid_of="input",
        ),
        "pool": Kind("vision_blocks.Pool", (4,), {"kind": ("max", "average"), "kernel": 3, "stride": 1}, _strided),
        "osa": Kind(
            "vision_blocks.OneShotAggregation",
            (4,),
            {"inner": int, "out": int, "layers": int, "identity": False, "depthwise": False},
            _strided,
        ),
        "repvgg": Kind(
            "vision_blocks.RepVgg", (4,), {"out": int, "stride": 1, "groups": 1, "deployed": True}, _strided
        ),
        "diverse_branch": Kind(
            "vision_blocks.DiverseBranch",
            (4,),
            {
                "out": int,
                "kernel": 3,
                "stride": 1,
                "groups": 1,
                "branches": "plain+pointwise+chained+average",
                "deployed": True,
                "act": _ACTS,
            },
            _strided,
            lists=("branches",),
            canonical=_fused,
        ),
        "residual_conv": Kind("vision_blocks.ResidualConv", (4,), {"kernel": 3, "act": _ACTS}, _kept),
        "projected_bottleneck": Kind(
            "vision_blocks.ProjectedBottleneck",
            (4,),
            {"out": int, "mid": int, "kernel": int, "stride": 1, "squeeze": 0, "expands": True, "act": _ACTS},
            _pooled_shortcut,
            mid_of="input",
        ),
        "depthwise_separable": Kind(
            "vision_blocks.DepthwiseSeparable", (4,), {"out": int, "kernel": 3, "stride": 1, "act": _ACTS}, _strided
        ),
        "depthwise": Kind("vision_blocks.Depthwise", (4,), {"kernel": 3, "stride": 1, "act": _ACTS}, _strided),
        # Cells of NAS-Bench-201 and DARTS (profiler/graphs/cell_blocks.py)
        "relu_conv": Kind("cell_blocks.ReluConv", (4,), {"out": int, "kernel": 1, "stride": 1}, _strided),
        "sep_conv": Kind("cell_blocks.SeparableConv", (4,), {"out": int, "kernel": int, "stride": 1}, _strided),
        "dil_conv": Kind("cell_blocks.DilatedConv", (4,), {"out": int, "kernel": int, "stride": 1}, _strided),
        "factorised_reduce": Kind("cell_blocks.FactorisedReduce", (4,), {"out": int}, _even),
        "nasbench_reduction": Kind("cell_blocks.NasBenchReduction", (4,), {"out": int}, _halved),
        "nasbench_tail": Kind(
            "cell_blocks.NasBenchTail", (4,), {"classes": int}, lambda s, v: (s[0], _int(v, "classes"))
        ),
        "sum": Kind("cell_blocks.Sum", (3, 4), {"count": int}, _kept, joins="count"),
        "concat": Kind("cell_blocks.Concatenation", (3, 4), {"count": int}, _concatenated, joins="count"),
        # Transformers (profiler/graphs/sequence_blocks.py)
        "token_embedding": Kind(
            "sequence_blocks.TokenEmbedding",
            (2,),
            {"vocabulary": int, "positions": int, "width": int, "segments": 0},
            _embedded,
        ),
        "patch_embedding": Kind("sequence_blocks.PatchEmbedding", (4,), {"width": int, "patch": int}, _patches),
        "self_attention": Kind("sequence_blocks.SelfAttention", (3,), _ATTENTION, _kept),
        "cached_self_attention": Kind(
            "sequence_blocks.CachedSelfAttention", (3,), {**_ATTENTION, "past_length": int}, _kept
        ),
        "cross_attention": Kind(
            "sequence_blocks.CrossAttention",
            (3,),
            {**_ATTENTION, "memory_length": int},
            _kept,
            # Later steps of a decoder read keys and values that were projected at the first one.
            makes={"memory_width": 0, "projected": True},
        ),
        "feed_forward": Kind(
            "sequence_blocks.FeedForward", (3,), {"intermediate": int, "act": _ACTS, "norm": _NORMS}, _kept
        ),
        "separable_token_conv": Kind("sequence_blocks.SeparableTokenConv", (3,), {"kernel": int}, _kept),
        "gpt_layer": Kind(
            "sequence_blocks.GptLayer",
            (3,),
            {"heads": int, "head_size": int, "intermediate": int, "bias": True, "past_length": 0},
            _kept,
        ),
        "token_head": Kind("sequence_blocks.TokenHead", (3,), {"out": int, "kind": ("norm", "pool")}, _features),
        "projection": Kind("sequence_blocks.Projection", (3,), {"out": int, "bias": False}, _projected),
        # Speech (profiler/graphs/speech_blocks.py)
        "speech_front_end": Kind(
            "speech_blocks.SpeechFrontEnd", (3,), {"channels": 512}, _frames, makes={"layers": _HUBERT}
        ),
        "frame_projection": Kind("speech_blocks.FrameProjection", (3,), {"width": int}, _tokens),
        "positional_conv": Kind("speech_blocks.PositionalConv", (3,), {"kernel": 128, "groups": 16}, _kept, even=True),
        "signal_conv": Kind(
            "vision_blocks.Convolution", (3,), {"out": int, "kernel": 1, "stride": 1, "act": _ACTS}, _strided
        ),
        "dense": Kind("blocks.Linear", (2,), {"out": int}, _features),
        "tdnn_conv": Kind("speech_blocks.TdnnConv", (3,), {"out": int, "kernel": 1, "dilation": 1}, _strided),
        "se_res2": Kind(
            "speech_blocks.SeRes2Tdnn",
            (3,),
            {"out": int, "mid": int, "kernel": 3, "dilation": 2, "scale": 8, "squeeze": 128},
            _strided,
        ),
        "attentive_statistics": Kind("speech_blocks.AttentiveStatistics", (3,), {"squeeze": 128}, _statistics),
        "statistics_pool": Kind("speech_blocks.StatisticsPool", (3, 4), {}, _statistics),
    }
)
