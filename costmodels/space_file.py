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
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import cast

from ..profiler.errors import UsageError
from .space import Space
from .spaces.block_reader import PLAIN_FIELDS, BlockReader
from .spaces.coding import NativeForm, Position, Stage
from .spaces.kinds import Shape
from .spaces.layers import LayerReader
from .spaces.table import Table, Toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Entry points: a function of resolution and width (None for its own) that makes a ``Space``, or a path of a TOML file.
GROUP = "edgecost.spaces"
_SPACE_FIELDS = (
    "name title citation input_channels resolution resolutions width widths width_divisor "
    "input input_bands native defaults candidates choice cell operations layer"
).split()
#: Fields that a file may set for all its layers.
_DEFAULTS = [*PLAIN_FIELDS, "norm", "head_size", "downsample", "deployed"]
#: The first input of a network: an image, ids of tokens (N, L), a signal (N, C, L), a spectrogram (N, C, bands, L).
_FORMS = ("image", "ids", "signal", "spectrogram")


def space_names() -> list[str]:
    """Names of the built-in spaces."""
    files = (resources.files(__package__) / "spaces").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def plugin_space_names() -> list[str]:
    """Names of the spaces of other packages (entry points of ``GROUP``). None of them is imported for it."""
    return sorted(point.name for point in entry_points(group=GROUP))


def load_space(name_or_path: str | Path, *, resolution: int | None = None, width: float | None = None) -> Space:
    """A space at a resolution (pixels) and a width multiplier; both default to what the file says.

    Raises:
        UsageError: no such space, a fault in the file (with file, layer, field and remedy), or a resolution or width
            that the space does not have.
    """
    name = str(name_or_path)
    if name in space_names():
        return _builtin(name, resolution, width)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _plugin(point, resolution, width)
    path = Path(name_or_path)
    if path.suffix != ".toml" or not path.is_file():
        raise UsageError(
            f"there is no search space {name!r}",
            remedy=f"Built in: {', '.join(space_names())}. Your own: the path of a .toml file.",
        )
    return _from_file(path, resolution, width)


def _from_file(path: Path, resolution: int | None, width: float | None) -> Space:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="Give a readable TOML file in UTF-8.") from error
    return read_space(text, str(path), resolution=resolution, width=width)


def _plugin(point: EntryPoint, resolution: int | None, width: float | None) -> Space:
    """A space of another package: a function of resolution and width, or the path of a TOML file."""
    what = f"space {point.name!r} ({point.value})"
    try:
        loaded = point.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{what} cannot be imported: {error}") from error
    if isinstance(loaded, (str, Path)):
        return _from_file(Path(loaded), resolution, width)
    made = loaded(resolution, width) if callable(loaded) else None
    if not isinstance(made, Space):
        raise UsageError(f"{what} is neither the path of a TOML file nor a function that makes a space")
    return made


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
    reader = LayerReader(
        table,
        BlockReader(float(scale), table.integer("width_divisor", 8, minimum=1)),
        _input_shape(table, int(side)),
        table.sub("defaults", _DEFAULTS).data if "defaults" in table.data else {},
    )
    reader.read()
    positions, stages = tuple(reader.positions), tuple(reader.stages)
    return Space(
        name=table.text("name"),
        title=table.text("title"),
        citation=table.text("citation"),
        resolution=int(side),
        width=float(scale),
        input_shape=reader.input_shape,
        native=_native(table, positions, stages),
        sequence=tuple(reader.sequence),
        positions=positions,
        stages=stages,
    )


def _input_shape(table: Table, side: int) -> Shape:
    form = table.one_of("input", _FORMS, "image")
    if "input_bands" in table.data and form != "spectrogram":
        raise table.error("input_bands", f"is of no use to an input of form {form!r}", 'Say input = "spectrogram".')
    if form == "ids":
        return (1, side)
    channels = table.integer("input_channels", 3, minimum=1)
    if form == "signal":
        return (1, channels, side)
    return (1, channels, side if form == "image" else table.integer("input_bands", minimum=1), side)


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


def _native(table: Table, positions: tuple[Position, ...], stages: tuple[Stage, ...]) -> NativeForm:
    native = table.sub("native", ["form", "fields", "depth", "resolution"])
    form = native.one_of("form", ("indices", "fields"))
    if form == "indices":
        return NativeForm()
    fields = native.sub("fields", None)
    pairs = tuple((key, _parameters(fields, key, positions)) for key in fields.data)
    depth = native.text("depth", "")
    if any(stage.elastic for stage in stages) and not depth:
        raise native.error(
            "depth", "is missing, but there are elastic stages", "Name the list that holds their depths."
        )
    return NativeForm("fields", pairs, depth, native.text("resolution", ""))


def _parameters(fields: Table, key: str, positions: tuple[Position, ...]) -> tuple[str, ...]:
    """The parameters that a list of a native architecture holds: one name, or several in the order of the list."""
    given = fields.data[key]
    names = given if isinstance(given, list) else [given]
    for name in names:
        offered = [position for position in positions if position.values(str(name)) is not None]
        if not isinstance(name, str) or not offered:
            raise fields.error(key, f"is {given!r}", "Name a field that a layer chooses, or a [[choice]].")
    return tuple(str(name) for name in names)
