"""TinyNAS's library of convolutions: every point exact, every cell one that its reader can triangulate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import QhullError

from edgecost.costmodels.op_formats import OpFormat, op_format
from edgecost.costmodels.op_formats.contract import ChecksumPrices, OpFormatContract
from edgecost.costmodels.op_formats.operators import Convolution
from edgecost.costmodels.op_formats.request import Grid, Request
from edgecost.profiler.errors import UsageError
from tests import op_readers

CHECKSUMS = ChecksumPrices()
SMALL = Grid(sides=(7, 14), channels=(16, 64), batches=(1, 8), kernels=(1, 3))


def square(batch: int, cin: int, side: int, out: int, kernel: int, stride: int, groups: int, fused: bool) -> float:
    """What a convolution costs, without the format."""
    return CHECKSUMS.latency_ms(
        Convolution.square(batch, cin, side, out, kernel, stride, groups=groups, residual=fused)
    )


class TestTinyNas(OpFormatContract):
    def make_format(self) -> OpFormat:
        return op_format("tinynas")

    def make_request(self) -> Request:
        return Request(CHECKSUMS, grid=SMALL)

    def test_the_reader_gets_every_point_of_the_grid_exactly(self, tmp_path: Path) -> None:
        file = self.make_format().write(self.make_request(), tmp_path)[0]
        assert file.name == "conv_data.out"
        reader = op_readers.TinyNas(file)
        asked: list[float] = []
        expected: list[float] = []
        for batch in (1, 8):
            for kernel in (1, 3):
                for stride in (1, 2):
                    for fused in (0, 1):
                        for side in (7, 14):
                            for out in (16, 64):
                                for cin in (3, out // 4, out // 2, out, 2 * out, 4 * out):
                                    query = ("Regular", stride, fused, kernel, batch, cin, side, out)
                                    asked.append(reader.batch_ms(query))
                                    expected.append(square(batch, cin, side, out, kernel, stride, 1, bool(fused)))
                                if kernel == 3:
                                    query = ("Depthwise", stride, fused, kernel, batch, out, side, out)
                                    asked.append(reader.batch_ms(query))
                                    expected.append(square(batch, out, side, out, kernel, stride, out, bool(fused)))
        # A triangulation adds weights of 0 and 1 that are off in the last digit.
        np.testing.assert_allclose(asked, expected, rtol=1e-9)
        assert len(file.read_text().splitlines()) == len(expected)

    def test_a_class_that_was_removed_is_infinity_to_the_reader(self, tmp_path: Path) -> None:
        file = self.make_format().write(self.make_request(), tmp_path)[0]
        lines = [line for line in file.read_text().splitlines() if not line.startswith("{Depthwise")]
        file.write_text("\n".join(lines) + "\n")
        assert op_readers.TinyNas(file).batch_ms(("Depthwise", 1, 0, 3, 1, 16, 7, 16)) == np.inf

    def test_a_cell_with_three_points_is_what_the_reader_fails_at(self, tmp_path: Path) -> None:
        file = self.make_format().write(self.make_request(), tmp_path)[0]
        lines = file.read_text().splitlines()
        points = [line for line in lines if line.startswith("{Depthwise,1,") and ",3,1,0}" in line]
        file.write_text("\n".join(line for line in lines if line not in points[:2]) + "\n")
        with pytest.raises(QhullError):
            op_readers.TinyNas(file)

    def test_there_is_no_empty_line_and_every_number_has_a_dot_and_no_exponent(self, tmp_path: Path) -> None:
        text = self.make_format().write(self.make_request(), tmp_path)[0].read_text()
        assert text.endswith("\n")
        assert "" not in text.split("\n")[:-1]
        assert all("." in line.split()[1] and "e" not in line.split()[1] for line in text.splitlines())

    @pytest.mark.parametrize("grid", [Grid(sides=(7,)), Grid(channels=(64,)), Grid(sides=(7,), channels=(16,))])
    def test_points_on_a_line_are_refused_before_anything_is_priced(self, tmp_path: Path, grid: Grid) -> None:
        with pytest.raises(UsageError, match="not on a line"):
            self.make_format().write(Request(CHECKSUMS, grid=grid), tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_sizes_that_the_reader_leaves_out_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="size 4"):
            self.make_format().write(Request(CHECKSUMS, grid=replace(SMALL, sides=(4, 7, 14))), tmp_path)

    @pytest.mark.parametrize(
        ("precision", "name"), [("fp16", "conv_data.out.fp16"), ("int8-qdq", "conv_data.out.int8")]
    )
    def test_the_precision_is_in_the_name(self, tmp_path: Path, precision: str, name: str) -> None:
        request = Request(ChecksumPrices(precision=precision), grid=SMALL)
        assert self.make_format().write(request, tmp_path)[0].name == name

    def test_the_grid_that_nobody_names_has_a_few_thousand_rows(self) -> None:
        rows = op_format("tinynas").rows(Request(CHECKSUMS))  # type: ignore[attr-defined]
        assert 2000 < len(rows) < 8000
        assert len({row.name for row in rows}) == len(rows)

    def test_the_grid_that_nobody_names_can_be_loaded_and_has_every_class(self, tmp_path: Path) -> None:
        reader = op_readers.TinyNas(op_format("tinynas").write(Request(CHECKSUMS), tmp_path)[0])
        for kind, kernels in (("Regular", (1, 3, 5, 7)), ("Depthwise", (3, 5, 7))):
            for kernel in kernels:
                for stride in (1, 2):
                    for fused in (0, 1):
                        for cin, out in ((3, 40), (24, 144), (96, 96)):
                            query = (kind, stride, fused, kernel, 4, cin if kind == "Regular" else out, 30, out)
                            assert np.isfinite(reader.batch_ms(query))


@given(
    st.lists(st.integers(5, 60), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 200), min_size=1, max_size=3, unique=True),
)
def test_any_grid_is_refused_or_can_be_loaded(
    tmp_path_factory: pytest.TempPathFactory, sides: list[int], channels: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("grid")
    grid = Grid(tuple(sides), tuple(channels), batches=(1,), kernels=(3,))
    try:
        file = op_format("tinynas").write(Request(CHECKSUMS, grid=grid), folder)[0]
    except UsageError:
        assert list(folder.iterdir()) == []
    else:
        assert op_readers.TinyNas(file).cells
