"""Types of option values: intervals, probabilities and numbers by node, sizes of a frame, limits, labels, links."""

from __future__ import annotations

import math

import click

from ..profiler.errors import UsageError
from .options import ShareType


class PercentType(ShareType):
    """``2%`` or ``0.02`` → 0.02; more than nothing and less than all."""

    name = "PERCENT"
    example = "2% or 0.02"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        share = super().convert(value, param, ctx)
        if not 0 < share < 1:
            self.fail(f"{value!r} is nothing or all; write it like {self.example}", param, ctx)
        return share


class ProbabilityType(click.ParamType[tuple[str, float]]):
    """``NODE=0.3`` → ("NODE", 0.3)."""

    name = "NODE=P"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        name, _, text = str(value).rpartition("=")
        try:
            probability = float(text)
        except ValueError:
            probability = -1.0
        if not name or not 0 <= probability <= 1:
            self.fail(f"{value!r} is no probability of a node; write it like If_3=0.25", param, ctx)
        return name, probability


class TripsType(click.ParamType[tuple[str, int]]):
    """``NODE=10`` → ("NODE", 10)."""

    name = "NODE=N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        name, _, text = str(value).rpartition("=")
        if not name or not text.isdecimal():
            self.fail(f"{value!r} is no number of trips of a node; write it like Loop_3=10", param, ctx)
        return name, int(text)


class FrameType(click.ParamType[tuple[int, int]]):
    """``480x640`` → (480, 640): height and width."""

    name = "HxW"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        high, _, wide = str(value).lower().partition("x")
        if not (high.isdecimal() and wide.isdecimal()) or not int(high) * int(wide):
            self.fail(f"{value!r} is no size; write height and width like 480x640", param, ctx)
        return int(high), int(wide)


class LimitType(click.ParamType[float]):
    """``latency_ms=20`` → 20.0: milliseconds."""

    name = "latency_ms=N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        name, _, text = str(value).partition("=")
        try:
            limit_ms = float(text)
        except ValueError:
            limit_ms = math.nan
        if name != "latency_ms" or not 0 < limit_ms < math.inf:
            self.fail(f"{value!r} is no limit; write it like latency_ms=20", param, ctx)
        return limit_ms


class LabelType(click.ParamType[tuple[str, str]]):
    """``pool=nano`` → ("pool", "nano")."""

    name = "KEY=VALUE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, _, text = str(value).partition("=")
        if not key or not text:
            self.fail(f"{value!r} is no label; write it like pool=nano", param, ctx)
        return key, text


class RateType(click.ParamType[float]):
    """``20Mbit/s``, ``2.5MB/s`` → bits per second."""

    name = "RATE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from ..costmodels.split.link import parse_rate

        try:
            return parse_rate(str(value))
        except UsageError as error:
            self.fail(f"{error.message}; {error.remedy}", param, ctx)


class DelayType(click.ParamType[float]):
    """``5ms``, ``0.1s`` → milliseconds."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from ..costmodels.split.link import parse_delay_ms

        try:
            return parse_delay_ms(str(value))
        except UsageError as error:
            self.fail(f"{error.message}; {error.remedy}", param, ctx)
