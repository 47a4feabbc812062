"""What ``edgecost onboard`` says: the plan, the fit and what it is worth, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import milliseconds, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.onboarding.arch_space import Archs
    from ..costmodels.onboarding.known import KnownDevice
    from ..costmodels.onboarding.onboard import Onboarding, Prospect
    from ..costmodels.onboarding.target import Target
    from ..costmodels.planned_campaign import CampaignOutcome


def show_plan(
    prospect: Prospect, target: Target, known: Sequence[KnownDevice], samples: Archs, *, as_json: bool
) -> None:
    """The plan before anything is measured."""
    from ..costmodels.onboarding.arch_space import arch_text

    done = {arch.tobytes() for arch in samples}
    archs = [prospect.pool.archs[row] for row in prospect.plan]
    rows = [
        (arch_text(arch), relative, arch.tobytes() in done)
        for arch, relative in zip(archs, prospect.relative, strict=True)
    ]
    if as_json:
        plan = [{"arch": arch, "expected_relative": float(r), "measured_before": was} for arch, r, was in rows]
        print_json({**_about(target, known, prospect), "strategy": prospect.strategy, "plan": plan})
        return
    _print_known(known)
    print_table(
        f"{len(rows)} networks to measure ({prospect.strategy}), beside the middle of the space",
        ["architecture", "in the store", "expected latency" if known else "amount of work"],
        [[arch, "yes" if was else "no", f"{relative:.2f}"] for arch, relative, was in rows],
        left=2,
    )
    click.echo(_reason(prospect.strategy))
    click.echo("Nothing was measured: leave out --dry-run to do it.")


def print_onboarding(found: Onboarding, target: Target, known: Sequence[KnownDevice]) -> None:
    """The fit, for people."""
    model = found.model
    nearest = model.nearest_sources()
    _print_known(known, {name: percent(weight, 0) for name, weight in nearest.items()})
    click.echo(
        f"{found.prospect.space.name} on {target.device.description}, {target.profile.label}:"
        f" learnt from {len(found.samples)} networks,"
        f" {milliseconds(float(found.latency_ms.min()))} to {milliseconds(float(found.latency_ms.max()))}"
    )
    weights = ", ".join(f"{name} {percent(weight, 0)}" for name, weight in model.expert_weights().items())
    click.echo(f"  experts              {weights}")
    click.echo(
        f"  leave-one-out error  {found.loo_error_percent:.1f} % on average;"
        f" one number for all networks: {found.spread_percent:.1f} %"
    )
    click.echo(
        f"  90 % interval        ± {found.width_percent:.1f} % (median over the space),"
        f" from {model.interval_width(0.1).source}"
    )
    click.echo(f"  verdict              {found.verdict.word}: {found.verdict.advice}")
    if not known:
        click.echo(
            "  alone                no other device is known: with a few, twenty samples say more (--known FILE)"
        )
    click.echo()
    report = found.efficiency
    title = f"What more networks would bring, by {report.basis}"
    print_table(
        title,
        ["more", "mean error", "of the devices, the middle half"],
        [
            [str(gain.more), f"{gain.error_percent:.1f} %", _range(gain.lo_percent, gain.hi_percent)]
            for gain in report.gains
        ],
    )
    if report.judged_to is not None and report.judged_to < report.samples + report.gains[-1].more:
        click.echo(f"No curve goes beyond {report.judged_to} networks: further gains are not claimed.")
    click.echo("Seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in found.seconds.items()))


def document(
    found: Onboarding, target: Target, known: Sequence[KnownDevice], folder: Path, outcome: CampaignOutcome | None
) -> dict[str, object]:
    """The fit, as JSON."""
    from ..costmodels.onboarding.arch_space import arch_text

    model, report = found.model, found.efficiency
    return {
        **_about(target, known, found.prospect),
        "strategy": found.prospect.strategy,
        "campaign": None if outcome is None else outcome.document(),
        "samples": [
            {"arch": arch_text(arch), "latency_ms": latency}
            for arch, latency in zip(found.samples, found.latency_ms.tolist(), strict=True)
        ],
        "experts": model.expert_weights(),
        "nearest": model.nearest_sources(),
        "loo_error_percent": found.loo_error_percent,
        "spread_percent": found.spread_percent,
        "interval_half_width_percent": found.width_percent,
        "interval_source": model.interval_width(0.1).source,
        "verdict": found.verdict.word,
        "advice": found.verdict.advice,
        "more_samples": {
            "basis": report.basis,
            "judged_to": report.judged_to,
            "gains": [
                {
                    "more": g.more,
                    "error_percent": g.error_percent,
                    "lo_percent": g.lo_percent,
                    "hi_percent": g.hi_percent,
                }
                for g in report.gains
            ],
        },
        "seconds": found.seconds,
        "model": str(folder),
    }


def _about(target: Target, known: Sequence[KnownDevice], prospect: Prospect) -> dict[str, object]:
    return {
        "space": prospect.space.name,
        "device": target.device.name,
        "device_identity": target.device.identity,
        "profile": target.profile.label,
        "known_devices": [{"name": one.name, "origin": one.origin, "networks": len(one.latency_ms)} for one in known],
    }


def _print_known(known: Sequence[KnownDevice], nearest: dict[str, str] | None = None) -> None:
    if not known:
        click.echo("No other device is known: the plan is spread over the amount of work.")
        return
    head = ["device", "from", "networks", *(["like this one alone"] if nearest else [])]
    rows = [
        [one.name, one.origin, str(len(one.latency_ms)), *([nearest.get(one.name, "–")] if nearest else [])]
        for one in known
    ]
    print_table("Known devices; one machine with another runtime profile counts as another device", head, rows, left=2)


def _range(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.1f} to {high:.1f} %"


def _reason(strategy: str) -> str:
    if strategy == "d-optimal":
        return "Each network is the one whose latency those before it leave most uncertain."
    return "Spread evenly over the expected latency: fewer than 3 known devices say too little about what will vary."
