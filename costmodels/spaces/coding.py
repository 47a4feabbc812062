"""Architectures between two forms: the numeric one, and the native one that a space's own search code speaks.

Numeric: an int16 array (architectures, positions) of candidate indices, -1 where a position is not active. Native: a
dictionary of lists (Once-for-All) or a list of indices (ProxylessNAS, FBNet). Everything works on whole populations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...profiler.errors import UsageError
from .cell import Cell
from .kinds import Value

Floats: TypeAlias = NDArray[np.float64]
Numeric: TypeAlias = NDArray[np.int16]
NativeArch: TypeAlias = Mapping[str, Sequence[float]] | Mapping[str, Sequence[float] | float] | Sequence[int]


@dataclass(frozen=True)
class Position:
    """A place where an architecture chooses.

    Attributes:
        layer: the layer of the space file, or the choice, and ``offset`` the place within its repetitions, from 0.
        names: a name for each candidate.
        cells: the candidates themselves; empty where what stands there depends on other choices too (``slots.Slot``).
        params: what each candidate says in the file, by name, where its cell does not say it.
    """

    layer: str
    offset: int
    names: tuple[str, ...]
    cells: tuple[Cell, ...] = ()
    params: tuple[Mapping[str, Value], ...] = ()

    def values(self, parameter: str) -> list[Value] | None:
        """What each candidate says of a parameter; None where one says nothing of it."""
        for said in ([cell.params for cell in self.cells], self.params):
            if said and all(parameter in one for one in said):
                return [one[parameter] for one in said]
        return None

    @property
    def label(self) -> str:
        """For people: ``stage2[0]``."""
        return f"{self.layer}[{self.offset}]"


@dataclass(frozen=True)
class Stage:
    """Consecutive positions ``start`` to ``stop`` (exclusive) of one layer; ``depths`` says how many may be active."""

    layer: str
    start: int
    stop: int
    depths: tuple[int, ...]

    @property
    def elastic(self) -> bool:
        """Whether the number of active positions is chosen."""
        return self.depths != (self.stop - self.start,)


@dataclass(frozen=True)
class NativeForm:
    """How the space's own code writes an architecture.

    Attributes:
        form: ``indices``: a list of candidate indices; ``fields``: a dictionary of lists.
        fields: pairs (key of the dictionary, parameters of blocks): a value for each position that has one of the
            parameters, by parameter and then in the order of the network.
        depth: key of the list with one depth per elastic stage; empty for none.
        resolution: key of the list with the one resolution; empty for none.
    """

    form: Literal["indices", "fields"] = "indices"
    fields: tuple[tuple[str, tuple[str, ...]], ...] = ()
    depth: str = ""
    resolution: str = ""


@dataclass(frozen=True)
class Coding:
    """Translates and checks the architectures of one space at one resolution."""

    native: NativeForm
    positions: tuple[Position, ...]
    stages: tuple[Stage, ...]
    resolution: int

    def check(self, archs: NDArray[np.integer]) -> Numeric:
        """The population as an int16 array (architectures, positions); one architecture may be given flat.

        Raises:
            UsageError: wrong length, an index that is no candidate, or a set of active positions that no depth allows.
        """
        array = np.asarray(archs)
        if array.ndim == 1 and (array.size or not self.positions):
            array = array.reshape(1, -1)
        if array.ndim != 2 or array.shape[1] != len(self.positions) or not np.issubdtype(array.dtype, np.integer):
            raise UsageError(
                f"architectures have shape {array.shape} and type {array.dtype}",
                remedy=f"Give integers of shape (n, {len(self.positions)}): one candidate index per position.",
            )
        counts = np.array([len(position.names) for position in self.positions], dtype=np.int64)
        bad = (array < -1) | (array >= counts)
        if bad.any():
            row, place = (int(i) for i in np.argwhere(bad)[0])
            raise self._refuse(row, place, f"no candidate {array[row, place]}", f"0 to {counts[place] - 1}")
        self._check_depths(array)
        return array.astype(np.int16)

    def encode(self, archs: Sequence[NativeArch]) -> Numeric:
        """Native to numeric, a whole population at once.

        Raises:
            UsageError: an architecture is not of this space.
        """
        if not len(archs):
            return np.empty((0, len(self.positions)), dtype=np.int16)
        if self.native.form == "indices":
            return self.check(_integers(self._column(archs, "", len(self.positions)), "candidate indices"))
        self._check_resolution(archs)
        active = self._active(archs)
        encoded = np.full(active.shape, -1, dtype=np.int16)
        said = self._said(archs)
        for place, position in enumerate(self.positions):
            chosen = np.ones((len(archs), len(position.names)), dtype=np.bool_)
            for _, offered, column in said[place]:
                chosen &= column[:, None] == offered
            unknown = active[:, place] & ~chosen.any(axis=1)
            if unknown.any():
                row = int(np.argmax(unknown))
                given = ", ".join(f"{key} {column[row]:g}" for key, _, column in said[place])
                raise self._refuse(row, place, f"no candidate with {given}", ", ".join(position.names))
            encoded[:, place] = np.where(active[:, place], chosen.argmax(axis=1), -1)
        return encoded

    def _said(self, archs: Sequence[NativeArch]) -> list[list[tuple[str, Floats, Floats]]]:
        """For each position what the architectures say of it: key, what its candidates offer, and (n,) values."""
        said: list[list[tuple[str, Floats, Floats]]] = [[] for _ in self.positions]
        for key, places in self._listed():
            column = self._column(archs, key, len(places))
            for number, (place, values) in enumerate(places):
                said[place].append((key, np.array(values, dtype=np.float64), column[:, number]))
        return said

    def _listed(self) -> list[tuple[str, list[tuple[int, list[Value]]]]]:
        """For each key of a native architecture the positions that its list speaks of, with their values."""
        return [
            (
                key,
                [
                    (place, values)
                    for parameter in parameters
                    for place, position in enumerate(self.positions)
                    if (values := position.values(parameter)) is not None
                ],
            )
            for key, parameters in self.native.fields
        ]

    def decode(self, archs: NDArray[np.integer]) -> list[dict[str, list[int | float]] | list[int]]:
        """Numeric to native. Inactive positions, which nobody reads, get the values of their first candidate."""
        array = self.check(archs)
        if self.native.form == "indices":
            return [[int(index) for index in row] for row in array]
        return [self._decode_fields(row) for row in array]

    def _decode_fields(self, row: Numeric) -> dict[str, list[int | float]]:
        native: dict[str, list[int | float]] = {}
        for key, places in self._listed():
            native[key] = [_plain(values[max(int(row[place]), 0)]) for place, values in places]
        if self.native.depth:
            elastic = [stage for stage in self.stages if stage.elastic]
            native[self.native.depth] = [int((row[s.start : s.stop] >= 0).sum()) for s in elastic]
        if self.native.resolution:
            native[self.native.resolution] = [self.resolution]
        return native

    def _active(self, archs: Sequence[NativeArch]) -> NDArray[np.bool_]:
        active = np.ones((len(archs), len(self.positions)), dtype=np.bool_)
        elastic = [stage for stage in self.stages if stage.elastic]
        if not elastic:
            return active
        depths = self._column(archs, self.native.depth, len(elastic))
        for i, stage in enumerate(elastic):
            unknown = ~np.isin(depths[:, i], stage.depths)
            if unknown.any():
                row = int(np.argmax(unknown))
                problem = f"depth {depths[row, i]:g} of {stage.layer}"
                raise self._refuse(row, stage.start, problem, f"depths {', '.join(map(str, stage.depths))}")
            active[:, stage.start : stage.stop] = np.arange(stage.stop - stage.start) < depths[:, i, None]
        return active

    def _column(self, archs: Sequence[NativeArch], key: str, length: int) -> NDArray[np.float64]:
        """One list of every architecture as a float64 array (architectures, length)."""
        rows: list[Sequence[float]] = []
        for number, arch in enumerate(archs):
            row = _listed(arch.get(key)) if isinstance(arch, Mapping) else arch
            if isinstance(row, str) or (row is arch) is bool(key) or row is None or len(row) != length:
                what = f"a dictionary with {length} numbers under '{key}'" if key else f"a list of {length} indices"
                raise UsageError(
                    f"architecture {number} is not {what}", remedy="See the space's own form of architectures."
                )
            rows.append(row)
        try:
            flat = np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=length * len(rows))
        except (TypeError, ValueError) as error:
            raise UsageError(f"an architecture holds something that is no number: {error}") from error
        return flat.reshape(len(rows), length)

    def _check_resolution(self, archs: Sequence[NativeArch]) -> None:
        if not self.native.resolution:
            return
        for number, arch in enumerate(archs):
            given = _listed(arch.get(self.native.resolution)) if isinstance(arch, Mapping) else None
            if given is not None and list(given) != [self.resolution]:
                raise UsageError(
                    f"architecture {number} asks for resolution {list(given)}, but this is {self.resolution}",
                    remedy="One table holds one resolution: load the space or table of the other.",
                )

    def _check_depths(self, array: NDArray[np.integer]) -> None:
        for stage in self.stages:
            active = array[:, stage.start : stage.stop] >= 0
            depth = active.sum(axis=1)
            prefix = (active == (np.arange(stage.stop - stage.start) < depth[:, None])).all(axis=1)
            bad = ~(prefix & np.isin(depth, stage.depths))
            if bad.any():
                row = int(np.argmax(bad))
                remedy = (
                    f"first {' or '.join(map(str, stage.depths))} of its {stage.stop - stage.start} positions active"
                )
                raise self._refuse(row, stage.start, f"no depth of {stage.layer} has these positions active", remedy)

    def _refuse(self, row: int, place: int, problem: str, offered: str) -> UsageError:
        return UsageError(
            f"architecture {row}, position {place} ({self.positions[place].label}): {problem}",
            remedy=f"Choose: {offered}.",
        )


def _listed(value: Sequence[float] | float | None) -> Sequence[float] | None:
    """Some spaces' own code writes a number where there is only one."""
    return [value] if isinstance(value, (int, float)) else value


def _integers(column: NDArray[np.float64], what: str) -> NDArray[np.integer]:
    whole = np.isfinite(column).all() and (column == np.rint(column)).all() and (np.abs(column) < 2**15).all()
    if not whole:
        raise UsageError(f"{what} must be whole numbers")
    return column.astype(np.int64)


def _plain(value: str | int | float | bool) -> int | float:
    number = float(value)
    return int(number) if number.is_integer() else number
