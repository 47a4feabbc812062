"""What every format must do, as tests: subclass ``LutFormatContract`` in pytest, name the format and how to read it.

Nothing here imports pytest. ``tmp_path`` is pytest's fixture of that name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...profiler.errors import GateError
from ...profiler.records import Json
from ..lut import Lut, LutCell
from ..space import Space
from ..space_file import load_space
from . import LutFormat

Arch = Mapping[str, Sequence[float]] | Sequence[int]
_ARCHS = 200


def checksum_lut(space: Space, *, scale: float = 1.0) -> Lut:
    """A complete table whose latencies are the CRC-32 of their keys: no two different sets of cells have one sum.

    Sums of such whole numbers are exact in float64 in any order, also after a scale that is a power of two.
    """
    rows = [
        LutCell(cell.key, float(zlib.crc32(cell.key.encode()) + 1), None, None, 3, "measured")
        for cell in space.measurable
    ]
    return Lut.from_cells(rows, checksum_provenance(space), scale=scale, scale_fitted_on=0 if scale == 1.0 else 8)


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
    return Lut.from_cells(rows, lut.provenance, scale=lut.scale, scale_fitted_on=lut.scale_fitted_on)


class LutFormatContract:
    """Override ``make_format`` and ``read_totals``; ``make_space`` where the default is not the format's space."""

    def make_format(self) -> LutFormat:
        """The format under test."""
        raise NotImplementedError

    def make_space(self) -> Space:
        """A space that the format can hold."""
        return load_space("ofa-mobilenetv3")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        """The latencies in ms of native architectures as the format's own reader computes them from the file."""
        raise NotImplementedError

    def test_the_reader_gets_the_exact_sum(self, tmp_path: Path) -> None:
        space = self.make_space()
        lut = checksum_lut(space)
        archs = space.sample(_ARCHS, seed=1)
        self._compare(lut, space, tmp_path, lut.price(archs, corrected=False, space=space).tolist())

    def test_the_reader_gets_the_scaled_sum(self, tmp_path: Path) -> None:
        space = self.make_space()
        lut = checksum_lut(space, scale=0.5)
        archs = space.sample(_ARCHS, seed=1)
        self._compare(lut, space, tmp_path, lut.price(archs, space=space).tolist())

    def test_an_incomplete_table_is_refused_and_nothing_is_written(self, tmp_path: Path) -> None:
        space = self.make_space()
        lost = space.measurable[len(space.measurable) // 2].key
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

    def _compare(self, lut: Lut, space: Space, folder: Path, expected: list[float]) -> None:
        file = self.make_format().write(lut, space, folder)[0]
        natives = space.decode(space.sample(_ARCHS, seed=1))
        assert expected == self.read_totals(file, natives, space)


def _message_of(kind: type[Exception], action: Callable[[], object]) -> str:
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} was expected")
