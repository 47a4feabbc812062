"""Read a search space from TOML: the built-in ones by name, anybody's own by path.

The file lists layers in order. A field that holds a list is a choice, and several lists are their cross product (first
field varies slowest: kernel, then expand, then groups, then squeeze); ``candidates`` spells them out instead.
``repeat`` puts a layer several times (only the first has its stride), ``depth`` says how many of them may be active,
``skip`` adds an identity. Docs: the comments of ``spaces/*.toml``.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import resources
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..profiler.errors import UsageError
from .space import Space
from .spaces.cell import BlockKind, BlockSpec, Cell, CellKind, Shape, make_cell, round_channels
from .spaces.coding import NativeForm, Position, Stage
from .spaces.table import Table, Toml

if TYPE_CHECKING:
    from ..profiler.graphs.operators import Activation

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SPACE_FIELDS = (
    "name title citation input_channels resolution resolutions width widths width_divisor "
    "native defaults candidates layer"
).split()
_BLOCK_FIELDS = "kernel expand groups squeeze act shortcut mid_divisor squeeze_divisor expands_at_1".split()
_LAYER_FIELDS = [*_BLOCK_FIELDS, *"name block out stride repeat depth skip candidates".split()]
_CANDIDATE_FIELDS = [*_BLOCK_FIELDS, "name", "skip"]
#: Fields that may hold a list, slowest first.
_CHOICES = ("kernel", "expand", "groups", "squeeze", "act")
_BLOCKS: tuple[BlockKind, ...] = ("conv", "inverted_residual", "global_pool", "linear", "pooled_linear")
_ACTIVATIONS: tuple[Activation, ...] = ("", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid")


def space_names() -> list[str]:
    """Names of the built-in spaces."""
    files = (resources.files(__package__) / "spaces").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_space(name_or_path: str | Path, *, resolution: int | None = None, width: float | None = None) -> Space:
    """A space at a resolution (pixels) and a width multiplier; both default to what the file says.

    Raises:
        UsageError: no such space, a fault in the file (with file, layer, field and remedy), or a resolution or width
            that the space does not have.
    """
    name = str(name_or_path)
    if name in space_names():
        return _builtin(name, resolution, width)
    path = Path(name_or_path)
    if path.suffix != ".toml" or not path.is_file():
        raise UsageError(
            f"there is no search space {name!r}",
            remedy=f"Built in: {', '.join(space_names())}. Your own: the path of a .toml file.",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="Give a readable TOML file in UTF-8.") from error
    return read_space(text, str(path), resolution=resolution, width=width)


@lru_cache(maxsize=64)
def _builtin(name: str, resolution: int | None, width: float | None) -> Space:
    file = resources.files(__package__) / "spaces" / f"{name}.toml"
    return read_space(file.read_text(encoding="utf-8"), f"{name}.toml", resolution=resolution, width=width)


def read_space(text: str, file: str, *, resolution: int | None = None, width: float | None = None) -> Space:
    """A space from the text of its TOML file; ``file`` is the name that error messages give."""
    try:
        document = cast("dict[str, Toml]", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}", remedy="Correct the line that the message names.") from error
    table = Table(file, document, _SPACE_FIELDS)
    side = _offered(table, "resolution", "resolutions", resolution)
    scale = _offered(table, "width", "widths", width)
    if side != int(side):
        raise table.error("resolution", f"{side:g} is not a whole number of pixels", "Give an integer.")
    reader = _Reader(table, int(side), float(scale))
    reader.read_layers()
    stages = tuple(reader.stages)
    return Space(
        name=table.text("name"),
        title=table.text("title"),
        citation=table.text("citation"),
        resolution=reader.resolution,
        width=reader.width,
        input_shape=reader.input_shape,
        native=_native(table, stages),
        sequence=tuple(reader.sequence),
        stages=stages,
    )


def _offered(table: Table, field: str, choices: str, asked: float | None) -> float:
    """The asked or default resolution or width, which must be among those that the file offers."""
    default = table.number(field)
    offered: list[float]
    if isinstance(table.data.get(choices), dict):
        steps = table.sub(choices, ["from", "to", "step"])
        first, last, step = (steps.integer(key, minimum=1) for key in ("from", "to", "step"))
        offered = [float(size) for size in range(first, last + 1, step)]
    else:
        offered = [float(value) for value in table.numbers(choices, [default])]
    chosen = default if asked is None else asked
    if chosen not in offered:
        raise UsageError(
            f"{table.where}: {field} {chosen:g} is not offered",
            remedy=f"{choices}: {', '.join(f'{v:g}' for v in offered)}.",
        )
    return chosen


def _native(table: Table, stages: tuple[Stage, ...]) -> NativeForm:
    native = table.sub("native", ["form", "fields", "depth", "resolution"])
    form = native.one_of("form", ("indices", "fields"))
    if form == "indices":
        return NativeForm()
    fields = native.sub("fields", None)
    pairs = tuple((key, fields.one_of(key, _CHOICES[:4])) for key in fields.data)
    depth = native.text("depth", "")
    if any(stage.elastic for stage in stages) and not depth:
        raise native.error(
            "depth", "is missing, but there are elastic stages", "Name the list that holds their depths."
        )
    return NativeForm("fields", pairs, depth, native.text("resolution", ""))


class _Reader:
    """Walks the layers of one file in order; ``shape`` is the activation that the next layer gets."""

    def __init__(self, table: Table, resolution: int, width: float) -> None:
        self.table, self.resolution, self.width = table, resolution, width
        self.input_shape: Shape = (1, table.integer("input_channels", 3, minimum=1), resolution, resolution)
        self.shape: Shape = self.input_shape
        self.sequence: list[Cell | Position] = []
        self.stages: list[Stage] = []
        self.defaults = table.sub("defaults", _BLOCK_FIELDS).data if "defaults" in table.data else {}
        self.divisor = table.integer("width_divisor", 8, minimum=1)
        self._positions = 0

    def read_layers(self) -> None:
        layers = self.table.tables("layer")
        if not layers:
            raise self.table.error("layer", "is missing", "Describe at least one [[layer]].")
        seen: set[str] = set()
        for number, data in enumerate(layers, 1):
            name = data.get("name")
            where = (
                f"{self.table.where}: layer {name!r}"
                if isinstance(name, str)
                else f"{self.table.where}: layer {number}"
            )
            layer = Table(where, {**self.defaults, **data}, _LAYER_FIELDS)
            if layer.text("name") in seen:
                raise layer.error("name", "stands twice", "Give every layer its own name.")
            seen.add(layer.text("name"))
            self._read_layer(layer)

    def _read_layer(self, layer: Table) -> None:
        repeat = layer.integer("repeat", 1, minimum=1)
        depths = tuple(sorted({int(depth) for depth in layer.numbers("depth", [repeat])}))
        if depths[0] < 1 or depths[-1] != repeat:
            raise layer.error(
                "depth", f"{list(depths)} does not fit repeat = {repeat}", "The largest depth is the repeat."
            )
        start = self._positions
        places = [self._read_place(layer, offset) for offset in range(repeat)]
        chosen = len(depths) > 1 or any(len(candidates) > 1 for candidates in places)
        kind: CellKind = "choice" if chosen else "fixed"
        for offset, candidates in enumerate(places):
            cells = [make_cell(layer.text("name"), kind, spec, shape) for _, spec, shape in candidates]
            if not chosen:
                self.sequence.append(cells[0])
                continue
            names = tuple(name for name, _, _ in candidates)
            if len(set(names)) < len(names):
                raise layer.error("candidates", f"{', '.join(names)} holds a name twice", "Give each its own name.")
            self.sequence.append(Position(layer.text("name"), offset, names, tuple(cells)))
            self._positions += 1
        if chosen:
            self.stages.append(Stage(layer.text("name"), start, self._positions, depths))

    def _read_place(self, layer: Table, offset: int) -> list[tuple[str, BlockSpec, Shape]]:
        """The candidates (name, block, input shape) of one repetition of a layer; moves ``shape`` on."""
        before = self.shape
        if len(before) != 4:
            raise layer.error("block", "stands behind a linear layer", "A linear layer ends the network.")
        candidates = self._listed(layer, offset) if "candidates" in layer.data else self._crossed(layer, offset)
        if "skip" in layer.data:
            self._add_skip(layer, layer, offset, candidates)
        if not candidates:
            raise layer.error("candidates", "leaves nothing to choose here", "Add a candidate that changes the shape.")
        after = {spec.output_shape(before) for _, spec in candidates}
        if len(after) != 1:
            raise layer.error("out", f"differs between candidates: {sorted(after)}", "All must give one shape.")
        self.shape = after.pop()
        return [(name, spec, before) for name, spec in candidates]

    def _crossed(self, layer: Table, offset: int) -> list[tuple[str, BlockSpec]]:
        lists = {key: value for key in _CHOICES if isinstance(value := layer.data.get(key), list)}
        if any(not values for values in lists.values()):
            raise layer.error(
                next(key for key, values in lists.items() if not values), "is an empty list", "Give one value."
            )
        crossed = []
        for values in product(*lists.values()):
            data = {**layer.data, **dict(zip(lists, values, strict=True))}
            name = "-".join(f"{key}{value}" for key, value in zip(lists, values, strict=True)) or layer.text("block")
            crossed.append((name, self._spec(Table(layer.where, data, _LAYER_FIELDS), offset)))
        return crossed

    def _listed(self, layer: Table, offset: int) -> list[tuple[str, BlockSpec]]:
        given = layer.data["candidates"]
        rows = (
            self.table.sub("candidates", None).tables(given) if isinstance(given, str) else layer.tables("candidates")
        )
        listed: list[tuple[str, BlockSpec]] = []
        for number, row in enumerate(rows):
            candidate = Table(f"{layer.where}, candidate {row.get('name', number)!r}", row, _CANDIDATE_FIELDS)
            if "skip" in row:
                self._add_skip(layer, candidate, offset, listed)
                continue
            common = {key: value for key, value in layer.data.items() if key not in ("candidates", "skip")}
            data = {**common, **row, "name": layer.text("name")}
            listed.append((candidate.text("name"), self._spec(Table(candidate.where, data, _LAYER_FIELDS), offset)))
        return listed

    def _add_skip(self, layer: Table, source: Table, offset: int, candidates: list[tuple[str, BlockSpec]]) -> None:
        """``true`` adds an identity where shape is kept; ``"conv"`` also a 1×1 convolution where it is not."""
        skip = source.data["skip"]
        if skip is False:
            return
        if skip not in (True, "conv"):
            raise source.error("skip", f"is {skip!r}", 'Choose true, false or "conv".')
        name = source.text("name") if source is not layer else "skip"
        out, stride = self._out(layer), layer.integer("stride", 1, minimum=1) if offset == 0 else 1
        if stride == 1 and out == self.shape[1]:
            candidates.append((name, BlockSpec("identity", out)))
        elif skip == "conv":
            candidates.append((name, BlockSpec("conv", out, 1, stride, layer.one_of("act", _ACTIVATIONS, ""))))

    def _spec(self, fields: Table, offset: int) -> BlockSpec:
        """One candidate, all of whose fields hold one value."""
        block = fields.one_of("block", _BLOCKS)
        if block == "global_pool":
            return BlockSpec("global_pool", self.shape[1])
        if block in ("linear", "pooled_linear"):
            return BlockSpec(block, fields.integer("out", minimum=1))
        act = fields.one_of("act", _ACTIVATIONS, "")
        kernel = fields.integer("kernel", 1, minimum=1)
        if kernel % 2 == 0:
            raise fields.error("kernel", f"{kernel} is even", "Same padding is defined for odd kernels.")
        stride = fields.integer("stride", 1, minimum=1) if offset == 0 else 1
        if block == "conv":
            return BlockSpec("conv", self._out(fields), kernel, stride, act)
        return self._inverted_residual(fields, kernel, stride, act)

    def _inverted_residual(self, fields: Table, kernel: int, stride: int, act: Activation) -> BlockSpec:
        channels, out = self.shape[1], self._out(fields)
        expand = fields.number("expand", minimum=0)
        mid = round_channels(channels * expand, fields.integer("mid_divisor", 8, minimum=1))
        expands = expand != 1 or fields.flag("expands_at_1", True)
        if not expands:
            mid = channels
        groups = fields.integer("groups", 1, minimum=1)
        if groups > 1 and (not expands or any(size % groups for size in (channels, mid, out))):
            raise fields.error(
                "groups", f"{groups} does not divide {channels}, {mid} and {out}", "Choose another number."
            )
        ratio = fields.number("squeeze", 0, minimum=0)
        squeeze = round_channels(mid * ratio, fields.integer("squeeze_divisor", 8, minimum=1)) if ratio else 0
        shortcut = fields.flag("shortcut", True)
        return BlockSpec("inverted_residual", out, kernel, stride, act, expand, mid, groups, squeeze, expands, shortcut)

    def _out(self, fields: Table) -> int:
        out = fields.integer("out", minimum=1)
        return out if self.width == 1.0 else round_channels(out * self.width, self.divisor)
