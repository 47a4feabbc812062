"""Small pictures in a line: as long as what they show, as high as it is high, and nothing where nothing is known."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.cli.main import main
from edgecost.cli.sparkline import ASCII_BLOCKS, BLOCKS, GAP, course, printed_blocks, sparkline, spread
from edgecost.profiler.records import Device, Visit
from tests.fleet_store import enrol, workload
from tests.report_store import Desk, of_device

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
UNKNOWN = st.sampled_from([None, math.nan, math.inf, -math.inf])
VALUES = st.lists(NUMBERS | UNKNOWN, max_size=80)


def is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


@given(VALUES, st.sampled_from([BLOCKS, ASCII_BLOCKS]))
def test_each_value_has_its_character_and_only_what_is_unknown_is_a_gap(values, blocks):
    drawn = sparkline(values, blocks)
    assert len(drawn) == len(values)
    assert [one == GAP for one in drawn] == [not is_known(value) for value in values]
    assert set(drawn) <= {*blocks, GAP}


@given(VALUES)
def test_what_is_higher_never_stands_lower(values):
    heights = sorted(
        (value, BLOCKS.index(one)) for value, one in zip(values, sparkline(values), strict=True) if one != GAP
    )
    assert [height for _, height in heights] == sorted(height for _, height in heights)


@given(VALUES.filter(lambda values: len({value for value in values if is_known(value)}) > 1))
def test_the_least_is_at_the_bottom_and_the_greatest_at_the_top(values):
    drawn = sparkline(values)
    known = [value for value in values if is_known(value)]
    assert drawn[values.index(min(known))] == BLOCKS[0]
    assert drawn[values.index(max(known))] == BLOCKS[-1]


@given(NUMBERS, st.integers(min_value=1, max_value=80))
def test_one_value_is_a_flat_line_at_half_height(value, times):
    assert sparkline([value] * times) == "▄" * times


@given(VALUES, st.integers(min_value=1, max_value=60))
def test_a_long_course_keeps_to_its_width_its_ends_and_its_gaps(values, width):
    drawn = course(values, width=width)
    assert len(drawn) == min(len(values), width)
    assert (set(drawn) <= {GAP}) == (not any(map(is_known, values)))


def test_neighbours_of_a_long_course_are_drawn_as_their_median():
    assert course([1.0, 1.0, 9.0, 2.0, None, 2.0, None, None, None, 3.0, 3.0, 3.0], width=4) == "▁▅ █"


@given(st.lists(NUMBERS, max_size=300))
def test_a_spread_shows_something_where_a_value_lies_and_is_highest_where_most_are(values):
    drawn = spread(values)
    if not values:
        assert drawn == ""
        return
    assert len(drawn) <= 48
    assert "█" in drawn
    assert GAP not in (drawn[0], drawn[-1])


def test_a_value_apart_is_seen_beside_a_hundred_others():
    assert spread([1.0] * 99 + [2.0]) == "█" + GAP * 18 + "▁"


@pytest.mark.parametrize(("encoding", "blocks"), [("utf-8", BLOCKS), ("ascii", ASCII_BLOCKS), ("cp437", ASCII_BLOCKS)])
def test_an_output_without_blocks_gets_the_signs_that_it_has(monkeypatch, encoding, blocks):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert printed_blocks() == blocks


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_a_sign_shows_another_and_no_traceback(tmp_path, encoding):
    command = [sys.executable, "-m", "edgecost", "lut", "formats"]
    environment = {"PYTHONIOENCODING": encoding, "PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"ofa" in done.stdout


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(one) for one in arguments]) == 0
    return capsys.readouterr().out


def visit(ordinal: int, value_ns: float | None) -> Visit:
    return Visit(ordinal, "first", (), (), (0, 0), 0, "" if value_ns else "preempted", value_ns)


def test_a_measurement_shows_its_visits_in_their_order_and_how_they_lie(tmp_path, capsys):
    place = tmp_path / "store.sqlite"
    values_ns = [1e6, 1e6, None, 1e6, 1e6, 1e6, 1e6, 2e6, None, 1e6]
    visits = tuple(visit(at + 1, value) for at, value in enumerate(values_ns))
    desk = Desk(place)
    name = desk.write(workload(1), 1.0, visits=visits)
    desk.store.close()
    shown = said(capsys, "db", "show", name, "--db", place)
    assert "  course  ▁▁ ▁▁▁▁█ ▁  the visits in their order, a gap for each that was rejected\n" in shown
    assert "  spread  █  ▂  how many lie where, from 1.000 ms to 2.000 ms\n" in shown


def test_a_measurement_of_next_to_no_visits_shows_none(tmp_path, capsys):
    place = tmp_path / "store.sqlite"
    desk = Desk(place)
    name = desk.write(workload(1), 1.0, visits=(visit(1, 1e6), visit(2, None)))
    desk.store.close()
    assert "spread" not in said(capsys, "db", "show", name, "--db", place)


def test_a_board_shows_its_canary_and_its_anchors_from_session_to_session(tmp_path, capsys):
    place = tmp_path / "store.sqlite"
    desk = of_device(place, Device("nano-1", "device-nano-1", "the board nano-1"))
    enrol(desk.store, "nano-1")
    desk.store.close()
    shown = said(capsys, "devices", "show", "nano-1", "--db", place)
    rows = [re.split(r"  +", line.strip(), maxsplit=1) for line in shown.splitlines()]
    told = {row[0]: row[1] for row in rows if len(row) == 2}
    canary = "▁▁▁▁▁▁█  20.00 µs … 25.00 µs in 7 sessions; the newest +25.0 % against the usual"
    assert told["canary, ort"] == canary
    anchors = "▁▁▁▁▁█  +0.0 % … +10.0 % in 6 sessions, against the first; the newest +10.0 %"
    assert told["anchors, ort"] == anchors
    document = json.loads(said(capsys, "devices", "show", "nano-1", "--db", place, "--json"))
    assert not [key for key in document if "canary" in key or "anchor" in key]
