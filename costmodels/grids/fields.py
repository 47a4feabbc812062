"""The fields of each kind of block that a grid may be of: its input, numbers, flags and texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from ..spaces.block_reader import ACTIVATIONS, BLOCKS, GATES
from ..spaces.kinds import KINDS, Shape

#: What a block reads: an image (N, C, H, W), a signal (N, C, L), tokens (N, L, C), features (N, C) or ids (N, L).
Form = Literal["image", "signal", "tokens", "features", "ids"]
_INPUTS: Mapping[Form, tuple[str, ...]] = {
    "image": ("channels", "resolution"),
    "signal": ("channels", "length"),
    "tokens": ("channels", "length"),
    "features": ("channels",),
    "ids": ("length",),
}
#: Kinds of block that a grid may be of. The front end of speech models reads one signal; its ``channels`` are made.
GRID_BLOCKS = tuple(block for block in BLOCKS if block != "speech_front_end")
#: A number that decides which operators there are, beside sizes.
STRUCTURAL = ("groups",)


@dataclass(frozen=True)
class Fields:
    """Of one kind of block.

    Attributes:
        numbers: whole ones, with what they are unless given; None where they must be.
        flags: with what they are unless given.
        texts: what may be given, the first unless another is; a single one stands for any text.
    """

    form: Form
    numbers: Mapping[str, int | None]
    flags: Mapping[str, bool] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The numbers that make the input."""
        return _INPUTS[self.form]

    def input_shape(self, values: Mapping[str, int]) -> Shape:
        """With batch 1."""
        if self.form == "image":
            return (1, values["channels"], values["resolution"], values["resolution"])
        if self.form == "tokens":
            return (1, values["length"], values["channels"])
        return (1, *(values[name] for name in self.inputs))


_CONV: Mapping[str, int | None] = {"out": None, "kernel": 1, "stride": 1}
_PLAIN: Mapping[str, Fields] = {
    "conv": Fields("image", _CONV, texts={"act": ACTIVATIONS}),
    "inverted_residual": Fields(
        "image",
        {**_CONV, "mid": None, "groups": 1, "squeeze": 0},
        {"expands": True, "shortcut": True},
        {"act": ACTIVATIONS, "gate": GATES},
    ),
    "global_pool": Fields("image", {}),
    "linear": Fields("image", {"out": None}),
    "pooled_linear": Fields("image", {"out": None}),
}


@lru_cache(maxsize=64)
def fields_of(block: str) -> Fields:
    """The fields of one of ``GRID_BLOCKS``."""
    if block in _PLAIN:
        return _PLAIN[block]
    kind = KINDS[block]
    numbers: dict[str, int | None] = {}
    flags: dict[str, bool] = {}
    texts: dict[str, tuple[str, ...]] = {}
    for name, rule in kind.fields.items():
        if isinstance(rule, tuple):
            texts[name] = rule
        elif isinstance(rule, str):
            texts[name] = (rule,)
        elif isinstance(rule, bool):
            flags[name] = rule
        else:
            numbers[name] = None if isinstance(rule, type) else int(rule)
    return Fields(_form(block), numbers, flags, texts)


def _form(block: str) -> Form:
    kind = KINDS[block]
    if 4 in kind.ranks:
        return "image"
    is_tokens = kind.builder.startswith("sequence_blocks")
    if kind.ranks == (3,):
        return "tokens" if is_tokens else "signal"
    return "ids" if is_tokens else "features"
