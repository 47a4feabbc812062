"""What is measured for a space."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

import numpy as np
import onnxruntime
import pytest

from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.space_plan import plan_space, relatives
from edgecost.profiler.errors import UsageError
from edgecost.profiler.weights import complete

SPACES = ("fbnet", "ofa-mobilenetv3", "proxylessnas")


@cache
def space(name: str) -> Space:
    return load_space(name)


@pytest.mark.parametrize("name", SPACES)
def test_every_measurable_cell_is_planned_exactly_once(name: str) -> None:
    planned = plan_space(space(name))
    labels = Counter(item.label for item in planned if item.purpose == "cell")
    assert Counter(cell.key for cell in space(name).measurable) == labels
    for item in planned:
        if item.purpose == "cell":
            assert space(name).workload(space(name).cell(item.label)) == item.workload


@pytest.mark.parametrize(("share", "seed"), [(0.0, 0), (0.1, 1), (0.5, 2), (1.0, 3)])
def test_the_panel_is_a_share_of_the_cells_without_repetitions(share: float, seed: int) -> None:
    made = space("proxylessnas")
    panel = [item.label for item in plan_space(made, panel_share=share, seed=seed) if item.purpose == "panel"]
    assert math.ceil(share * len(made.measurable)) == len(panel) == len(set(panel))
    assert set(panel) <= {cell.key for cell in made.measurable}


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        plan_space(space("proxylessnas"), panel_share=share)


def test_cells_come_first_and_the_panel_last() -> None:
    priorities = {item.purpose: item.priority for item in plan_space(space("fbnet"))}
    assert priorities["cell"] > priorities["support"] > priorities["panel"]


def test_equal_seeds_plan_the_same_in_the_same_order_and_other_seeds_in_another() -> None:
    one, same, other = (plan_space(space("fbnet"), seed=seed) for seed in (4, 4, 5))
    assert one == same
    assert [item.label for item in one] != [item.label for item in other]
    assert {item.label for item in one if item.purpose != "panel"} == {
        item.label for item in other if item.purpose != "panel"
    }


@pytest.mark.parametrize("name", SPACES)
def test_relatives_are_others_of_the_fixed_cells_kinds(name: str) -> None:
    found = relatives(space(name))
    own = {cell.key for cell in space(name).cells}
    assert not own & {cell.key for cell in found}
    assert len(found) == len({cell.key for cell in found})
    fixed = {cell.layer: cell for cell in space(name).measurable if cell.kind == "fixed"}
    assert {cell.layer for cell in found} == set(fixed)
    for cell in found:
        assert cell.spec.block == fixed[cell.layer].spec.block
        assert min(cell.input_shape + cell.output_shape) >= 1
        assert cell.spec.output_shape(cell.input_shape) == cell.output_shape


@pytest.mark.parametrize("name", SPACES)
def test_relatives_run_and_give_the_shape_they_promise(name: str) -> None:
    for cell in relatives(space(name)):
        workload = space(name).workload(cell)
        session = onnxruntime.InferenceSession(complete(workload.skeleton, workload.weights))
        (given,) = session.run(None, {session.get_inputs()[0].name: np.zeros(cell.input_shape, dtype=np.float32)})
        assert cell.output_shape == given.shape
        assert np.isfinite(given).all()


def test_every_repetition_of_the_panel_has_a_round_and_a_priority_of_its_own() -> None:
    planned = [
        one for one in plan_space(load_space("fbnet"), panel_share=0.5, panel_sessions=3) if one.purpose == "panel"
    ]
    assert {(0, 1), (1, 0), (2, -1)} == {(one.round, one.priority) for one in planned}
    sessions = [{one.label for one in planned if one.round == number} for number in range(3)]
    assert sessions[0] == sessions[1] == sessions[2]
    assert len(planned) == 3 * len(sessions[0])
