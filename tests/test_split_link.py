"""Links: what people write for rates and latencies, and the time that bytes need."""

from __future__ import annotations

import pytest

from edgecost.costmodels.split.link import Link, parse_delay_ms, parse_rate
from edgecost.profiler.errors import UsageError


@pytest.mark.parametrize(
    ("text", "bits_per_s"),
    [
        ("20Mbit/s", 20e6),
        ("20 Mbit/s", 20e6),
        ("2.5MB/s", 20e6),
        ("1Gbit/s", 1e9),
        ("54Mbps", 54e6),
        ("250kbit/s", 250e3),
        ("250Kbit/s", 250e3),
        ("300bit/s", 300.0),
        ("1B/s", 8.0),
        ("1KiB/s", 8192.0),
        ("100Mb/s", 100e6),
    ],
)
def test_a_b_is_a_bit_and_a_capital_one_a_byte(text: str, bits_per_s: float) -> None:
    assert parse_rate(text) == pytest.approx(bits_per_s)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20",
        "Mbit/s",
        "20M",
        "20Mbit",
        "-5Mbit/s",
        "0Mbit/s",
        "20Xbit/s",
        "20mbit/s",
        "1e3bit/s",
        "nanbit/s",
        "5ibit/s",
    ],
)
def test_what_is_no_rate_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_rate(text)
    assert "20Mbit/s" in refused.value.remedy


def test_a_rate_of_thousandths_is_told_what_it_says() -> None:
    with pytest.raises(UsageError) as refused:
        parse_rate("20mbit/s")
    assert "thousandth" in refused.value.remedy


@pytest.mark.parametrize(("text", "ms"), [("5ms", 5.0), ("200us", 0.2), ("200µs", 0.2), ("0.1s", 100.0), ("0ms", 0.0)])
def test_latencies_have_units(text: str, ms: float) -> None:
    assert parse_delay_ms(text) == pytest.approx(ms)


@pytest.mark.parametrize("text", ["", "5", "ms", "-5ms", "5min", "infs"])
def test_what_is_no_latency_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no latency"):
        parse_delay_ms(text)


def test_bytes_need_eight_bits_each_and_the_latency_once() -> None:
    link = Link(20e6, 5.0)
    assert link.sending_ms(250_000) == pytest.approx(100.0)
    assert link.crossing_ms(250_000) == pytest.approx(105.0)
    assert link.crossing_ms(0) == pytest.approx(5.0)
    assert link.label == "20 Mbit/s, 5 ms"
    assert Link(512.0).label == "512 bit/s"


@pytest.mark.parametrize(
    ("rate", "delay"), [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, -1.0), (1.0, float("inf"))]
)
def test_nothing_crosses_a_link_that_is_none(rate: float, delay: float) -> None:
    with pytest.raises(UsageError):
        Link(rate, delay)
