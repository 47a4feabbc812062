"""Other people's measurements of a space: NumPy archives as the published ones are collected, and CSV tables.

Whatever is doubtful is refused with the place where it stands: a latency in the wrong unit is worse than none.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...profiler.errors import EdgecostError, UsageError
from .arch_space import Archs, ArchSpace, arch_text
from .known import KnownDevice

Floats = npt.NDArray[np.float64]

#: Milliseconds of each unit that may stand in a header or an archive.
_UNITS_MS = {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3}
_HEADER = re.compile(r"(?P<name>.+)_(?P<unit>[a-zµ]+)")
_CSV_FORM = "first column arch, then one column for each device with its unit in the header: arch,pixel3_ms,raspi4_ms"
_CHAIN_OP = re.compile(r"(?:ir_)?k(\d+)_(?:e(\d+)(?:_g(\d+))?|s(\d+))")


def read_known(path: Path, space: ArchSpace) -> list[KnownDevice]:
    """The devices of a file, by its ending: ``.npz`` or ``.csv``.

    Raises:
        UsageError: it cannot be read, is of another space, or holds something that is no latency.
    """
    if path.suffix == ".npz":
        return _read_archive(path, space)
    if path.suffix == ".csv":
        return _read_table(path, space)
    raise UsageError(f"{path} is neither .npz nor .csv", remedy=f"write it as CSV: {_CSV_FORM}")


def _read_archive(path: Path, space: ArchSpace) -> list[KnownDevice]:
    """``devices`` (devices,), ``latency`` (networks, devices) with NaN for what was not measured, ``ops`` (networks,
    places), and JSON in ``meta`` with the unit and the space. Without ``ops`` the rows are all architectures in the
    published order.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="give an archive made with numpy.savez") from error
    meta = _meta(path, held)
    missing = [name for name in ("devices", "latency") if name not in held]
    if missing:
        raise UsageError(f"{path} has no array {' and no '.join(missing)}", remedy="it needs devices and latency")
    if "space" in meta and not space.name.startswith(str(meta["space"])):
        raise UsageError(f"{path} is of the space {meta['space']}, not of {space.name}", remedy="name that space")
    names, latency = [str(name) for name in held["devices"].ravel()], held["latency"]
    if latency.shape != (len(latency), len(names)) or not np.issubdtype(latency.dtype, np.number):
        raise UsageError(f"{path}: latency has shape {latency.shape}, which is not (networks, {len(names)} devices)")
    archs = _archs_of(path, held, space, len(latency))
    values = latency.astype(np.float64) * _factor(path, "meta", str(meta.get("unit", "")))
    return [_device(name, path, archs, column) for name, column in zip(names, values.T, strict=True)]


def _meta(path: Path, held: Mapping[str, npt.NDArray[np.generic]]) -> Mapping[str, object]:
    try:
        meta = json.loads(str(held.get("meta", "{}")))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: meta is not JSON: {error}") from error
    return meta if isinstance(meta, dict) else {}


def _archs_of(path: Path, held: Mapping[str, npt.NDArray[np.generic]], space: ArchSpace, rows: int) -> Archs:
    if "ops" not in held:
        if space.order is None or rows != len(space.order):
            raise UsageError(
                f"{path} does not say which architectures its {rows} rows are", remedy="add them as an array ops"
            )
        return space.order
    ops, places = held["ops"], space.pool.shape[1]
    if ops.shape != (rows, places) or not np.issubdtype(ops.dtype, np.integer):
        raise UsageError(
            f"{path}: ops has shape {ops.shape}; {rows} rows of latency need integers of shape ({rows}, {places})"
        )
    named = [str(name) for name in held["op_names"].ravel()] if "op_names" in held else list(space.op_names)
    if [_canonical(name) for name in named] != [_canonical(name) for name in space.op_names[: len(named)]]:
        raise UsageError(
            f"{path} has the operators {', '.join(named)}; {space.name} has {', '.join(space.op_names)}",
            remedy="bring them into this order",
        )
    archs = ops.astype(np.int16)
    space.encode(archs)  # refuses what is no architecture
    return archs


def _canonical(name: str) -> object:
    """FBNet's ``k3_e1_g2`` and ``ir_k3_s2`` are one block: kernel, expansion, groups."""
    found = _CHAIN_OP.fullmatch(name)
    return (found[1], found[2] or "1", found[3] or found[4] or "1") if found else name


def _read_table(path: Path, space: ArchSpace) -> list[KnownDevice]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy=f"write it as CSV in UTF-8: {_CSV_FORM}") from error
    if len(rows) < 2 or rows[0][0].strip() != "arch" or len(rows[0]) < 2:
        raise UsageError(f"{path} is no table of latencies", remedy=_CSV_FORM)
    columns = [_column(path, head.strip()) for head in rows[0][1:]]
    twice = sorted({name for name, _ in columns if sum(name == other for other, _ in columns) > 1})
    if twice:
        raise UsageError(f"{path}: {', '.join(twice)} is there twice", remedy="give every device one column")
    archs, latency = [], []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise UsageError(
                f"{path}, row {number}: {len(row)} cells, but the header has {len(rows[0])}",
                remedy="quote what holds a comma, and leave a cell empty where nothing was measured",
            )
        try:
            archs.append(space.parse(row[0]))
        except EdgecostError as error:
            raise UsageError(f"{path}, row {number}: {error.message}", remedy=error.remedy) from error
        latency.append(list(_cells(path, number, rows[0][1:], row[1:], columns)))
    known = np.array(archs, dtype=np.int16)
    values = np.array(latency, dtype=np.float64)
    return [_device(name, path, known, column) for (name, _), column in zip(columns, values.T, strict=True)]


def _column(path: Path, head: str) -> tuple[str, float]:
    found = _HEADER.fullmatch(head)
    if found is None:
        raise UsageError(f"{path}: column {head!r} does not say its unit", remedy=_CSV_FORM)
    return found["name"], _factor(path, f"column {head!r}", found["unit"])


def _cells(
    path: Path, number: int, heads: Sequence[str], cells: Sequence[str], columns: Sequence[tuple[str, float]]
) -> Iterator[float]:
    """Milliseconds; NaN for an empty cell."""
    for head, cell, (_, factor) in zip(heads, cells, columns, strict=True):
        if not cell.strip():
            yield math.nan
            continue
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value <= 0:
            raise UsageError(
                f"{path}, row {number}, {head.strip()}: {cell.strip()!r} is no latency",
                remedy="leave a cell empty where nothing was measured",
            )
        yield value * factor


def _factor(path: Path, place: str, unit: str) -> float:
    if unit not in _UNITS_MS:
        said = f"{unit!r} is no unit of time" if unit else "there is no unit"
        raise UsageError(f"{path}, {place}: {said}", remedy=f"say one of {', '.join(_UNITS_MS)}")
    return _UNITS_MS[unit]


def _device(name: str, path: Path, archs: Archs, latency_ms: Floats) -> KnownDevice:
    """A column, without what was not measured; refuses what is no latency and one architecture with two numbers."""
    there = ~np.isnan(latency_ms)
    bad = np.flatnonzero(there & ~(np.isfinite(latency_ms) & (latency_ms > 0)))
    if len(bad):
        raise UsageError(
            f"{path}, {name}: {latency_ms[bad[0]]:g} ms for {arch_text(archs[bad[0]])} is no latency",
            remedy="leave out what could not be measured (NaN in an archive, an empty cell in a table)",
        )
    rows = archs[there]
    distinct, first = np.unique(rows, axis=0, return_index=True)
    if len(distinct) < len(rows):
        again = np.setdiff1d(np.arange(len(rows)), first)[0]
        raise UsageError(
            f"{path}, {name}: {arch_text(rows[again])} is there twice", remedy="keep one number for each architecture"
        )
    return KnownDevice(name, path.name, rows, latency_ms[there])
