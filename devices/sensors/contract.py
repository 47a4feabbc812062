"""What every power meter must do, as tests: subclass ``PowerMeterContract`` in pytest and say how yours is made.

It must be attached, and may read anything: nothing is asked of the power itself. Nothing here imports pytest.
"""

from __future__ import annotations

import math
import time
from itertools import pairwise

from ...profiler.energy.meter import Meter


class PowerMeterContract:
    """Override ``make_meter``."""

    def make_meter(self) -> Meter:
        """The meter under test, made anew."""
        raise NotImplementedError

    def test_it_is_a_meter_whose_facts_stay_the_same(self) -> None:
        made, again = self.make_meter(), self.make_meter()
        assert isinstance(made, Meter)
        assert made.facts == again.facts
        assert made.facts.sensor() == again.facts.sensor()
        assert made.facts.name
        assert made.facts.scope

    def test_readings_come_with_the_time_of_this_machine_and_each_is_a_number(self) -> None:
        made = self.make_meter()
        begin = time.perf_counter_ns()
        with made.recording() as recording:
            time.sleep(12 * made.facts.period_s + 0.1)
            trace = recording.trace()
        end = time.perf_counter_ns()
        assert len(trace.times_ns) == len(trace.values) >= 3
        assert all(earlier < later for earlier, later in pairwise(trace.times_ns))
        # A reading may be of a moment before the recording, by what it is a mean of.
        slack_ns = round((made.facts.averages_s + 2 * made.facts.period_s) * 1e9)
        assert begin - slack_ns <= trace.times_ns[0] <= trace.times_ns[-1] <= end + slack_ns
        assert all(math.isfinite(value) for value in trace.values)

    def test_a_second_recording_begins_anew(self) -> None:
        made = self.make_meter()
        last = 0
        for _ in range(2):
            with made.recording() as recording:
                time.sleep(6 * made.facts.period_s + 0.1)
                trace = recording.trace()
            assert trace.times_ns[0] > last
            last = trace.times_ns[-1]

    def test_what_was_handed_out_does_not_change_any_more(self) -> None:
        made = self.make_meter()
        with made.recording() as recording:
            time.sleep(4 * made.facts.period_s + 0.1)
            first = recording.trace()
            kept = list(first.times_ns)
            time.sleep(4 * made.facts.period_s + 0.1)
        assert list(first.times_ns) == kept
