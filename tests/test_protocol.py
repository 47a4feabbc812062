"""The rules that accept, reject and stop: each cause of rejection, each reason to end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.profiler.conclusion import limit_status
from edgecost.profiler.errors import UsageError
from edgecost.profiler.protocol import (
    CANARY_LIMIT,
    CANARY_PERCENTILE,
    DUAL_CLOCK_LIMIT,
    DUAL_CLOCK_MIN_NS,
    PRESETS,
    SWITCH_TOLERANT_RUNS,
    Settings,
    canary_baseline,
    has_converged,
    is_exhausted,
    judge_visit,
    preset,
    runner_rules,
)
from edgecost.profiler.records import Status, Visit

QUIET = 10_000
SHORT = [50_000] * 5
LONG = [DUAL_CLOCK_MIN_NS] * 5


def judged(
    wall: Sequence[int],
    cpu: Sequence[int] | None = None,
    *,
    canary: tuple[int, int] = (QUIET, QUIET),
    switches: int = 0,
    threads: int = 1,
) -> Visit:
    return judge_visit(
        7, "session", wall, wall if cpu is None else cpu, canary, switches,
        canary_baseline_ns=QUIET, single_thread=threads == 1,
    )  # fmt: skip


def visits(*values: float | None, reason: str = "canary") -> list[Visit]:
    return [
        Visit(i, "s", (1,), (1,), (1, 1), 0, reason if value is None else "", value)
        for i, value in enumerate(values, 1)
    ]


def test_an_undisturbed_visit_counts_with_the_median_of_its_runs() -> None:
    visit = judged([10_000, 30_000, 20_000])
    assert (visit.reject_reason, visit.value_ns) == ("", 20_000)
    assert (visit.ordinal, visit.session, visit.canary_ns) == (7, "session", (QUIET, QUIET))


@pytest.mark.parametrize("slow", [(0, 1), (1, 0), (1, 1)])
def test_a_slow_canary_before_or_after_rejects(slow: tuple[int, int]) -> None:
    just, over = int(CANARY_LIMIT * QUIET), int(CANARY_LIMIT * QUIET) + 1
    assert judged(SHORT, canary=(just, just)).reject_reason == ""
    visit = judged(SHORT, canary=tuple(over if late else QUIET for late in slow))
    assert (visit.reject_reason, visit.value_ns) == ("canary", None)
    assert visit.wall_ns == tuple(SHORT)


def test_runs_off_the_cpu_are_dropped_and_the_others_count() -> None:
    cpu = [DUAL_CLOCK_MIN_NS, DUAL_CLOCK_MIN_NS, 1_000_000]
    visit = judged([DUAL_CLOCK_MIN_NS, 9_000_000, 1_000_000], cpu)
    assert (visit.reject_reason, visit.value_ns) == ("", (DUAL_CLOCK_MIN_NS + 1_000_000) / 2)
    assert len(visit.wall_ns) == 3


def test_a_visit_that_was_off_the_cpu_in_every_run_is_preempted() -> None:
    visit = judged([int(DUAL_CLOCK_LIMIT * 1_000_000) + 1] * 3, [1_000_000] * 3)
    assert (visit.reject_reason, visit.value_ns) == ("preempted", None)
    assert judged([int(DUAL_CLOCK_LIMIT * 1_000_000)] * 3, [1_000_000] * 3).reject_reason == ""


def test_short_runs_are_not_judged_by_the_cpu_clock() -> None:
    assert judged([DUAL_CLOCK_MIN_NS - 1] * 5, [1] * 5).reject_reason == ""


def test_many_threads_are_not_judged_by_the_cpu_clock() -> None:
    visit = judged(LONG, [1] * 5, threads=2)
    assert (visit.reject_reason, visit.value_ns) == ("", DUAL_CLOCK_MIN_NS)


def test_a_context_switch_rejects_few_short_runs_but_not_many() -> None:
    assert judged([50_000] * (SWITCH_TOLERANT_RUNS - 1), switches=1).reject_reason == "context_switch"
    assert judged([50_000] * SWITCH_TOLERANT_RUNS, switches=1).reject_reason == ""


def test_a_context_switch_in_long_runs_is_left_to_the_clocks() -> None:
    assert judged(LONG, switches=3).reject_reason == ""


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), min_size=1, max_size=30),
    st.tuples(st.integers(1, 10**5), st.integers(1, 10**5)),
    st.integers(0, 5),
    st.sampled_from([1, 4]),
)
def test_a_visit_has_either_a_value_among_its_runs_or_a_reason(
    runs: list[tuple[int, int]], canary: tuple[int, int], switches: int, threads: int
) -> None:
    wall, cpu = zip(*runs, strict=True)
    visit = judged(wall, cpu, canary=canary, switches=switches, threads=threads)
    assert (visit.value_ns is None) == bool(visit.reject_reason)
    assert visit.value_ns is None or min(wall) <= visit.value_ns <= max(wall)
    assert (visit.wall_ns, visit.cpu_ns) == (wall, cpu)


def test_before_any_canary_nothing_is_rejected() -> None:
    assert canary_baseline([]) == math.inf


@given(st.lists(st.integers(1, 10**6), min_size=1))
def test_the_baseline_is_a_low_canary_that_bursts_do_not_raise(canaries: list[int]) -> None:
    baseline = canary_baseline(canaries)
    assert min(canaries) <= baseline <= max(canaries)
    # Half of the values are quiet: what the others do does not matter.
    assert canary_baseline([100] * (len(canaries) + 1) + [100 + value for value in canaries]) == 100


@given(st.lists(st.integers(1, 10**9), min_size=1))
def test_the_baseline_is_numpys_percentile_to_the_last_bit(canaries: list[int]) -> None:
    assert canary_baseline(canaries) == np.percentile(canaries, CANARY_PERCENTILE)


def test_too_few_valid_visits_have_not_converged_however_equal() -> None:
    settings = Settings(visits_min=3)
    assert not has_converged(visits(5.0, 5.0, None, None), settings)
    assert has_converged(visits(5.0, 5.0, None, 5.0), settings)


def test_visits_of_one_stay_do_not_stand_for_many() -> None:
    settings = Settings(visits_min=3, visits_per_stay=3, stays_min=2)
    made = visits(5.0, 5.0, 5.0, 5.0)
    assert not has_converged(made[:3], settings)
    assert has_converged(made, settings)
    # A stay of which nothing counts is none.
    assert not has_converged(visits(5.0, 5.0, 5.0, None), settings)


def test_convergence_is_half_the_interval_against_the_target() -> None:
    values = visits(98.0, 100.0, 102.0)
    assert has_converged(values, Settings(visits_min=3, target=0.02))
    assert not has_converged(values, Settings(visits_min=3, target=0.0199))


def test_an_attempt_is_exhausted_by_valid_visits_or_by_rounds() -> None:
    settings = Settings(visits_max=3, rounds_max=5)
    assert not is_exhausted(visits(1.0, 1.0, None, None), settings)
    assert is_exhausted(visits(1.0, 1.0, 1.0), settings)
    assert is_exhausted(visits(None, None, None, None, 1.0), settings)


def test_at_the_limit_enough_valid_visits_are_unconverged_with_a_number() -> None:
    status, message = limit_status(visits(1.0, 2.0, 3.0), Settings(visits_min=3))
    assert status is Status.UNCONVERGED
    assert status.has_latency
    assert "after 3 visits" in message


def test_at_the_limit_too_few_valid_visits_are_rejected_with_the_causes() -> None:
    made = visits(1.0, None) + visits(None, reason="preempted")
    status, message = limit_status(made, Settings(visits_min=3))
    assert (status, status.has_latency) == (Status.REJECTED, False)
    assert message == "1 of 3 visits valid, 3 are needed; rejected for canary, preempted"


def test_an_attempt_cut_off_by_time_does_not_speak_of_rejections() -> None:
    status, message = limit_status(visits(1.0), Settings(visits_min=3))
    assert status is Status.REJECTED
    assert message == "1 of 1 visits valid, 3 are needed; the time was up"


def test_the_runner_is_told_whole_numbers_that_make_sense() -> None:
    rules = runner_rules()
    assert all(isinstance(value, int) and value >= 0 for value in rules.values())
    assert rules["discards"] <= rules["discards_max"]
    assert rules["runs_min"] <= rules["runs_max"]
    assert rules["warmup_runs_min"] <= rules["warmup_runs_max"]


# One CPU time for a whole visit, or none.


def test_one_cpu_time_for_the_visit_judges_all_of_its_runs() -> None:
    wall = [1_000_000, 1_200_000, 1_100_000]
    whole = sum(wall)
    kept = judged(wall, [int(whole / DUAL_CLOCK_LIMIT) + 1])
    assert (kept.reject_reason, kept.value_ns) == ("", 1_100_000)
    lost = judged(wall, [int(whole / DUAL_CLOCK_LIMIT) - 1])
    assert (lost.reject_reason, lost.value_ns) == ("preempted", None)
    assert lost.cpu_ns == (int(whole / DUAL_CLOCK_LIMIT) - 1,)


def test_without_a_cpu_time_long_runs_are_judged_by_their_context_switches() -> None:
    assert judged(LONG, []).reject_reason == ""
    assert judged(LONG, [], switches=1).reject_reason == "context_switch"
    assert judged(LONG * 2, [], switches=1).reject_reason == ""


def test_one_cpu_time_says_nothing_of_short_runs_or_many_threads() -> None:
    assert judged(SHORT, [1]).reject_reason == ""
    assert judged(LONG, [1], threads=4).reject_reason == ""


@given(st.lists(st.integers(DUAL_CLOCK_MIN_NS, 10**9), min_size=2, max_size=30), st.floats(0, 2))
def test_one_cpu_time_keeps_all_runs_or_none(wall: list[int], ratio: float) -> None:
    visit = judged(wall, [int(sum(wall) * ratio)])
    assert visit.reject_reason in ("", "preempted")
    assert visit.value_ns in (None, statistics.median(wall))
    if ratio > 1:
        assert visit.reject_reason == ""


# Presets.


def test_each_preset_asks_for_more_than_the_one_before() -> None:
    quick, standard, careful = (preset(name) for name in ("quick", "standard", "careful"))
    assert set(PRESETS) == {"quick", "standard", "careful"}
    assert standard == Settings()
    for less, more in ((quick, standard), (standard, careful)):
        assert more.target < less.target
        for name in ("visits_min", "visits_max", "rounds_max", "group_max_s"):
            assert getattr(more, name) > getattr(less, name)


def test_a_narrower_interval_gets_the_visits_that_it_takes() -> None:
    narrow = preset("standard", target=0.01)
    # Half the width needs four times the visits.
    assert (narrow.target, narrow.visits_max, narrow.rounds_max) == (0.01, 160, 480)
    wide = preset("standard", target=0.10)
    assert (wide.target, wide.visits_max, wide.rounds_max) == (0.10, 40, 120)


def test_a_time_limit_changes_the_time_and_nothing_else() -> None:
    limited = preset("careful", max_time_s=5)
    assert limited == replace(preset("careful"), group_max_s=5)
    assert preset("quick", target=0.05, max_time_s=30.0) == preset("quick")


@given(st.sampled_from(sorted(PRESETS)), st.floats(1e-4, 0.999))
def test_no_interval_makes_an_attempt_that_cannot_end(name: str, target: float) -> None:
    settings = preset(name, target=target)
    assert settings.visits_min <= settings.visits_max <= settings.rounds_max


@pytest.mark.parametrize("target", [0.0, -0.01, 1.0, 2.0, math.nan])
def test_an_interval_that_cannot_be_is_refused(target: float) -> None:
    with pytest.raises(UsageError, match="cannot be measured"):
        preset("standard", target=target)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_a_time_limit_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="more than 0 s"):
        preset("standard", max_time_s=seconds)


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="quick, standard, careful"):
        preset("hasty")
