"""``edgecost probe``: what this device can do at best, measured once and read from the database afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .controls import control_option
from .options import db_option, json_option, runtime_options
from .output import Talk, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.device_probe import DeviceProbe, Reading

#: Characters of the longest bar.
_BAR = 32


@click.command(epilog="Example:  edgecost probe --runtime ort --threads 2")
@control_option
@runtime_options
@click.option("--refresh", is_flag=True, help="Measure again what the database knows already.")
@db_option
@json_option
def probe(runtime_name: str, threads: int | None, refresh: bool, db_url: str | None, as_json: bool) -> None:
    """Measure what this device can do at best: matrix products, memory, the cost of a call and of a node.

    Half a minute at most on two CPUs; a runtime that compiles takes longer. What the database knows of this device in
    its present environment is not measured again. Exit code 3 when the machine was too busy for any number.
    """
    from ..costmodels.device_probe import computed_in_fp32, is_stale, measure_probe, probe_of
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..db import Store

    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        earlier = probe_of(store, setting.device.identity, setting.profile)
        if earlier is not None and is_stale(earlier, setting):
            talk.note(f"this machine is not what it was when it was probed ({earlier.measured_at}): measuring again")
        found = measure_probe(store, setting, talk, refresh=refresh)
    in_fp32 = computed_in_fp32(found.profile)
    if as_json:
        description = setting.device.description
        print_json({"device": description, **found.document(), "computed_in_fp32": list(in_fp32)})
        return
    click.echo(f"{setting.device.description}, {found.profile.label}; measured at {found.measured_at}\n")
    _print_products(found)
    if in_fp32:
        click.echo(f"! this runtime converts {' and '.join(in_fp32)} to 32 bits here, and computes in those\n")
    _print_bandwidth(found)
    click.echo(f"An empty call takes {_microseconds(found.dispatch_us)}, each further node ", nl=False)
    click.echo(f"{_microseconds(found.node_us)}.")


def _print_products(found: DeviceProbe) -> None:
    counts = sorted({threads for _, threads in found.gemm_gflops})
    precisions = list(dict.fromkeys(precision for precision, _ in found.gemm_gflops))
    rows = []
    for precision in precisions:
        readings = (found.gemm_gflops.get((precision, threads)) for threads in counts)
        rows.append([precision, *("not measured" if one is None else _rate(one) for one in readings)])
    heads = [f"{threads} thread{'s' * (threads != 1)}" for threads in counts]
    print_table("Matrix products at best, 10⁹ operations per second", ["precision", *heads], rows, left=1)


def _print_bandwidth(found: DeviceProbe) -> None:
    most = max((one.value for one in found.bandwidth_gb_per_s.values() if one.value is not None), default=0.0)
    rows = [
        [_size(working_set), "" if one.value is None else "█" * max(1, round(_BAR * one.value / most)), _rate(one)]
        for working_set, one in found.bandwidth_gb_per_s.items()
    ]
    title = "Memory read and written by elementwise nodes, GB/s (10⁹ bytes)"
    print_table(title, ["working set", "", "GB/s"], rows, left=2)


def _rate(reading: Reading) -> str:
    """The value with its interval, or why there is none."""
    if reading.value is None:
        return reading.status.replace("_", " ")
    return f"{reading.value:.3g} ±{percent(reading.spread)}"


def _microseconds(reading: Reading) -> str:
    if reading.value is None:
        return f"– ({reading.status.replace('_', ' ')})"
    return f"{reading.value:.3g} µs (±{percent(reading.spread)})"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:g} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:g} KiB"
