"""The networks of a file in which each row is one architecture, in the order that its reader numbers them.

The order is the reader's: benchmarks shuffled their networks once, and a list of numbers is worth nothing in another
order. So it comes from the user, who has the reader's files, or from the benchmark's own rule (NAS-Bench-201).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ...profiler.errors import UsageError
from ..onboarding.arch_space import Archs, read_arch_text
from ..onboarding.cell_space import EDGES, NAME, OP_NAMES, NasBench201
from ..space import Space
from ..spaces.coding import NativeArch

NASBENCH201 = NAME
#: An architecture as its reader's code writes it: a dictionary of lists, a list of indices, or a string with bars.
Native: TypeAlias = dict[str, list[int | float]] | list[int] | str
#: What stands in a file of architectures: text, or what JSON makes of a line.
Given: TypeAlias = str | Mapping[str, Sequence[float]] | Sequence[int]

_SIDE_OF_CELLS = 32


@dataclass(frozen=True, eq=False)
class Networks:
    """Architectures of one space, in order.

    Attributes:
        space: ``nasbench201``, or the name of a chain space.
        choices: int16 (networks, places), the candidate at each place, -1 where a place is not active.
        candidates: their names at each place.
        resolutions: input size of each network, pixels.
        native: each network as the space's own code writes it.
        origin: where the order comes from, for people.
        elastic: whether places may be inactive.
    """

    space: str
    choices: Archs
    candidates: tuple[tuple[str, ...], ...]
    resolutions: tuple[int, ...]
    native: tuple[Native, ...]
    origin: str
    elastic: bool

    def __len__(self) -> int:
        return len(self.choices)

    @property
    def keys(self) -> list[tuple[int, ...]]:
        """What tells a network from others: its resolution and its choices."""
        return [(side, *row) for side, row in zip(self.resolutions, self.choices.tolist(), strict=True)]

    @property
    def sha256(self) -> str:
        """Of all networks in this order."""
        return hashlib.sha256(repr(self.keys).encode()).hexdigest()


def cell_string(row: Archs) -> str:
    """A cell of NAS-Bench-201 as the benchmark writes it: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
    nodes: dict[int, list[str]] = {}
    for (source, target), op in zip(EDGES, row.tolist(), strict=True):
        nodes.setdefault(target, []).append(f"{OP_NAMES[op]}~{source}")
    return "+".join(f"|{'|'.join(parts)}|" for parts in nodes.values())


def cell_networks(choices: Archs, origin: str) -> Networks:
    """Cells of NAS-Bench-201, int16 (networks, 6)."""
    return Networks(
        space=NASBENCH201,
        choices=choices,
        candidates=(OP_NAMES,) * len(EDGES),
        resolutions=(_SIDE_OF_CELLS,) * len(choices),
        native=tuple(cell_string(row) for row in choices),
        origin=origin,
        elastic=False,
    )


def benchmark_networks() -> Networks:
    """All 15,625 cells as NAS-Bench-201 numbers them."""
    return cell_networks(NasBench201().order, "the order of NAS-Bench-201")


def chain_networks(spaces: Sequence[Space], choices: Archs, places: Sequence[int], origin: str) -> Networks:
    """Networks of a chain space, each at one of several resolutions.

    Args:
        spaces: the space at each resolution.
        choices: int16 (networks, positions).
        places: which of ``spaces`` each network belongs to.
    """
    first = spaces[0]
    native: list[Native] = [[]] * len(choices)
    for number, space in enumerate(spaces):
        rows = [row for row, place in enumerate(places) if place == number]
        for row, arch in zip(rows, space.decode(choices[rows]) if rows else [], strict=True):
            native[row] = arch
    return Networks(
        space=first.name,
        choices=choices,
        candidates=tuple(position.names for position in first.positions),
        resolutions=tuple(spaces[place].resolution for place in places),
        native=tuple(native),
        origin=origin,
        elastic=any(stage.elastic for stage in first.stages),
    )


def read_cells(given: Sequence[Given], origin: str) -> Networks:
    """Cells of NAS-Bench-201 in any of their forms: six digits, a list of six, an index, the string with bars.

    Raises:
        UsageError: says which line is none.
    """
    cells = NasBench201()
    rows = []
    for number, one in enumerate(given, 1):
        if isinstance(one, Mapping):
            raise UsageError(f"{origin}, architecture {number}: a dictionary is no cell of {NASBENCH201}")
        text = one if isinstance(one, str) else ".".join(str(op) for op in one)
        try:
            rows.append(cells.parse(text))
        except UsageError as error:
            raise UsageError(f"{origin}, architecture {number}: {error.message}", remedy=error.remedy) from error
    return cell_networks(np.array(rows, dtype=np.int16).reshape(len(rows), len(EDGES)), origin)


def read_chains(given: Sequence[Given], spaces: Sequence[Space], origin: str) -> Networks:
    """Networks of a chain space, as ``3.0.1._``, lists of indices or the space's own dictionaries.

    Args:
        spaces: one space at different resolutions; a network that names none belongs to the only one.

    Raises:
        UsageError: says which line is no network of these spaces.
    """
    grouped: dict[int, list[tuple[int, NativeArch]]] = {}
    for number, one in enumerate(given):
        where = f"{origin}, architecture {number + 1}"
        native = _untext(one, spaces[0], where)
        grouped.setdefault(_place(native, spaces, where), []).append((number, native))
    choices = np.empty((len(given), len(spaces[0].positions)), dtype=np.int16)
    places = [0] * len(given)
    for place, members in grouped.items():
        numbers = [number for number, _ in members]
        choices[numbers] = _encoded(members, spaces[place], origin)
        for number in numbers:
            places[number] = place
    return chain_networks(spaces, choices, places, origin)


def _untext(one: Given, space: Space, where: str) -> NativeArch:
    if not isinstance(one, str):
        return one
    row = read_arch_text(one, len(space.positions))
    if row is None:
        raise UsageError(
            f"{where}: {one!r} is no architecture of {space.name}",
            remedy=f"write {len(space.positions)} candidates with dots between them, _ for none, or JSON",
        )
    return space.decode(row)[0]


def _place(native: NativeArch, spaces: Sequence[Space], where: str) -> int:
    offered = [space.resolution for space in spaces]
    asked = native.get(spaces[0].native.resolution) if isinstance(native, Mapping) else None
    if asked is None:
        if len(spaces) == 1:
            return 0
        raise UsageError(f"{where} names no resolution, and there are tables of {', '.join(map(str, offered))}")
    sides = list(asked) if isinstance(asked, Sequence) else [asked]
    if len(sides) != 1 or sides[0] not in offered:
        raise UsageError(
            f"{where} asks for resolution {', '.join(map(str, sides))}; there are prices for {offered}",
            remedy="give a table for each resolution of the list",
        )
    return offered.index(int(sides[0]))


def _encoded(members: Sequence[tuple[int, NativeArch]], space: Space, origin: str) -> Archs:
    """All at once; one after another only to say which is wrong."""
    try:
        return space.encode([native for _, native in members])
    except UsageError:
        for number, native in members:
            try:
                space.encode([native])
            except UsageError as error:
                message = error.message.removeprefix("architecture 0").removeprefix(", ")
                raise UsageError(f"{origin}, architecture {number + 1}: {message}", remedy=error.remedy) from error
        raise
