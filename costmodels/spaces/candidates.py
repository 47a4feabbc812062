"""The candidates of one place of a space file: cross products of lists, named rows, and identities.

A candidate is a name and the fields of its block, in which choices of the whole space may still be open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from .block_reader import ACTIVATIONS, BLOCKS, block_fields
from .cell import BlockSpec
from .choices import at_offset
from .flow import Flow
from .table import Table, Toml

#: Fields that may hold a list, slowest first; behind them those of other kinds of block, in the order of the kind.
CHOICES = ("kernel", "expand", "groups", "squeeze", "mid", "act")
#: Fields of a layer that say nothing of its block.
LAYER_ONLY = frozenset("name repeat depth skip candidates parts keep reads adds".split())
LAYER_FIELDS = (
    *sorted(LAYER_ONLY),
    *"block form length channels scales cell reduces".split(),
    *dict.fromkeys(name for block in BLOCKS for name in block_fields(block)),
)
#: Not a choice of one place: what comes behind would depend on it. A choice of the whole space may decide them.
_SHAPING = ("out", "stride", "width", "channels")
#: The field that marks a candidate that executes nothing.
IDENTITY = "(identity)"

Candidate = tuple[str, Mapping[str, Toml]]


@dataclass(frozen=True)
class Place:
    """One repetition of a layer, with what it gets.

    Attributes:
        file: holds the named lists of candidates.
        keeps_channels: whether the layer puts out as many channels as it gets, whatever is chosen.
    """

    layer: Table
    offset: int
    flow: Flow
    file: Table
    keeps_channels: bool

    def candidates(self) -> list[Candidate]:
        """What may stand here; one candidate where nothing is chosen.

        Raises:
            UsageError: a fault in the file, or nothing to choose.
        """
        layer = Table(self.layer.where, at_offset(self.layer.data, self.offset), self.layer.known)
        found = self._listed(layer) if "candidates" in layer.data else self._crossed(layer, layer.data)
        if "skip" in layer.data and (skip := self._skip(layer, layer, "skip")) is not None:
            found.append(skip)
        if not found:
            raise layer.error("candidates", "leaves nothing to choose here", "Add a candidate that changes the shape.")
        names = [name for name, _ in found]
        if len(set(names)) < len(names):
            raise layer.error("candidates", f"{', '.join(names)} holds a name twice", "Give each its own name.")
        return found

    def _crossed(self, layer: Table, data: Mapping[str, Toml]) -> list[Candidate]:
        """The cross product of the fields that hold lists."""
        lists = {name: found for name in _order(data) if (found := self._list(layer, data, name)) is not None}
        crossed: list[Candidate] = []
        for values in product(*lists.values()):
            picked = dict(zip(lists, values, strict=True))
            name = "-".join(f"{key}{value}" for key, value in picked.items())
            crossed.append((name or str(data.get("block", layer.text("name"))), {**data, **picked}))
        return crossed

    def _listed(self, layer: Table) -> list[Candidate]:
        """Rows of their own, each of which may hold lists again."""
        given = layer.data["candidates"]
        rows = self.file.sub("candidates", None).tables(given) if isinstance(given, str) else layer.tables("candidates")
        common = {key: value for key, value in layer.data.items() if key not in ("candidates", "skip")}
        listed: list[Candidate] = []
        for number, row in enumerate(rows):
            candidate = Table(f"{layer.where}, candidate {row.get('name', number)!r}", row, LAYER_FIELDS)
            name = candidate.text("name")
            if "skip" in row:
                if (skip := self._skip(layer, candidate, name)) is not None:
                    listed.append(skip)
                continue
            crossed = self._crossed(candidate, {**common, **row, "name": layer.text("name")})
            several = len(crossed) > 1
            listed.extend((f"{name}-{suffix}" if several else name, fields) for suffix, fields in crossed)
        return listed

    def _skip(self, layer: Table, source: Table, name: str) -> Candidate | None:
        """``true`` adds an identity where shape is kept; ``"conv"`` also a 1×1 convolution where it is not."""
        skip = source.data["skip"]
        if skip is False:
            return None
        if skip not in (True, "conv"):
            raise source.error("skip", f"is {skip!r}", 'Choose true, false or "conv".')
        stride = layer.integer("stride", 1, minimum=1) if self.offset == 0 else 1
        if stride == 1 and self.keeps_channels:
            return (name, {IDENTITY: True})
        if skip != "conv":
            return None
        act = layer.one_of("act", ACTIVATIONS, "")
        return (name, {"block": "conv", "out": layer.data["out"], "stride": stride, "act": act})

    def _list(self, layer: Table, data: Mapping[str, Toml], name: str) -> list[Toml] | None:
        """The values of a field that holds a choice; None for any other."""
        value = data.get(name)
        if isinstance(value, dict) and ("from" in value or "from_input" in value):
            return self._range(Table(f"{layer.where}: {name}", value, ["from", "to", "from_input", "to_input", "step"]))
        if not isinstance(value, list):
            return None
        if not value:
            raise layer.error(name, "is an empty list", "Give one value.")
        return value

    def _range(self, steps: Table) -> list[Toml]:
        """From one number to another, either of which may be given as a multiple of the input channels."""
        first, last = (self._end(steps, name) for name in ("from", "to"))
        return list(range(first, last + 1, steps.integer("step", 1, minimum=1)))

    def _end(self, steps: Table, name: str) -> int:
        of_input = f"{name}_input"
        if of_input not in steps.data:
            return steps.integer(name, minimum=1)
        channels = {shape[1] for shape in self.flow.values()}
        if len(channels) != 1:
            raise steps.error(of_input, "counts input channels that a choice decides", f"Give '{name}' instead.")
        return int(steps.number(of_input, minimum=0) * channels.pop())


def identity(channels: int) -> BlockSpec:
    """The block of a candidate that executes nothing."""
    return BlockSpec("identity", channels)


def _order(data: Mapping[str, Toml]) -> tuple[str, ...]:
    """The fields of a block that may hold a choice, slowest first; any name in a layer of several parts."""
    if "parts" in data:
        return tuple(name for name in data if name not in LAYER_ONLY)
    own = block_fields(str(data["block"])) if data.get("block") in BLOCKS else ()
    return tuple(dict.fromkeys((*CHOICES, *(name for name in own if name not in _SHAPING))))
