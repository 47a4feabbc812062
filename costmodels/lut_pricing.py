"""Files of architectures priced by a table in bounded memory: read a batch, price it, write it.

What is read: ``.npy`` (int array, architectures by positions), ``.parquet`` and ``.csv`` (a column of integers for each
position, or one list column in Parquet), ``.jsonl`` (one architecture a line in the space's own form). What is written
has the same order: ``.parquet``, ``.csv``, or ``.npy`` with the corrected latencies alone.
"""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from ..profiler.errors import MissingPackage, UsageError
from .compute.in_process import InProcess
from .compute.pool import Pool, in_order
from .energy_table import energy_table, knows_energies
from .files import drafted
from .lut import Lut
from .space import Space
from .spaces.coding import Numeric

Floats = npt.NDArray[np.float64]
#: Architectures at a time: some megabytes, and enough that NumPy is busy.
BATCH = 65_536
_READABLE = (".npy", ".parquet", ".csv", ".jsonl")
_WRITABLE = (".parquet", ".csv", ".npy")


@dataclass(frozen=True)
class PricedFile:
    """What was written. ``energy`` says whether there is a column of energies."""

    file: Path
    networks: int
    least_ms: float
    most_ms: float
    energy: bool


@dataclass(frozen=True, eq=False)
class PriceRecipe:
    """Work on batches of architectures: the columns of each."""

    lut: Lut
    space: Space
    energy: bool

    def __call__(self) -> Callable[[Numeric], dict[str, Floats]]:
        return partial(_priced, self.lut, self.space, self._energies())

    def _energies(self) -> Lut | None:
        return energy_table(self.lut, self.space.measurable) if self.energy else None


def _priced(lut: Lut, space: Space, energies: Lut | None, batch: Numeric) -> dict[str, Floats]:
    columns = {"sum_ms": lut.price(batch, corrected=False, space=space), "latency_ms": lut.price(batch, space=space)}
    if energies is not None:
        columns["energy_mj"] = energies.price(batch, space=space)
    return columns


def price_file(
    lut: Lut,
    space: Space,
    archs: Path,
    target: Path,
    progress: Callable[[int], None] = lambda count: None,
    *,
    pool: Pool | None = None,
) -> PricedFile:
    """Price every architecture of a file.

    Columns: ``sum_ms`` (as the table has it), ``latency_ms`` (corrected), and ``energy_mj`` where the table knows the
    energy of every cell of the space.

    Args:
        progress: is told how many were priced since it was told last.
        pool: where batches are priced; None for here. The file is the same.

    Raises:
        UsageError: a form that is not known, a file that cannot be read, or an architecture that is not of the space;
            the message says from which row on.
        GateError: an architecture has a cell that the table lacks.
        OutputError: the target cannot be written; nothing is left under its name.
        MissingPackage: Parquet without pyarrow.
    """
    if target.suffix not in _WRITABLE:
        raise UsageError(f"{target} cannot be written", remedy=f"Name a file that ends in {', '.join(_WRITABLE)}.")
    energy = knows_energies(lut, space.measurable)
    count, least, most = 0, np.inf, -np.inf
    with drafted(target) as draft, _writer(target.suffix, draft) as write:
        recipe = PriceRecipe(lut, space, energy)
        for columns in in_order((pool or InProcess()).map(recipe, _batches(archs, space))):
            write(columns)
            latency_ms = columns["latency_ms"]
            count += len(latency_ms)
            least, most = min(least, float(latency_ms.min())), max(most, float(latency_ms.max()))
            progress(len(latency_ms))
        if not count:
            raise UsageError(f"{archs} holds no architecture", remedy="Give a file with at least one.")
    return PricedFile(target, count, least, most, energy)


def _batches(file: Path, space: Space) -> Iterator[Numeric]:
    """Checked architectures, at most ``BATCH`` at a time."""
    readers = {".npy": _read_npy, ".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl}
    if file.suffix not in readers:
        raise UsageError(f"{file} cannot be read", remedy=f"Give a file that ends in {', '.join(_READABLE)}.")
    first = 0
    try:
        for batch in readers[file.suffix](file, space):
            yield space.check_arch(batch)
            first += len(batch)
    except (OSError, ValueError) as error:  # a broken .npy, .csv or .parquet is a ValueError
        raise UsageError(f"{file} cannot be read behind row {first}: {error}", remedy="Write it again.") from error
    except UsageError as error:
        raise UsageError(f"{file}, counted from row {first}: {error.message}", remedy=error.remedy) from error


def _read_npy(file: Path, space: Space) -> Iterator[npt.NDArray[np.integer]]:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise UsageError(
            f"it holds an array of shape {array.shape} and type {array.dtype}",
            remedy=f"Write integers of shape (n, {len(space.positions)}).",
        )
    for start in range(0, len(array), BATCH):
        yield np.asarray(array[start : start + BATCH])


def _read_csv(file: Path, space: Space) -> Iterator[npt.NDArray[np.integer]]:
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        head = next(rows, [])
        if len(head) != len(space.positions):
            raise UsageError(
                f"its first line names {len(head)} columns",
                remedy=f"Write a header and {len(space.positions)} columns of integers, one for each position.",
            )
        while batch := list(islice(rows, BATCH)):
            yield np.array(batch, dtype=np.str_).astype(np.int64)


def _read_jsonl(file: Path, space: Space) -> Iterator[npt.NDArray[np.integer]]:
    with file.open(encoding="utf-8") as lines:
        while batch := list(islice((line for line in lines if line.strip()), BATCH)):
            yield space.encode([json.loads(line) for line in batch])


def _read_parquet(file: Path, space: Space) -> Iterator[npt.NDArray[np.integer]]:
    pq = _parquet()
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(BATCH):
            columns = batch.columns
            if len(columns) == 1 and len(space.positions) != 1:
                yield np.array(columns[0].to_pylist())
            else:
                yield np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)


@contextmanager
def _writer(suffix: str, draft: Path) -> Iterator[Callable[[dict[str, Floats]], None]]:
    makers = {".npy": _write_npy, ".csv": _write_csv, ".parquet": _write_parquet}
    with makers[suffix](draft) as write:
        yield write


@contextmanager
def _write_npy(draft: Path) -> Iterator[Callable[[dict[str, Floats]], None]]:
    """The numbers go into a file of their own first: the header of a .npy says how many there are."""
    raw = draft.with_name(f"{draft.name}.raw")
    try:
        with raw.open("xb") as file:
            yield lambda columns: columns["latency_ms"].astype("<f8").tofile(file)
        with draft.open("xb") as target, raw.open("rb") as file:
            shape = (raw.stat().st_size // 8,)
            np.lib.format.write_array_header_1_0(target, {"descr": "<f8", "fortran_order": False, "shape": shape})
            while piece := file.read(1 << 20):
                target.write(piece)
    finally:
        raw.unlink(missing_ok=True)


@contextmanager
def _write_csv(draft: Path) -> Iterator[Callable[[dict[str, Floats]], None]]:
    with draft.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)

        def write(columns: dict[str, Floats]) -> None:
            if not file.tell():
                writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))

        yield write


@contextmanager
def _write_parquet(draft: Path) -> Iterator[Callable[[dict[str, Floats]], None]]:
    pq = _parquet()
    import pyarrow as pa

    with ExitStack() as stack:
        # The first batch says which columns there are.
        writer = None

        def write(columns: dict[str, Floats]) -> None:
            nonlocal writer
            table = pa.table(columns)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(draft, table.schema))
            writer.write_table(table)

        yield write


def _parquet() -> ModuleType:
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingPackage("pyarrow is needed for Parquet files", remedy="pip install pyarrow") from error
