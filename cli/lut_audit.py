"""``edgecost lut audit``: whether the sums of a table are true, and the correction that makes them so."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ..profiler.errors import GateError, UsageError
from .controls import control_option_beside
from .luts import space_of
from .options import INPUT_FILE, ShareType, db_option, json_option, runtime_options, space_file_option
from .output import Talk, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.lut import Lut
    from ..costmodels.lut_attribution import Suspect
    from ..costmodels.lut_audit import AuditedNetwork, LutAudit
    from ..costmodels.lut_correction import Policy
    from ..costmodels.network_scale import MeasuredNetworks
    from ..costmodels.space import Space
    from ..costmodels.validation import Accuracy
    from ..db import Store
    from ..profiler.records import Json, RuntimeProfile

#: Worst networks that the table for people shows; --json holds all.
_SHOWN = 5
_UNITS = {"latency": "ms", "energy": "mJ"}
_OUTPUT_FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class _Found:
    """What is told. ``unit`` is of every latency-like number."""

    audit: LutAudit
    floor: Accuracy | None
    suspects: tuple[Suspect, ...]
    unit: str


@click.command(epilog="Example:  edgecost lut audit table.lut.json --measure 40 -o corrected.lut.json")
@click.argument("table", type=INPUT_FILE)
@click.option(
    "--measure",
    "count",
    type=click.IntRange(min=1),
    help="First measure this many random networks, spread over the range of prices, on this machine.",
)
@click.option(
    "--fit",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Networks that the correction is fitted on; all others judge it.",
)
@click.option(
    "--correction",
    "policy",
    type=click.Choice(["auto", "none", "scale", "offset", "scale+offset"]),
    default="auto",
    show_default=True,
    help="auto: what leave-one-out over the networks of the fit chooses.",
)
@click.option(
    "--metric",
    type=click.Choice(["latency", "energy"]),
    default="latency",
    show_default=True,
    help="Energies are audited only: a table holds a correction of latencies.",
)
@click.option("-o", "--out", "corrected", type=_OUTPUT_FILE, help="Write the corrected table here.")
@click.option("--plot", "picture", type=_OUTPUT_FILE, help="Write a picture (SVG) here: measured against priced.")
@click.option(
    "--strict", is_flag=True, help="Fail (exit code 5) when fewer judged networks are within 5 % than --held."
)
@click.option("--held", type=ShareType(), default="90%", show_default=True, help="Share that --strict asks for.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random networks, resampling and shuffling.")
@control_option_beside("count", "--measure")
@space_file_option
@runtime_options
@db_option
@json_option
def audit(
    table: Path,
    count: int | None,
    fit: int,
    policy: str,
    metric: str,
    corrected: Path | None,
    picture: Path | None,
    strict: bool,
    held: float,
    seed: int,
    space_name: str | None,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Hold the sums of TABLE (a native LUT file) against whole networks that were measured, and correct them.

    Takes every network of the table's space that the database holds for the table's device and runtime. A network's
    latency is scale × sum + offset; both are fitted on a few networks and judged on the others.
    """
    from ..costmodels.lut import Lut
    from ..costmodels.lut_audit import corrected_table
    from ..db import Store

    if corrected is not None and metric != "latency":
        raise UsageError("a table holds a correction of latencies only", remedy="leave out -o, or --metric energy")
    read = Lut.load(table)
    space = space_of(read, space_name)
    read.require(space)
    with Store(db_url) as store:
        if count is not None:
            _measure(store, read, space, count, seed, runtime_name, threads, as_json)
        found = _audited(store, read, space, metric, policy, fit, seed)
    if picture is not None:
        _draw(found, read, picture)
    if corrected is not None:
        corrected_table(read, found.audit, seed).save(corrected)
    _tell(found, read, metric, [path for path in (corrected, picture) if path is not None], as_json)
    share = found.audit.corrected.within_5
    if strict and share < held:
        raise GateError(f"{percent(share)} of the judged networks are within 5 %; {percent(held)} were asked for")


def _measure(
    store: Store,
    read: Lut,
    space: Space,
    count: int,
    seed: int,
    runtime_name: str,
    threads: int | None,
    as_json: bool,
) -> None:
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..costmodels.network_campaign import measure_networks, networks_over_range

    setting = LocalSetting.here(chosen_profile(runtime_name, threads, store.url))
    here = {"device": setting.device.identity, "runtime": setting.profile.profile_hash}
    there = {"device": read.provenance.get("device_identity"), "runtime": read.provenance["profile_hash"]}
    if other := [name for name, value in here.items() if value != there[name]]:
        whose = f"{read.provenance['device']}, {read.provenance['profile_label']}"
        raise UsageError(
            f"the table is of another {' and '.join(other)} ({whose}) than what would be measured here",
            remedy="measure on the table's own device and runtime (--runtime, --threads), or leave out --measure",
        )
    built = [space.build(arch) for arch in networks_over_range(read, space, count, seed)]
    with Talk(quiet=as_json) as talk:
        measure_networks(store, setting, space, built, talk, seed)


def _audited(store: Store, read: Lut, space: Space, metric: str, policy: str, fit: int, seed: int) -> _Found:
    from ..costmodels.energy_table import energy_table
    from ..costmodels.lut_attribution import suspects
    from ..costmodels.network_audit import audit_networks

    identity, profile = _origin(store, read)
    if metric == "energy":
        read, networks = energy_table(read, space.measurable), _energies(store, identity, profile, space, read)
    else:
        from ..costmodels.network_scale import networks_in_store

        networks = networks_in_store(store, identity, profile, space)
    asked = None if policy == "auto" else cast("Policy", policy)
    found = audit_networks(read, space, networks, policy=asked, fit=fit, seed=seed).audit
    blamed = suspects(read, space, networks.archs, networks.measured, found.correction, seed=seed)
    return _Found(found, networks.floor, blamed, _UNITS[metric])


def _origin(store: Store, read: Lut) -> tuple[str, RuntimeProfile]:
    """The device and the profile of a table, as the database knows them."""
    identity = read.provenance.get("device_identity")
    if not isinstance(identity, str):
        raise UsageError("the table does not say which device it is of", remedy="build it anew: edgecost lut build")
    profile = store.profile(str(read.provenance["profile_hash"]))
    if profile is None:
        label = read.provenance["profile_label"]
        raise GateError(
            f"the database {store.url} holds nothing measured with {label}",
            remedy="name the one that the table was built from (--db), or measure here: --measure 40",
        )
    return identity, profile


def _energies(store: Store, identity: str, profile: RuntimeProfile, space: Space, read: Lut) -> MeasuredNetworks:
    from ..costmodels.metrics.energy import load_energies
    from ..costmodels.network_scale import of_space

    known = load_energies(store, identity, profile, purposes=("network",))
    found = known.networks
    if found and f"of the {known.scope};" not in str(read.provenance.get("energy", "")):
        raise GateError(
            f"the networks' energies are of the {known.scope}, the table's are not",
            remedy="build the table anew from the same measurements: edgecost lut build",
        )
    return of_space(space, [(one.workload, one.energy_mj, one.sessions_mj) for one in found])


def _draw(found: _Found, read: Lut, picture: Path) -> None:
    from ..costmodels.audit_picture import audit_svg
    from ..costmodels.files import write_atomically

    title = f"{read.provenance['space']} on {read.provenance['device']}, {read.provenance['profile_label']}"
    write_atomically(picture, audit_svg(found.audit, title, found.unit))


def _tell(found: _Found, read: Lut, metric: str, files: list[Path], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "space": read.provenance["space"],
                "metric": metric,
                "unit": found.unit,
                **_in_unit(found.audit.document(), found.unit),
                "repeatability_floor": None if found.floor is None else asdict(found.floor),
                "suspects": [asdict(one) for one in found.suspects],
                "files": [str(path) for path in files],
            }
        )
        return
    device = read.provenance.get("device_description", read.provenance["device"])
    click.echo(f"{read.provenance['space']} on {device}, {read.provenance['profile_label']}: {metric}\n")
    _print_bias(found.audit)
    _print_correction(found)
    _print_worst(found.audit.worst[:_SHOWN], found.unit)
    _print_suspects(found)
    for path in files:
        click.echo(f"  {path}")


def _in_unit(value: dict[str, Json], unit: str) -> dict[str, Json]:
    """The same document with the names of its fields ending in its unit."""
    if unit == "ms":
        return value
    return cast("dict[str, Json]", _renamed(value))


def _renamed(value: Json) -> Json:
    if isinstance(value, dict):
        return {re.sub("_ms$", "_mj", key): _renamed(item) for key, item in value.items()}
    return [_renamed(item) for item in value] if isinstance(value, list) else value


def _print_bias(audit: LutAudit) -> None:
    click.echo(
        f"{len(audit.networks)} whole networks. Sum of the table against measured: median {audit.bias_percent:+.2f} %"
        f" (MAD {audit.mad_percent:.2f} %, 90 % between {audit.low_percent:+.2f} and {audit.high_percent:+.2f} %)"
    )


def _print_correction(found: _Found) -> None:
    audit, correction = found.audit, found.audit.correction
    terms = []
    if "scale" in correction.policy:
        terms.append(f"factor {correction.scale:.4f}{_ends(correction.scale_lo, correction.scale_hi, '')}")
    if "offset" in correction.policy:
        ends = _ends(correction.offset_lo_ms, correction.offset_hi_ms, f" {found.unit}")
        terms.append(f"constant {correction.offset_ms:+.4g} {found.unit}{ends}")
    why = "as asked for" if audit.choice is None else "chosen by leave-one-out"
    told = ", ".join(terms) or "as it is"
    click.echo(f"Correction '{correction.policy}' ({why}), from {correction.networks} networks: {told}")
    if audit.choice is not None:
        tried = ", ".join(f"{policy} {error * 100:.2f} %" for policy, error in audit.choice.errors.items())
        click.echo(f"  left-out error of each: {tried}")
    judged = f"{audit.judged_by}, {audit.corrected.n} networks"
    rows = [("sum as it is", audit.uncorrected), (f"corrected ({judged})", audit.corrected)]
    if found.floor is not None:
        rows.append(("measured again in another process", found.floor))
    print_table(
        "",
        ["", "within 2 %", "5 %", "10 %", "mean error", "worst", "Spearman ρ"],
        [
            [
                *(name, percent(row.within_2, 0), percent(row.within_5, 0), percent(row.within_10, 0)),
                *(f"{row.mape_percent:.2f} %", f"{row.worst_percent:.2f} %"),
                "–" if row.spearman is None else f"{row.spearman:.3f}",
            ]
            for name, row in rows
        ],
    )


def _ends(low: float | None, high: float | None, unit: str) -> str:
    return "" if low is None or high is None else f" (90 %: {low:.4g} … {high:.4g}{unit})"


def _print_worst(worst: tuple[AuditedNetwork, ...], unit: str) -> None:
    print_table(
        "Worst of the judged networks",
        ["architecture", "Σ LUT", "corrected", "measured", "error"],
        [
            [
                one.arch,
                *(f"{value:.4g} {unit}" for value in (one.sum_ms, one.priced_ms, one.measured_ms)),
                f"{one.error_percent:+.2f} %",
            ]
            for one in worst
        ],
    )


def _print_suspects(found: _Found) -> None:
    from ..costmodels.lut_attribution import NETWORKS_MIN

    if len(found.audit.networks) < NETWORKS_MIN:
        click.echo(f"Fewer than {NETWORKS_MIN} networks: what single layers are off by cannot be told.")
        return
    if not found.suspects:
        click.echo("No layer stands out: nothing that chance would not do as well explains what is left.")
        return
    click.echo("What stands out (of what is left after the correction):")
    for one in found.suspects:
        click.echo(
            f"  {one.name}: takes {one.factor:.2f} ± {one.error:.2f} of what the corrected table says;"
            f" explains {percent(max(one.explained, 0.0), 0)} of the squared error of left-out networks"
        )
