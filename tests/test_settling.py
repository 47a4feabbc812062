"""Runs are discarded until a kernel's data are as near as they come: on a clock that only the runs move."""

from __future__ import annotations

import pytest

from edgecost.profiler import runner
from edgecost.profiler.protocol import runner_rules


class Warming:
    """A session whose first runs after others' are slower, on a clock that only it moves."""

    def __init__(self, run_ns: list[int]) -> None:
        self.now_ns, self.made, self._left = 0, 0, list(run_ns)

    def run(self) -> None:
        self.made += 1
        self.now_ns += self._left.pop(0)

    def timed(self, count: int, wall: object, cpu: object) -> tuple[list[int], list[int]]:
        before = self.now_ns
        for _ in range(count):
            self.run()
        return [(self.now_ns - before) // count] * count, []


@pytest.mark.parametrize(
    ("run_ns", "discarded"),
    [
        ([100, 100, 100], 2),
        ([120, 101, 100], 2),
        ([200, 160, 109, 100], 3),
        ([200, 160, 120, 119, 100], 4),
        ([125, 122, 121, 120, 119], 2),
        ([900, 800, 700, 600, 500, 400], 5),
    ],
    ids=["settled at once", "after the least", "one more", "hardly faster", "beside a neighbour", "never"],
)
def test_runs_are_discarded_until_they_no_longer_become_faster(run_ns: list[int], discarded: int) -> None:
    session = Warming([*run_ns, *run_ns[-1:] * 3])
    one = runner.Runner(lambda _: None)
    one.rules, one.wall = {**runner_rules(), "visit_ns": 1, "runs_min": 1}, lambda: session.now_ns
    one.sessions, one.typical_ns = {"a": session}, {"a": 100}
    one.visit("a")
    assert discarded == session.made - 1


def test_what_a_session_needs_is_learned_from_every_visit() -> None:
    session = Warming([200, 160, 90, 80, 80])
    one = runner.Runner(lambda _: None)
    one.rules, one.wall = {**runner_rules(), "visit_ns": 1, "runs_min": 1}, lambda: session.now_ns
    one.sessions, one.typical_ns = {"a": session}, {"a": 180}
    one.visit("a")
    assert one.typical_ns == {"a": 90}
