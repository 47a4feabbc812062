"""How the terminal speaks: data on standard output, talk on standard error, progress only where a person watches."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Version of every JSON object that a command prints; it rises when a field changes its meaning or goes.
JSON_SCHEMA_VERSION = 1
_PIPE_WIDTH = 200


def print_json(document: Mapping[str, object]) -> None:
    """One object on standard output. Not-a-number and infinity become null: JSON has neither."""
    text = json.dumps({"schema_version": JSON_SCHEMA_VERSION, **document}, indent=2, default=str, allow_nan=True)
    click.echo(json.dumps(_finite(json.loads(text)), indent=2))


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """A table on standard output; the first ``left`` columns are text, the others numbers."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        # A board that only runs the agent has no package for looks.
        click.echo(f"{title}\n\n{_plain_table(columns, list(rows), left)}\n")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        # A pipe has no width: a table must not be folded to 80 columns in a file.
        console = Console(width=_PIPE_WIDTH)
    console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    console.print(table, markup=False, highlight=False)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [columns, ["─" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def milliseconds(value: float | None) -> str:
    """A latency for people; unknown is a dash, never 0."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    return f"{value:.3f} ms" if value >= 0.1 else f"{value * 1000:.2f} µs"


def megabytes(value: float | None) -> str:
    """Bytes for people, in millions; unknown is a dash, never 0."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value / 1e6:.1f} MB"


def millijoules(value: float | None) -> str:
    """An energy for people; unknown is a dash, never 0."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value / 1e3:.4g} J" if value >= 1e4 else f"{value:.4g} mJ"


def percent(value: float | None, digits: int = 1) -> str:
    """A share between 0 and 1 for people."""
    return "–" if value is None or not math.isfinite(value) else f"{value * 100:.{digits}f} %"


def change(value: float | None) -> str:
    """By how much something differs from what it is compared with, with its sign: 0.1 is +10.0 %."""
    return "–" if value is None or not math.isfinite(value) else f"{value * 100:+.1f} %"


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval in milliseconds."""
    return "–" if low is None or high is None else f"{milliseconds(low)} … {milliseconds(high)}"


def few(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more."""
    more = f" +{len(names) - most}" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class Talk:
    """Stages, steps and notes on standard error: bars on a terminal, a line per stage elsewhere, nothing when quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Talk:
        from rich.console import Console

        from .progress import bars

        console = Console(stderr=True)
        if console.is_terminal and not self._quiet:
            self._progress = bars(console)
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            if kind is None:
                self._end_stage()
            self._progress.stop()

    def stage(self, title: str, total: int | None = None) -> None:
        """A stage begins, and the one before is at its end."""
        if self._progress is not None:
            self._end_stage()
            self._task = self._progress.add_task(title, total=total, latest="", is_counted=total is not None)
        elif not self._quiet:
            click.echo(f"{title} ({total})" if total else title, err=True)

    def _end_stage(self) -> None:
        """A stage that cannot be counted moves to and fro until somebody says that it is over."""
        if self._progress is None or self._task is None:
            return
        task = next(one for one in self._progress.tasks if one.id == self._task)
        if not task.fields["is_counted"]:
            self._progress.update(self._task, total=1, completed=1, latest="")

    def step(self, note: str, count: int = 1) -> None:
        """So many steps of the stage are done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=count, latest=note[:60])

    def note(self, text: str) -> None:
        """Something worth a line."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False)
        elif not self._quiet:
            click.echo(text, err=True)
