"""What every search space must do, as tests: subclass ``SpaceContract`` in pytest and name the space.

Nothing here imports pytest.
"""

from __future__ import annotations

import numpy as np

from .lut_formats.contract import checksum_lut
from .space import Space
from .space_check import check_space
from .spaces.coding import Numeric


class SpaceContract:
    """Override ``make_space``; ``cells`` and ``networks`` say how much is tried."""

    #: Cells that are built, and networks that run in ONNX Runtime; None builds all cells.
    cells: int | None = 24
    networks = 1

    def make_space(self) -> Space:
        """The space under test."""
        raise NotImplementedError

    def test_its_cells_are_what_they_promise_and_its_networks_run(self) -> None:
        found = check_space(self.make_space(), cells=self.cells, networks=self.networks)
        assert found.built > 0
        assert found.networks + found.too_large > 0

    def test_samples_are_distinct_reproducible_and_valid(self) -> None:
        space = self.make_space()
        archs = self._sample()
        assert archs.dtype == np.int16
        assert len({row.tobytes() for row in archs}) == len(archs)
        np.testing.assert_array_equal(archs, self._sample())
        np.testing.assert_array_equal(archs, space.check_arch(archs))

    def test_an_architecture_costs_the_sum_of_its_cells(self) -> None:
        space = self.make_space()
        lut = checksum_lut(space, scale=0.5, offset_ms=1024.0)
        archs = self._sample()
        prices = lut.price(archs, space=space)
        for arch, price in zip(archs, prices, strict=True):
            cells = [cell for cell in space.cells_of(arch) if not cell.absent]
            assert price == 0.5 * sum(lut.query(cell.key).latency_ms for cell in cells) + 1024.0

    def test_every_cell_can_be_in_an_architecture(self) -> None:
        space = self.make_space()
        offered = {int(cell) for factor in space.factors for cell in factor.cells}
        assert offered == set(range(len(space.measurable)))

    def _sample(self) -> Numeric:
        space = self.make_space()
        return space.sample(min(200, space.size), seed=3)
