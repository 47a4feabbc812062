"""Kernels for any network: random blocks give them, shares by kind choose them, and a campaign measures them once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from edgecost.cli.main import main
from edgecost.costmodels.kernel_campaign import measure_random_kernels
from edgecost.costmodels.kernel_plan import (
    SHARES_PERCENT,
    Candidate,
    choose_kernels,
    plan_kernels,
    share_of,
    unlike,
)
from edgecost.costmodels.kernel_work import kind_of
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.random_blocks import random_blocks
from edgecost.costmodels.random_dice import Dice, Drawn
from edgecost.costmodels.random_steps import STEPS, Steps, integers, recurrence, signal, steps
from edgecost.costmodels.training import train
from edgecost.db import Store
from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.cut import kernel_workloads
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload, workload_from_model

#: Enough to see that it was measured, on a machine where others are busy.
ROUGH = Settings(target=0.3)


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


def test_no_form_or_kind_takes_more_than_its_share(plan: list[Workload], profile: RuntimeProfile) -> None:
    # Some kernels bring reorders along when they stand alone; their own kind is in their name.
    alone = [found for cut in plan if len(found := kernels(cut, profile)) == 1]
    counts = Counter(share_of(only) for (only,) in alone)
    named = {name: counts[name] for name in SHARES_PERCENT}
    assert all(count <= SHARES_PERCENT[name] * 1.5 + 1 for name, count in named.items())
    assert sum(counts.values()) - sum(named.values()) <= 0.25 * 150 + 1


def test_every_kind_that_the_blocks_bring_has_a_place(profile: RuntimeProfile) -> None:
    blocks = list(islice(random_blocks(4), 150))
    kinds = {kind_of(kernel) for block in blocks for kernel, cut in kernel_workloads(block, profile) if cut}
    chosen = choose_kernels(blocks, profile, 500)
    # A kernel alone may bring a reorder along; the one that was meant is among its kernels.
    found = {kind_of(kernel) for cut in chosen for kernel in kernels(cut, profile)}
    assert {kind for kind in kinds if kind is not None} <= found


def relu(channels: int) -> Candidate:
    kernel = Kernel("Relu", ((1, channels, 8, 8),), (), ((1, channels, 8, 8),))
    return Candidate(kernel, Workload(kernel.signature, "kernel", kernel.kernel_hash, b""))


@pytest.mark.parametrize("seed", range(5))
def test_kernels_unlike_the_others_are_taken_before_the_many_that_are_alike(seed: int) -> None:
    candidates = [relu(100 + one) for one in range(60)] + [relu(4), relu(1000), relu(4000)]
    order = unlike(candidates, np.random.default_rng(seed))
    assert sorted(order) == list(range(63))
    assert {60, 61, 62} <= set(order[:8])


def test_every_kind_of_a_form_is_among_the_first() -> None:
    sizes = range(8, 80, 8)
    blocked, plain = (
        [Kernel(op, ((1, n, 1, 1),), ((n, n, 1, 1),), ((1, n, 1, 1),)) for n in sizes] for op in ("nchwc.Conv", "Conv")
    )
    kernels_ = [*blocked, plain[3]]
    candidates = [Candidate(one, Workload(one.signature, "kernel", one.kernel_hash, b"")) for one in kernels_]
    assert {share_of(one) for one in kernels_} == {"vector"}
    assert len(kernels_) - 1 in unlike(candidates, np.random.default_rng(0))[:2]


@pytest.mark.parametrize(
    ("op", "dtype", "filters", "share"),
    [
        ("nchwc.Conv", "float32", (16, 1, 3, 3), "depthwise"),
        ("Conv", "float32", (16, 1, 3, 3), "depthwise"),
        ("microsoft.FusedConv", "float32", (16, 4, 3, 3), "grouped"),
        ("ConvInteger", "uint8", (16, 16, 3, 3), "spatial"),
        ("Conv", "float32", (16, 16, 1, 1), "pointwise"),
    ],
)
def test_a_convolution_counts_by_its_form_whatever_the_runtime_calls_it(
    op: str, dtype: str, filters: tuple[int, ...], share: str
) -> None:
    group = 16 // filters[1]
    kernel = Kernel(op, ((1, 16, 8, 8),), (filters,), ((1, 16, 8, 8),), (("group", str(group)),), dtype)
    assert share_of(kernel) == share


@pytest.mark.parametrize("draw", [signal, recurrence, integers, steps])
def test_the_runtime_takes_every_block_of_steps(draw: Callable[[Dice], Drawn | None], profile: RuntimeProfile) -> None:
    dice, found = Dice(0), 0
    while found < 12:
        drawn = draw(dice)
        if drawn is None:
            continue
        block, shape = drawn
        graph = GraphBuilder("block")
        y = block.build(graph, graph.input(shape))
        assert kernels(workload_from_model("block", "block", graph.model(y), tuple(graph.weights)), profile)
        found += 1


def test_every_step_builds_on_vectors_tokens_and_maps(profile: RuntimeProfile) -> None:
    for name in STEPS:
        for shape in ((1, 8, 4, 6), (1, 5, 8), (3, 12)):
            graph = GraphBuilder(name)
            y = Steps((name,)).build(graph, graph.input(shape))
            if y != "input":
                assert kernels(workload_from_model(name, "block", graph.model(y), tuple(graph.weights)), profile)


def test_when_the_blocks_are_used_up_the_plan_is_what_there_was(profile: RuntimeProfile) -> None:
    few = choose_kernels(islice(random_blocks(0), 3), profile, 1000)
    assert 0 < len(few) < 100


def measured(store: Store) -> int:
    """Attempts at kernels, the anchors of a session left out."""
    return len(store.measurements(purposes=("kernel", "repeated"), usable_only=False))


def test_a_campaign_measures_what_a_predictor_is_trained_on_and_nothing_twice(file_store: Store) -> None:
    setting, talk = LocalSetting.here(), Silent()
    found = measure_random_kernels(file_store, setting, talk, count=30, settings=ROUGH)
    assert (found.chosen, found.measured) == (30, pytest.approx(30, abs=6))
    before = measured(file_store)
    measure_random_kernels(file_store, setting, talk, count=30, settings=ROUGH)
    # What was rejected on a busy machine is tried again.
    assert measured(file_store) <= before + 2
    assert any("already measured, reused" in note for note in talk.notes)
    report = train(file_store, setting.device.identity, setting.profile)
    assert report.graphs >= 15


def test_the_kernels_of_another_runtime_are_refused_with_a_way_out(store: Store) -> None:
    setting = LocalSetting.here(RuntimeProfile("tvm", "0.27", provider="llvm", options=(("mcpu", "generic"),)))
    with pytest.raises(UsageError, match="cannot be measured alone") as caught:
        measure_random_kernels(store, setting, Silent(), count=30)
    assert "campaign run" in caught.value.remedy


def test_fewer_kernels_than_a_predictor_needs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "kernels", "--count", "5"]) == 2
    assert "--count" in capsys.readouterr().err
