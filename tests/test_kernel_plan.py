"""Kernels for any network: random blocks give them, shares by kind choose them, and a campaign measures them once."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.kernel_campaign import measure_random_kernels
from edgecost.costmodels.kernel_plan import SHARES_PERCENT, choose_kernels, plan_kernels
from edgecost.costmodels.kernel_work import kind_of
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.random_blocks import random_blocks
from edgecost.costmodels.training import train
from edgecost.db import Store
from edgecost.profiler.errors import UsageError
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload


@pytest.fixture(scope="module")
def profile() -> RuntimeProfile:
    return host_profile()


@pytest.fixture(scope="module")
def plan(profile: RuntimeProfile) -> list[Workload]:
    return plan_kernels(profile, 150, seed=3)


class Silent:
    """A narrator that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def step(self, note: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_seed_gives_the_same_blocks_and_another_seed_gives_others() -> None:
    first, again, other = ([one.graph_hash for one in islice(random_blocks(seed), 20)] for seed in (1, 1, 2))
    assert first == again
    assert not set(first) & set(other)


def test_the_runtime_takes_every_block(profile: RuntimeProfile) -> None:
    found = Counter(kernel.op for block in islice(random_blocks(0), 80) for kernel in kernels(block, profile))
    assert {"Gemm", "Softmax", "Transpose"} <= set(found)
    assert sum("Conv" in op for op in found) >= 2


def test_the_kernels_are_distinct_as_many_as_asked_for_and_the_same_again(
    plan: list[Workload], profile: RuntimeProfile
) -> None:
    hashes = [cut.graph_hash for cut in plan]
    assert len(set(hashes)) == len(hashes) == 150
    assert hashes == [cut.graph_hash for cut in plan_kernels(profile, 150, seed=3)]


def test_no_kind_takes_more_than_its_share(plan: list[Workload], profile: RuntimeProfile) -> None:
    # Some kernels bring reorders along when they stand alone; their own kind is in their name.
    alone = [found for cut in plan if len(found := kernels(cut, profile)) == 1]
    counts = Counter(str(kind_of(only)) for (only,) in alone)
    named = {kind: counts[kind] for kind in SHARES_PERCENT}
    assert all(count <= SHARES_PERCENT[kind] * 1.5 + 1 for kind, count in named.items())
    assert sum(counts.values()) - sum(named.values()) <= 0.25 * 150 + 1


def test_when_the_blocks_are_used_up_the_plan_is_what_there_was(profile: RuntimeProfile) -> None:
    few = choose_kernels(islice(random_blocks(0), 3), profile, 1000)
    assert 0 < len(few) < 100


def test_a_campaign_measures_what_a_predictor_is_trained_on_and_nothing_twice(store: Store) -> None:
    setting, talk = LocalSetting.here(), Silent()
    found = measure_random_kernels(store, setting, talk, count=30)
    assert (found.chosen, found.measured) == (30, pytest.approx(30, abs=6))
    before = store.counts().measurements
    measure_random_kernels(store, setting, talk, count=30)
    assert store.counts().measurements <= before + 2
    assert any("already measured, reused" in note for note in talk.notes)
    report = train(store, setting.device.identity, setting.profile)
    assert report.graphs >= 15


def test_the_kernels_of_another_runtime_are_refused_with_a_way_out(store: Store) -> None:
    setting = LocalSetting.here(RuntimeProfile("tvm", "0.27", provider="llvm", options=(("mcpu", "generic"),)))
    with pytest.raises(UsageError, match="cannot be measured alone") as caught:
        measure_random_kernels(store, setting, Silent(), count=30)
    assert "campaign run" in caught.value.remedy


def test_fewer_kernels_than_a_predictor_needs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "kernels", "--count", "5"]) == 2
    assert "--count" in capsys.readouterr().err
