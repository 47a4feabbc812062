"""A table against whole networks: what its cells' intervals hold of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.network_audit import audit_networks
from edgecost.costmodels.network_scale import MeasuredNetworks
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space("ofa-mobilenetv3")


def table_of(space: Space, width: float) -> Lut:
    """Random latencies, each with an interval of a factor of ``width`` to both sides."""
    lut = checksum_lut(space)
    latency = np.exp(np.random.default_rng(0).normal(-1, 0.5, len(lut)))
    return replace(lut, latency_ms=latency, lo_ms=latency / width, hi_ms=latency * width)


def networks_of(lut: Lut, space: Space, factors: np.ndarray) -> MeasuredNetworks:
    """Networks that take these factors of their sums."""
    archs = space.sample(len(factors), seed=1)
    measured = factors * lut.price(archs, corrected=False, space=space)
    return MeasuredNetworks(archs.astype(np.int16), measured, tuple((one,) for one in measured.tolist()))


def test_intervals_hold_what_is_within_them_after_the_correction(space: Space) -> None:
    # Twenty networks take 1.3 of their sums; every fifth 10 % more.
    factors = np.where(np.arange(20) % 5 == 4, 1.3 * 1.1, 1.3)
    for width, held in ((1.05, False), (1.2, True)):
        table = table_of(space, width)
        found = audit_networks(table, space, networks_of(table, space, factors))
        judged = [one for one in found.audit.networks if one.role == "judge"]
        off = [one for one in judged if one.measured_ms > 1.05 * one.priced_ms]
        assert found.of == len(judged) == 12
        assert off
        assert found.held == (len(judged) if held else len(judged) - len(off))


def test_a_table_with_a_cell_without_an_interval_says_nothing_of_them(space: Space) -> None:
    table = table_of(space, 1.2)
    low = np.array(table.lo_ms)
    low[3] = np.nan
    high = np.array(table.hi_ms)
    high[3] = np.nan
    found = audit_networks(replace(table, lo_ms=low, hi_ms=high), space, networks_of(table, space, np.ones(8)))
    assert (found.held, found.of) == (None, 8)
    assert found.audit.judged_by == "leave-one-out"
