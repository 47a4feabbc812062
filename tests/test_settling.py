"""Runs are discarded until a kernel's data are as near as they come: on a clock that only the runs move."""

from __future__ import annotations

import pytest

from edgecost.profiler import runner
from edgecost.profiler.protocol import KERNELS, runner_rules


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
    one.stay("a")
    assert discarded == session.made - 1


def test_what_a_session_needs_is_learned_from_every_visit() -> None:
    session = Warming([200, 160, 90, 80, 80])
    one = runner.Runner(lambda _: None)
    one.rules, one.wall = {**runner_rules(), "visit_ns": 1, "runs_min": 1}, lambda: session.now_ns
    one.sessions, one.typical_ns = {"a": session}, {"a": 180}
    one.stay("a")
    assert one.typical_ns == {"a": 90}


def test_a_stay_settles_once_for_all_of_its_visits() -> None:
    session = Warming([200, 160, 109, *range(100, 106)])
    one = runner.Runner(lambda _: None)
    one.rules = {**runner_rules(KERNELS), "visit_ns": 2, "runs_min": 2, "discard_ns": 0}
    one.wall = lambda: session.now_ns
    one.sessions, one.typical_ns = {"a": session}, {"a": 100}
    visits = one.stay("a")
    assert [visit["wall_ns"] for visit in visits] == [[100, 100], [102, 102], [104, 104]]
    assert session.made == 3 + 6


def test_the_visits_of_a_stay_share_their_canaries() -> None:
    answers: list[dict[str, object]] = []
    one = runner.Runner(answers.append)
    session, canaries = Warming([100] * 20), iter([5, 7])
    one.rules, one.wall = {**runner_rules(KERNELS), "visit_ns": 1, "discard_ns": 0}, lambda: session.now_ns
    one.sessions, one.typical_ns, one.errors = {"a": session}, {"a": 100}, (RuntimeError,)
    one.canary = lambda: next(canaries)
    one.round({"order": ["a"]})
    visits = [answer for answer in answers if answer["event"] == "visit"]
    assert [visit["canary_ns"] for visit in visits] == [[5, 7]] * KERNELS.visits_per_stay
