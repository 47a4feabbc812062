"""``edgecost lut audit``: whether the sums of a table are true, and the correction that makes them so."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ..profiler.errors import GateError, UsageError
from .luts import space_of
from .options import INPUT_FILE, db_option, json_option, runtime_options
from .output import Talk, milliseconds, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.lut import Lut
    from ..costmodels.lut_audit import LutAudit, Policy
    from ..costmodels.network_scale import MeasuredNetworks
    from ..costmodels.space import Space

#: Networks that the table of the worst shows; --json holds them all.
_SHOWN = 5


@click.command(epilog="Example:  edgecost lut audit ofa.lut.json --measure 40 --out ofa-corrected.lut.json")
@click.argument("table", type=INPUT_FILE)
@click.option("--measure", "count", type=click.IntRange(min=1), help="Measure this many random networks first.")
@click.option("--fit", type=click.IntRange(min=3), default=8, show_default=True, help="Networks to fit on.")
@click.option(
    "--correction",
    "policy",
    type=click.Choice(["auto", "none", "scale", "offset", "scale+offset"]),
    default="auto",
    show_default=True,
    help="What is fitted.",
)
@click.option("--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the corrected table.")
@click.option("--require", type=click.FloatRange(0, 100), help="Exit with 5 if fewer per cent are within 5 %.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the networks and of resampling.")
@click.option("--space", "space_name", metavar="FILE", help="The TOML file of the space, if it is no built-in one.")
@runtime_options
@db_option
@json_option
def audit(
    table: Path,
    count: int | None,
    fit: int,
    policy: str,
    target: Path | None,
    require: float | None,
    seed: int,
    space_name: str | None,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Compare the sums of TABLE with whole networks that were measured on its device, and fit a correction.

    The networks are those of the store; --measure adds random ones that span the range of prices. A few fit the
    correction, spread over that range; the others judge it. A layer is named when what is left of the error goes with
    its cells beyond chance.
    """
    from ..costmodels.lut import Lut
    from ..costmodels.lut_audit import audit_lut

    read = Lut.load(table)
    space = space_of(read, space_name)
    networks = _networks(read, space, count, seed, runtime_name, threads, db_url, as_json)
    chosen = cast("Policy", policy)
    found = audit_lut(read, space, networks.archs, networks.latency_ms, fit=fit, policy=chosen, seed=seed)
    written = None if target is None else _corrected(read, found).save(target)
    if as_json:
        print_json(_document(found, written))
    else:
        _print(read, found, written)
    if require is not None and found.held_out.within_5 * 100 < require:
        raise GateError(
            f"{percent(found.held_out.within_5)} of the networks are within 5 %, {require:g} % were asked for",
            remedy="measure more cells, or see which layers stand out",
        )


def _networks(
    read: Lut,
    space: Space,
    count: int | None,
    seed: int,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    quiet: bool,
) -> MeasuredNetworks:
    from ..costmodels.network_scale import measure_networks, networks_in_store
    from ..costmodels.simulated.simulation import chosen_setting
    from ..db import Store

    setting = chosen_setting(runtime_name, threads, db_url)
    provenance = read.provenance
    if provenance["profile_hash"] != setting.profile.profile_hash:
        raise UsageError(
            f"the table is of {provenance['profile_label']}, this is {setting.profile.label}",
            remedy="name the table's runtime: --runtime, --threads",
        )
    device = str(provenance.get("device_identity", setting.device.identity))
    with Store(db_url) as store, Talk(quiet=quiet) as talk:
        if count:
            if device != setting.device.identity:
                raise UsageError(
                    f"the table is of {provenance['device']}, which is not this machine",
                    remedy="audit it there; without --measure the networks of the store are taken",
                )
            measure_networks(store, setting, space, read, count, talk, seed=seed)
        return networks_in_store(store, device, setting.profile, space)


def _corrected(read: Lut, found: LutAudit) -> Lut:
    """The table with the correction in it, and with what it is worth in its provenance."""
    provenance = {**read.provenance, "correction": found.provenance()}
    correction = found.correction
    return replace(
        read,
        provenance=provenance,
        scale=correction.scale,
        offset_ms=correction.offset_ms,
        scale_fitted_on=found.fitted_on,
    )


def _document(found: LutAudit, written: Path | None) -> dict[str, object]:
    return {
        "correction": found.provenance(),
        "bias": found.bias,
        "spread": found.spread,
        "plain": asdict(found.plain),
        "held_out": asdict(found.held_out),
        "suspects": [asdict(one) for one in found.suspects],
        "networks": [{**asdict(one), "error": one.error} for one in found.networks],
        "file": None if written is None else str(written),
    }


def _print(read: Lut, found: LutAudit, written: Path | None) -> None:
    device = read.provenance.get("device_description", read.provenance["device"])
    click.echo(f"{read.provenance['space']} on {device}, {read.provenance['profile_label']}\n")
    click.echo(
        f"Σ LUT against {len(found.networks)} networks: {found.bias:+.1%} (median), {found.spread:.1%} around it\n"
    )
    rows = [
        [name, str(one.n), f"{one.mape_percent:.2f} %", f"{one.worst_percent:.2f} %",
         *(percent(share) for share in (one.within_2, one.within_5, one.within_10)),
         "–" if one.spearman is None else f"{one.spearman:.3f}"]
        for name, one in (("Σ LUT", found.plain), ("corrected", found.held_out))
    ]  # fmt: skip
    how = "each left out in turn" if found.in_turn else "that no fit has seen"
    print_table(
        f"On {found.held_out.n} networks {how}",
        ["", "networks", "mean error", "worst", "±2 %", "±5 %", "±10 %", "ρ"],
        rows,
        left=1,
    )
    correction = found.correction
    terms = []
    if correction.scale_range is not None:
        terms.append(f"factor {correction.scale:.4f}{_span(correction.scale_range, '')}")
    if correction.offset_range_ms is not None:
        terms.append(f"constant {correction.offset_ms:+.4f} ms{_span(correction.offset_range_ms, ' ms')}")
    click.echo(f"Correction from {found.fitted_on} networks: {', '.join(terms) or 'none'}")
    for suspect in found.suspects:
        click.echo(
            f"  {suspect.layer}: what is left goes with its cells: {suspect.bias:+.1%} of what they cost"
            f" ({percent(suspect.explained)} of the variance, chance {suspect.chance:.3f})"
        )
    if not found.suspects:
        click.echo("No layer stands out: what is left of the error does not go with any layer's cells beyond chance.")
    print_table(
        "Furthest off",
        ["network", "Σ LUT", "corrected", "measured", "error"],
        [
            [json.dumps(one.arch, separators=(",", ":")), *map(milliseconds, (one.sum_ms, one.corrected_ms)),
             milliseconds(one.measured_ms), f"{one.error:+.1%}"]
            for one in found.worst[:_SHOWN]
        ],
        left=1,
    )  # fmt: skip
    if written is not None:
        click.echo(f"  {written}")


def _span(bounds: tuple[float, float], unit: str) -> str:
    return f" ({bounds[0]:.4f} to {bounds[1]:.4f}{unit})"
