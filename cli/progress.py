"""The bar of a long stage: how much of it is done, how fast that goes, and how long the rest takes. Needs rich."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

#: Speed is that of the steps of this time. With less, steps of a minute would have none.
_PERIOD_S = 900.0


def bars(console: Console) -> Progress:
    """Bars of stages, one below the other; each task has the fields ``latest`` and ``is_counted``."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Count(),
        _Rate(),
        _Time(),
        TextColumn("{task.fields[latest]}", style="dim", markup=False),
        console=console,
        speed_estimate_period=_PERIOD_S,
    )


def rate(per_second: float | None) -> str:
    """Steps in the unit of time in which there is one or more, up to an hour; empty while that is not known."""
    if per_second is None or per_second <= 0:
        return ""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:,.3g}/{unit}" if per_second < 1e3 else f"{per_second:,.0f}/{unit}"
    return f"{per_second * 3600:.3g}/h"


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f}/{task.total:,.0f}" if task.fields["is_counted"] else "")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(rate(task.finished_speed or task.speed) if task.fields["is_counted"] else "", style="dim")


class _Time(TimeRemainingColumn):
    """What is left of a stage that is counted, else what has passed."""

    def __init__(self) -> None:
        super().__init__(elapsed_when_finished=True)

    def render(self, task: Task) -> Text:
        if task.fields["is_counted"]:
            return super().render(task)
        minutes, seconds = divmod(int(task.elapsed or 0), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02}:{seconds:02}", style="progress.elapsed")
