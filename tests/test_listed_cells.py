"""The cells of spaces priced together: the same cells, the same numbers, and refused where fields do not say all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgecost.costmodels import lut_build
from edgecost.costmodels.grids import listed as listed_module
from edgecost.costmodels.grids.listed import can_be_listed, listed, price_listed
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.space_file import load_space, space_names
from edgecost.costmodels.spaces.cell import Cell
from edgecost.profiler.kernels.by_runtime import priced_kernels
from edgecost.profiler.records import RuntimeProfile

Law = Callable[..., object]


def by_block(name: str) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in load_space(name).measurable:
        found.setdefault(cell.spec.block, []).append(cell)
    return found


@pytest.mark.parametrize("name", space_names())
def test_cells_of_every_space_are_said_whole_by_their_fields(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed_module, "LEAST", 1)
    refused = set()
    for block, cells in by_block(name).items():
        some = cells[:: max(1, len(cells) // 500)]
        if can_be_listed(some):
            assert listed(some).count == len(some)
        elif not all(len(cell.input_shape) == 4 and cell.input_shape[2] != cell.input_shape[3] for cell in some):
            refused.add(block)  # a spectrogram is no square, and is asked for one by one
    assert refused <= {"speech_front_end", "concat"}


def test_a_cell_that_its_fields_do_not_say_is_refused() -> None:
    cell = load_space("fbnet").measurable[0]
    oblong = replace(cell, key="conv-224x112x3-112x56x16-k3-s2-relu", input_shape=(1, 3, 224, 112))
    assert not can_be_listed([oblong] * 2000)
    with pytest.raises(ValueError, match="more than their fields"):
        listed([oblong])


@pytest.mark.parametrize(("name", "block", "step"), [("apq", "depthwise", 1), ("tf-nas", "inverted_residual", 290)])
def test_cells_priced_together_cost_what_they_cost_one_by_one(
    name: str, block: str, step: int, law: Law, profile: RuntimeProfile
) -> None:
    space = load_space(name)
    cells = by_block(name)[block][::step]
    some = [space.workload(cell) for cell in cells[:: max(1, len(cells) // 60)]]
    graphs = [priced_kernels(workload, profile).kernels for workload in some if workload is not None]
    predictor = LatencyPredictor(rounds=30).fit(graphs, law.measured_ms(graphs, seed=0))  # type: ignore[attr-defined]
    together = price_listed(cells, predictor, profile)
    alone = lut_build._one_by_one(space, cells, profile, predictor)
    for place, cell in enumerate(cells):
        row = alone[cell.key]
        assert row is not None
        np.testing.assert_allclose(together.latency_ms[place], row.latency_ms, rtol=1e-12)
        bounds = [np.nan if bound is None else bound for bound in (row.lo_ms, row.hi_ms)]
        np.testing.assert_allclose([together.lo_ms[place], together.hi_ms[place]], bounds, rtol=1e-12)


def test_few_cells_and_the_front_end_of_speech_models_are_asked_one_by_one() -> None:
    residuals, front = by_block("tf-nas")["inverted_residual"], by_block("lighthubert-base")["speech_front_end"]
    assert can_be_listed(residuals[:1000])
    assert not can_be_listed(residuals[:999])
    assert not can_be_listed(front * 5000)
