"""From the fields of one candidate, each of which holds one value, to the block that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from .cell import PLAIN_BLOCKS, BlockSpec, round_channels
from .kinds import KINDS, FieldRule, Kind, Shape, Value
from .table import Table

if TYPE_CHECKING:
    from ...profiler.graphs.tensor_operators import AnyActivation

#: Blocks that a layer may name; an identity comes from ``skip``.
BLOCKS = (*(block for block in PLAIN_BLOCKS if block != "identity"), *KINDS)
#: Fields of the plain blocks.
PLAIN_FIELDS = (
    *"kernel expand mid groups squeeze act shortcut gate".split(),
    *"mid_divisor squeeze_divisor squeeze_of expands_at_1 expands_only_up".split(),
)
ACTIVATIONS: tuple[AnyActivation, ...] = (
    "", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "swish", "gelu", "gelu_tanh", "tanh",
)  # fmt: skip
GATES: tuple[AnyActivation, ...] = ("hard_sigmoid", "sigmoid")
#: Fields of other kinds of block that are worked out where they are not given, and from what.
_DERIVED = {
    "mid": ("expand", "mid_divisor"),
    "squeeze": ("squeeze_ratio", "squeeze_divisor"),
    "intermediate": ("ratio",),
    "head_size": ("attention_width",),
}
_OWN = {field.name for field in fields(BlockSpec)}


def block_fields(block: str) -> tuple[str, ...]:
    """Names of the fields of a kind of block, those included from which others are worked out."""
    if block not in KINDS:
        return (*PLAIN_FIELDS, "out", "stride")
    return (*KINDS[block].fields, *(name for field in KINDS[block].fields for name in _DERIVED.get(field, ())))


@dataclass(frozen=True)
class BlockReader:
    """Reads blocks of one space.

    Attributes:
        width, divisor: channels are multiplied by the width and rounded to a multiple of the divisor.
    """

    width: float
    divisor: int

    def read(self, given: Table, shape: Shape, offset: int) -> BlockSpec:
        """The block behind an input of this shape.

        Raises:
            UsageError: a field is missing or wrong, or the block does not fit behind the input.
        """
        block = given.one_of("block", BLOCKS)
        if block in KINDS:
            return self._kind(KINDS[block], given, shape, offset)
        if len(shape) != 4:
            raise given.error("block", "stands behind a linear layer", "A linear layer ends the network.")
        if block == "global_pool":
            return BlockSpec("global_pool", shape[1])
        if block in ("linear", "pooled_linear"):
            return BlockSpec(block, given.integer("out", minimum=1))
        act = given.one_of("act", ACTIVATIONS, "")
        kernel = _odd(given, given.integer("kernel", 1, minimum=1))
        stride = given.integer("stride", 1, minimum=1) if offset == 0 else 1
        if block == "conv":
            return BlockSpec("conv", self.out(given), kernel, stride, act)
        return self._inverted_residual(given, shape[1], kernel, stride, act)

    def out(self, given: Table) -> int:
        """Output channels at the width of the space."""
        out = given.integer("out", minimum=1)
        scales = self.width != 1.0 and given.flag("scales", True)
        return round_channels(out * self.width, self.divisor) if scales else out

    def _inverted_residual(
        self, given: Table, channels: int, kernel: int, stride: int, act: AnyActivation
    ) -> BlockSpec:
        out = self.out(given)
        if "mid" in given.data:
            mid = given.integer("mid", minimum=1)
            expand, expands = mid / channels, mid > channels or not given.flag("expands_only_up", False)
        else:
            expand = given.number("expand", minimum=0)
            mid = round_channels(channels * expand, given.integer("mid_divisor", 8, minimum=1))
            expands = expand != 1 or given.flag("expands_at_1", True)
        mid = mid if expands else channels
        groups = given.integer("groups", 1, minimum=1)
        if groups > 1 and (not expands or any(size % groups for size in (channels, mid, out))):
            raise given.error(
                "groups", f"{groups} does not divide {channels}, {mid} and {out}", "Choose another number."
            )
        ratio = given.number("squeeze", 0, minimum=0)
        base = channels if given.one_of("squeeze_of", ("mid", "input"), "mid") == "input" else mid
        squeeze = round_channels(base * ratio, given.integer("squeeze_divisor", 8, minimum=1)) if ratio else 0
        gate = given.one_of("gate", GATES, GATES[0])
        shortcut = given.flag("shortcut", True)
        made = BlockSpec(
            "inverted_residual", out, kernel, stride, act, expand, mid, groups, squeeze, expands, shortcut, gate
        )
        if groups > 1 and act not in ("", "relu", "relu6", "hard_swish"):
            raise given.error("groups", f"{groups} has no block with the activation {act!r}", "Choose relu.")
        return made

    def _kind(self, kind: Kind, given: Table, shape: Shape, offset: int) -> BlockSpec:
        if len(shape) not in kind.ranks:
            raise given.error("block", f"does not fit behind {shape}", "Put another layer before it.")
        if self.width != 1.0:
            raise given.error("block", "does not scale with the width", "Offer the width 1.0 only.")
        values: dict[str, Value] = {}
        for name, rule in kind.fields.items():
            derived = None if name in given.data else _derived(kind, given, name, shape, values)
            values[name] = _value(given, name, rule, offset) if derived is None else derived
        if "kernel" in values and not kind.even:
            _odd(given, int(values["kernel"]))
        return spec_of_kind(given.text("block"), values)


def spec_of_kind(block: str, values: dict[str, Value]) -> BlockSpec:
    """A block of one of ``KINDS`` with these fields, of which there are all."""
    canonical = KINDS[block].canonical(values)
    own = {name: value for name, value in canonical.items() if name in _OWN}
    more = tuple((name, value) for name, value in canonical.items() if name not in _OWN)
    return BlockSpec(block=block, **{"out": 0, **own}, more=more)  # type: ignore[arg-type]  # checked by the rules


def _value(given: Table, name: str, rule: FieldRule, offset: int) -> Value:
    """A field of one of ``KINDS``, as its rule has it."""
    if isinstance(rule, tuple):
        return given.one_of(name, rule, rule[0])
    if isinstance(rule, type):
        return given.integer(name, minimum=1)
    if isinstance(rule, bool):
        return given.flag(name, rule)
    if isinstance(rule, str):
        return given.text(name, rule)
    if name == "stride" and offset:
        return 1
    return given.integer(name, int(rule), minimum=0)


def _derived(kind: Kind, given: Table, name: str, shape: Shape, values: Mapping[str, Value]) -> Value | None:
    """What a field is where it is not given, but a ratio is that it follows from."""
    if name == "mid" and "expand" in given.data:
        base = shape[1] if kind.mid_of == "input" else int(values["out"])
        return round_channels(base * given.number("expand", minimum=0), given.integer("mid_divisor", 8, minimum=1))
    if name == "squeeze" and "squeeze_ratio" in given.data:
        base = int(values["mid"] if kind.mid_of == "input" else values["out"])
        ratio = given.number("squeeze_ratio", minimum=0)
        return round_channels(base * ratio, given.integer("squeeze_divisor", 8, minimum=1)) if ratio else 0
    if name == "intermediate" and "ratio" in given.data:
        return int(shape[-1] * given.number("ratio", minimum=0))
    if name == "head_size":
        width, heads = given.integer("attention_width", shape[-1], minimum=1), int(values["heads"])
        if width % heads:
            raise given.error("heads", f"{heads} does not divide {width}", "Give head_size, or other heads.")
        return width // heads
    return None


def _odd(given: Table, kernel: int) -> int:
    if kernel % 2 == 0:
        raise given.error("kernel", f"{kernel} is even", "Same padding is defined for odd kernels.")
    return kernel
