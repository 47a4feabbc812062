"""Whether the sums of a table hold on this machine: the cells of a space and forty whole networks, audited.

Run it:  python benchmarks/lut_audit.py --space ofa-mobilenetv3 --networks 40 --fit 8

Cells and networks are measured as `edgecost quickstart` measures them. For each correction: what it is, and what it is
worth on the networks that had no part in the fit. `--keep` names a database that keeps what was measured, so that a run
that was stopped goes on.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from measuring import Silent, head, print_head, print_json

from edgecost import Store
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_attribution import suspects
from edgecost.costmodels.lut_audit import audit_sums
from edgecost.costmodels.lut_build import build_lut
from edgecost.costmodels.lut_correction import POLICIES, Policy
from edgecost.costmodels.network_campaign import measure_networks, networks_over_range
from edgecost.costmodels.network_scale import MeasuredNetworks, networks_in_store
from edgecost.costmodels.quickstart import PANEL_SESSIONS
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_campaign import measure_space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError, UsageError

MEANING = "none: sums of the table as they are; judged on networks that the correction was not fitted on"


def measure(store: Store, space: Space, networks: int, panel_sessions: int, seed: int) -> tuple[Lut, MeasuredNetworks]:
    """The table of the space and what was measured of its networks."""
    setting = LocalSetting.here()
    measure_space(store, setting, space, Silent(), panel_share=1.0, panel_sessions=panel_sessions, seed=seed)
    lut = build_lut(store, space, setting.device, setting.profile, setting.stage.environment.environment_hash, None)
    built = [space.build(arch) for arch in networks_over_range(lut, space, networks, seed)]
    measure_networks(store, setting, space, built, Silent(), seed)
    return lut, networks_in_store(store, setting.device.identity, setting.profile, space)


def audits(lut: Lut, space: Space, measured: MeasuredNetworks, fit: int, seed: int) -> dict[str, dict[str, object]]:
    """One audit for each policy and one for what leave-one-out chooses; the reason where one cannot be fitted."""
    sums = lut.price(measured.archs, corrected=False, space=space)
    names = [str(place) for place in range(len(sums))]
    found: dict[str, dict[str, object]] = {}
    wanted: tuple[Policy | None, ...] = (*POLICIES, None)
    for policy in wanted:
        try:
            audit = audit_sums(sums, measured.measured, names, policy=policy, fit=fit, seed=seed)
        except (GateError, UsageError) as error:
            found[policy or "auto"] = {"refused": error.message}
            continue
        blamed = suspects(lut, space, measured.archs, measured.measured, audit.correction, seed=seed)
        found[policy or "auto"] = {**audit.document(), "suspects": [asdict(one) for one in blamed]}
    return found


def run(arguments: argparse.Namespace) -> dict[str, object]:
    space = load_space(arguments.space, resolution=arguments.resolution)
    with (
        tempfile.TemporaryDirectory(prefix="edgecost-") as folder,
        Store(arguments.keep or Path(folder, "fresh.sqlite")) as store,
    ):
        lut, measured = measure(store, space, arguments.networks, arguments.panel, arguments.seed)
    floor = measured.floor
    return {
        **head(LocalSetting.here(), meaning=MEANING, space=space.name, resolution=space.resolution),
        "cells": len(lut),
        "networks": len(measured),
        "floor": None if floor is None else asdict(floor),
        "audits": audits(lut, space, measured, arguments.fit, arguments.seed),
    }


def print_audits(found: dict[str, dict[str, object]]) -> None:
    titles = ("correction", "factor", "constant ms", "n", "≤ 2 %", "≤ 5 %", "≤ 10 %", "mean", "worst", "ρ")
    print("".join(f"{title:>13s}" for title in titles))
    for name, audit in found.items():
        correction = audit.get("correction")
        if not isinstance(correction, dict):
            print(f"{name:>13s} {audit['refused']}")
            continue
        judged = correction["judged"]
        rho = "–" if judged["spearman"] is None else f"{judged['spearman']:.3f}"
        shares = [f"{judged[share]:.0%}" for share in ("within_2", "within_5", "within_10")]
        errors = [f"{judged[error]:.2f} %" for error in ("mape_percent", "worst_percent")]
        terms = [f"{correction['scale']:.4f}", f"{correction['offset_ms']:+.4g}"]
        cells = [name, *terms, str(judged["n"]), *shares, *errors, rho]
        print("".join(f"{cell:>13s}" for cell in cells))
    told = found["auto"].get("suspects")
    print(f"\nwhat stands out after the correction: {told or 'nothing'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="ofa-mobilenetv3", help="search space [default: ofa-mobilenetv3]")
    parser.add_argument("--resolution", type=int, help="input size [default: the space's own]")
    parser.add_argument("--networks", type=int, default=40, help="whole networks [default: 40]")
    parser.add_argument("--fit", type=int, default=8, help="networks of the fit [default: 8]")
    parser.add_argument(
        "--panel", type=int, default=PANEL_SESSIONS, help=f"further processes for each cell [default: {PANEL_SESSIONS}]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of networks and measurements [default: 0]")
    parser.add_argument("--keep", type=Path, help="database that keeps the measurements [default: a new one]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    document = run(arguments)
    if arguments.json:
        print_json(document)
        return
    found = document.pop("audits")
    assert isinstance(found, dict)
    print_head(document)
    print_audits(found)


if __name__ == "__main__":
    main()
