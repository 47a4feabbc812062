"""``edgecost audit``: how far the sum of kernels stands from the network, on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import UsageError
from .controls import control_option
from .options import INPUT_FILE, db_option, json_option, network_options, runtime_options, shape_option
from .output import Talk, milliseconds, percent, print_json, print_table
from .profiles import Shapes, control_flow_options, precision_option

if TYPE_CHECKING:
    from ..costmodels.additivity import AdditivityAudit, ExpectedAudit, KernelDifference
    from ..costmodels.control_flow import ControlFlow
    from ..costmodels.local_setting import LocalSetting
    from ..db import Store
    from ..profiler.workload import Workload

#: Kernels that the table of differences shows; --json holds them all.
_SHOWN = 15


@click.group()
def audit() -> None:
    """Check what predictions and tables stand on."""


@audit.command(epilog="Example:  edgecost audit additivity --space ofa-mobilenetv3 --networks 8")
@click.argument("models", type=INPUT_FILE, nargs=-1)
@shape_option
@network_options(8)
@control_option
@runtime_options
@precision_option
@control_flow_options
@db_option
@json_option
def additivity(
    models: tuple[Path, ...],
    shapes: Shapes,
    space_names: tuple[str, ...],
    networks: int,
    reference: bool,
    seed: int,
    runtime_name: str,
    threads: int | None,
    precision: str | None,
    branches: tuple[tuple[str, float], ...],
    trips: tuple[tuple[str, int], ...],
    db_url: str | None,
    as_json: bool,
) -> None:
    """Measure networks and each of their kernels alone, and compare.

    MODELS are ONNX files. With four networks or more a correction is fitted and judged on networks that it has not
    seen. With one, the table says which kernels the difference comes from. Each way through a MODEL's control flow is
    a row; --branch and --trips go to the MODELS that have the node.
    """
    from ..costmodels.control_flow import ControlFlow
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..db import Store

    if not (models or space_names or reference):
        raise UsageError("nothing to audit", remedy="give a MODEL.onnx, --space NAME or --reference")
    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url, precision))
    flow = ControlFlow(dict(branches), dict(trips))
    with (
        tempfile.TemporaryDirectory(prefix="edgecost-") as scratch,
        Store(db_url) as store,
        Talk(quiet=as_json) as talk,
    ):
        wanted = [*files_of(models, shapes, Path(scratch)), *networks_of(space_names, networks, seed, reference)]
        found, differences = _audited(wanted, store, setting, talk, flow)
    if as_json:
        print_json({"profile": setting.profile.label, **found.document(), "differences": _documents(differences)})
        return
    click.echo(f"{setting.device.description}, {setting.profile.label}\n")
    _print_audit(found, differences)


def _audited(
    wanted: list[Workload], store: Store, setting: LocalSetting, talk: Talk, flow: ControlFlow
) -> tuple[AdditivityAudit, tuple[KernelDifference, ...]]:
    """The audit, and where the difference comes from when one network was measured on one way."""
    from ..costmodels.additivity import audit_additivity, explain

    found = audit_additivity(wanted, store, setting, talk, control_flow=flow)
    if len(found.networks) > 1:
        return found, ()
    measured = [one for one in wanted if one.name == found.networks[0].model]
    return found, explain(measured[0], found, store, setting, control_flow=flow)


def files_of(models: tuple[Path, ...], shapes: Shapes, scratch: Path) -> list[Workload]:
    """ONNX files as workloads."""
    from ..profiler.model_file import read_model

    found = []
    for place, model in enumerate(models):
        # Copies with concrete shapes of two models of one name must not meet.
        folder = scratch / str(place)
        folder.mkdir()
        found.append(read_model(model, dict(shapes), folder))
    return found


def networks_of(space_names: tuple[str, ...], count: int, seed: int, reference: bool) -> list[Workload]:
    """The reference networks, and random ones of each space."""
    from ..costmodels.space_file import load_space
    from ..profiler.graphs.networks import REFERENCE_NETWORKS

    found = [make() for make in REFERENCE_NETWORKS.values()] if reference else []
    for name in space_names:
        space = load_space(name)
        found += [space.build(arch) for arch in space.sample(count, seed)]
    return found


def _print_audit(found: AdditivityAudit, differences: tuple[KernelDifference, ...]) -> None:
    _print_networks(found)
    if found.expected:
        _print_expected(found.expected)
    if differences:
        _print_differences(differences)
    _print_correction(found)


def _print_networks(found: AdditivityAudit) -> None:
    # Where every model has one way, a column of 100 % says nothing.
    shares = [[percent(one.probability)] if found.expected else [] for one in found.networks]
    rows = [
        [
            one.name,
            *share,
            f"{one.kernels}" + (f" ({one.missing} not measured)" if one.missing else ""),
            f"{one.weight_bytes / 1e6:.1f} MB",
            milliseconds(one.latency_ms),
            milliseconds(one.sum_ms),
            f"{one.sum_error:+.1%}",
            milliseconds(one.composed_ms),
            _signed(one.composed_error),
        ]
        for one, share in zip(found.networks, shares, strict=True)
    ]
    probability = ["probability"] if found.expected else []
    columns = ["network", *probability, "kernels", "weights", "end to end", "Σ kernels", "", "corrected", ""]
    print_table(f"{found.distinct_kernels} distinct kernels, each measured alone", columns, rows, left=1)


def _print_expected(expected: tuple[ExpectedAudit, ...]) -> None:
    rows = [
        [
            one.model,
            f"{one.ways}" + (f" ({one.missing} kernels not measured)" if one.missing else ""),
            milliseconds(one.latency_ms),
            milliseconds(one.sum_ms),
            _signed(one.sum_error),
            milliseconds(one.composed_ms),
            _signed(one.composed_error),
        ]
        for one in expected
    ]
    columns = ["network", "ways", "end to end", "Σ kernels", "", "corrected", ""]
    print_table("Expected: the mean of the ways by their probabilities", columns, rows, left=1)


def _signed(error: float | None) -> str:
    return "" if error is None else f"{error:+.1%}"


def _print_differences(differences: tuple[KernelDifference, ...]) -> None:
    rows = [
        [
            one.op,
            ", ".join(one.nodes[:2]),
            "?" if one.weight_bytes is None else f"{one.weight_bytes / 1e6:.2f} MB",
            milliseconds(one.inside_ms),
            milliseconds(one.alone_ms),
            "" if one.alone_ms is None else milliseconds(one.inside_ms - one.alone_ms),
        ]
        for one in differences[:_SHOWN]
    ]
    columns = ["kernel", "ONNX nodes", "weights", "in the network", "alone", "difference"]
    print_table("Where the difference comes from (in the network: shares by its profiler)", columns, rows, left=2)


def _print_correction(found: AdditivityAudit) -> None:
    composition = found.composition
    if found.composed is None:
        click.echo("Too few networks for a correction: four are needed to hold one out.")
        if found.expected:
            click.echo("The ways of one network are held out together: they share most of their kernels.")
        return
    click.echo(f"Correction over all {composition.networks}: {composition.terms()}")
    for label, one in (("Σ kernels as it is", found.plain), ("corrected, each network held out", found.composed)):
        if one is not None:
            click.echo(
                f"  {label}: mean error {one.mape_percent:.2f} %, worst {one.worst_percent:.2f} %,"
                f" within 2 / 5 / 10 %: {percent(one.within_2)} / {percent(one.within_5)} / {percent(one.within_10)}"
            )


def _documents(differences: tuple[KernelDifference, ...]) -> list[dict[str, object]]:
    from dataclasses import asdict

    return [asdict(one) for one in differences]
