"""What every format must do, as tests: subclass ``LutFormatContract`` in pytest, name the format and how to read it.

Nothing here imports pytest. ``tmp_path`` is pytest's fixture of that name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...profiler.errors import GateError, UsageError
from ...profiler.records import Json
from ..lut import Lut, LutCell
from ..space import Space
from ..space_file import load_space
from ..spaces.cell import Cell
from ..spaces.coding import Numeric
from . import LutFormat
from .additive import AdditiveFormat
from .card import UNITS, Metric

Arch = Mapping[str, Sequence[float]] | Sequence[int]
_ARCHS = 1000


def checksum_lut(space: Space, *, scale: float = 1.0, offset_ms: float = 0.0) -> Lut:
    """A complete table whose latencies are the CRC-32 of their keys: no two different sets of cells have one sum.

    Sums of such whole numbers are exact in float64 in any order, also after a scale that is a power of two. Energies
    are the CRC-32 of the reversed keys.
    """
    rows = [
        LutCell(cell.key, _checksum(cell.key), None, None, 3, "measured", _checksum(cell.key[::-1]), len(cell.key))
        for cell in space.measurable
    ]
    fitted_on = 0 if (scale, offset_ms) == (1.0, 0.0) else 8
    provenance = checksum_provenance(space)
    return Lut.from_cells(rows, provenance, scale=scale, scale_fitted_on=fitted_on, offset_ms=offset_ms)


def _checksum(text: str) -> float:
    return float(zlib.crc32(text.encode()) + 1)


def checksum_provenance(space: Space) -> dict[str, Json]:
    """A provenance for tables that were not measured."""
    return {
        "space": space.name,
        "resolution": space.resolution,
        "width": space.width,
        "device": "checksum",
        "profile_label": "no runtime",
        "profile_hash": "0" * 64,
        "precision": "fp32",
        "batch": 1,
        "created": "2026-01-01T00:00:00+00:00",
        "edgecost_version": "0",
        "interval": "none",
        "environment_hash": "0" * 64,
    }


def without(lut: Lut, key: str) -> Lut:
    """The table without one row."""
    rows = [row for row in lut.cells if row.key != key]
    return Lut.from_cells(
        rows, lut.provenance, scale=lut.scale, scale_fitted_on=lut.scale_fitted_on, offset_ms=lut.offset_ms
    )


class LutFormatContract:
    """Override ``make_format`` and ``read_totals``; the others where their defaults are not the format's."""

    #: Layers of the space that the reader does not add, fixed in every architecture.
    left_out: tuple[str, ...] = ()

    def make_format(self) -> LutFormat:
        """The format under test."""
        raise NotImplementedError

    def make_space(self) -> Space:
        """A space that the format can hold."""
        return load_space("ofa-mobilenetv3")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        """What native architectures cost as the format's own reader computes it from the file, in the reader's unit."""
        raise NotImplementedError

    def cells_read(self, arch: Numeric, space: Space) -> list[Cell]:
        """The cells whose rows the reader adds for an architecture; all but ``left_out``, unless it is stranger."""
        return [cell for cell in space.cells_of(arch) if cell.layer not in self.left_out]

    def test_the_reader_gets_the_exact_sum(self, tmp_path: Path) -> None:
        self._compare(checksum_lut(self.make_space()), tmp_path)

    def test_the_reader_gets_the_scaled_sum(self, tmp_path: Path) -> None:
        self._compare(checksum_lut(self.make_space(), scale=0.5), tmp_path)

    def test_the_reader_gets_the_constant_where_it_has_a_place_for_it(self, tmp_path: Path) -> None:
        self._compare(checksum_lut(self.make_space(), scale=0.5, offset_ms=1024.0), tmp_path)

    def test_the_reader_gets_energies_that_it_takes_for_latencies(self, tmp_path: Path) -> None:
        lut = checksum_lut(self.make_space(), scale=0.5, offset_ms=1024.0)
        if self.make_format().card.unit("energy") is None:
            _message_of(UsageError, lambda: self.make_format().write(lut, self.make_space(), tmp_path, "energy"))
            assert list(tmp_path.iterdir()) == []
        else:
            self._compare(lut, tmp_path, "energy")

    def test_an_unknown_energy_is_refused_and_nothing_is_written(self, tmp_path: Path) -> None:
        space, made = self.make_space(), self.make_format()
        lost = self._needed(space)
        lut = checksum_lut(space)
        energy_mj = [float("nan") if key == lost else 1.0 for key in lut.keys]
        lut = replace(lut, energy_mj=np.array(energy_mj))
        kind = UsageError if made.card.unit("energy") is None else GateError
        message = _message_of(kind, lambda: made.write(lut, space, tmp_path, "energy"))
        assert kind is UsageError or lost in message
        assert list(tmp_path.iterdir()) == []

    def test_an_incomplete_table_is_refused_and_nothing_is_written(self, tmp_path: Path) -> None:
        space = self.make_space()
        lost = self._needed(space)
        lut = without(checksum_lut(space), lost)
        message = _message_of(GateError, lambda: self.make_format().write(lut, space, tmp_path))
        assert lost in message
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_gets_the_name_that_the_reader_expects(self, tmp_path: Path) -> None:
        space = self.make_space()
        lut, made = checksum_lut(space), self.make_format()
        name = made.filename(lut, space)
        assert name == Path(name).name
        files = made.write(lut, space, tmp_path)
        assert files[0] == tmp_path / name
        assert sorted(files) == sorted(tmp_path.iterdir())

    def test_writing_again_gives_the_same_bytes(self, tmp_path: Path) -> None:
        space = self.make_space()
        lut = checksum_lut(space)
        first = [file.read_bytes() for file in self.make_format().write(lut, space, tmp_path)]
        again = [file.read_bytes() for file in self.make_format().write(lut, space, tmp_path)]
        assert first == again

    def _needed(self, space: Space) -> str:
        """The key of a cell in the middle of an architecture that the reader adds."""
        cells = [cell for cell in self.cells_read(space.sample(1, seed=5)[0], space) if not cell.absent]
        return cells[len(cells) // 2].key

    def _compare(self, lut: Lut, folder: Path, metric: Metric = "latency") -> None:
        space, made = self.make_space(), self.make_format()
        file = made.write(lut, space, folder, metric)[0]
        archs = space.sample(_ARCHS, seed=1)
        found = self.read_totals(file, space.decode(archs), space)
        unit = UNITS[made.card.unit(metric) or ""]
        expected = [self._expected(lut, space, arch, metric) * unit for arch in archs]
        # Beside a unit of seconds every number is whole, and sums of whole numbers are exact.
        np.testing.assert_allclose(found, expected, rtol=0 if unit >= 1 else 1e-12)

    def _expected(self, lut: Lut, space: Space, arch: Numeric, metric: Metric) -> float:
        rows = [lut.query(cell.key) for cell in self.cells_read(arch, space) if not cell.absent]
        if metric == "energy":
            return sum(row.energy_mj or 0.0 for row in rows)
        card = self.make_format().card
        offset_ms = lut.offset_ms if card.offset_in or not isinstance(self.make_format(), AdditiveFormat) else 0.0
        return lut.scale * sum(row.latency_ms for row in rows) + offset_ms


def _message_of(kind: type[Exception], action: Callable[[], object]) -> str:
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} was expected")
