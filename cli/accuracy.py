"""How good a predictor is, as a table: held out, beside the repeatability floor and beside FLOPs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .output import percent, print_table

if TYPE_CHECKING:
    from ..costmodels.training import TrainingReport
    from ..costmodels.validation import Accuracy


def print_accuracy(title: str, report: TrainingReport) -> None:
    """The table and the line about intervals."""
    print_judgement(title, report.floor, report.held_out, "FLOPs only, held out", report.flops_only, report.coverage)


def print_judgement(
    title: str,
    floor: Accuracy | None,
    held_out: Accuracy | None,
    baseline_name: str,
    baseline: Accuracy | None,
    coverage: float | None,
) -> None:
    """The same of any quantity, beside whatever is naive for it."""
    print_table(
        title,
        ["", "±2 %", "±5 %", "±10 %", "mean error", "ρ"],
        [
            accuracy_row("measured again in another process (the floor)", floor),
            accuracy_row("predicted, held out", held_out),
            accuracy_row(baseline_name, baseline),
        ],
    )
    click.echo(f"The 90 % intervals held {percent(coverage)} of what was held out.")


def accuracy_row(name: str, value: Accuracy | None) -> list[str]:
    """A line of the table: bands, mean error, rank correlation."""
    if value is None:
        return [name, "–", "–", "–", "–", "–"]
    rho = "–" if value.spearman is None else f"{value.spearman:.4f}"
    bands = [percent(share) for share in (value.within_2, value.within_5, value.within_10)]
    return [name, *bands, f"{value.mape_percent:.2f} %", rho]
