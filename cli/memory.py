"""``edgecost campaign memory``: the peak memory of whole networks, and how one is told."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import EdgecostError
from .audit import files_of, networks_of
from .controls import control_option
from .options import INPUT_FILE, db_option, json_option, network_options, runtime_options, same_runtime, shape_option
from .output import Talk, megabytes, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.metrics.memory_campaign import MemoryCampaign
    from ..profiler.readings import PeakMemory

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@click.command(epilog="Example:  edgecost campaign memory --reference --space fbnet && edgecost train --metric memory")
@click.argument("models", type=INPUT_FILE, nargs=-1)
@shape_option
@network_options(20)
@click.option("--again", is_flag=True, help="Measure once more what the database knows already.")
@control_option
@runtime_options
@db_option
@json_option
def memory(
    models: tuple[Path, ...],
    shapes: Shapes,
    space_names: tuple[str, ...],
    networks: int,
    reference: bool,
    seed: int,
    again: bool,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> int:
    """Measure the peak memory of whole networks, a second or two each; what is measured is not measured again.

    MODELS are ONNX files. With nothing named, the networks that the database has a latency of. Memory does not add up,
    so there is nothing to be measured of kernels or blocks: `train --metric memory` learns from whole networks. On an
    NVIDIA GPU its memory is measured, too, and not learnt.
    """
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.metrics.memory_campaign import measure_networks, stored_networks
    from ..costmodels.named_runtimes import chosen_profile
    from ..db import Store

    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    with (
        tempfile.TemporaryDirectory(prefix="edgecost-") as scratch,
        Store(db_url) as store,
        Talk(quiet=as_json) as talk,
    ):
        wanted = [*files_of(models, shapes, Path(scratch)), *networks_of(space_names, networks, seed, reference)]
        wanted = wanted or stored_networks(store, setting)
        names = {one.graph_hash: one.name for one in wanted}
        found = measure_networks(wanted, store, setting, talk, again=again)
    if found.unsupported:
        remedy = "measure on Linux, on the CPU or on an NVIDIA GPU"
        raise EdgecostError(f"no peak memory here: {found.unsupported}", remedy=remedy)
    if as_json:
        rows = [{"graph": names[m.graph_hash], **_document(m.peak_memory, m.status.value)} for m in found.made]
        print_json({"device": setting.device.name, "profile": setting.profile.label, "networks": rows})
        return 1 if found.failed else 0
    _print(found, names, with_gpu=setting.profile.is_on_nvidia)
    if not setting.profile.is_on_nvidia:
        click.echo(f"Next: edgecost train --metric memory{same_runtime(runtime_name, threads)}")
    return 1 if found.failed else 0


def _document(reading: PeakMemory | None, outcome: str) -> dict[str, object]:
    return {"outcome": outcome, **memory_document(reading)}


def memory_document(reading: PeakMemory | None) -> dict[str, object]:
    """A peak memory as JSON."""
    return {} if reading is None else {**asdict(reading), "status": reading.status.value}


def _print(found: MemoryCampaign, names: dict[str, str], *, with_gpu: bool) -> None:
    rows = []
    for measurement in found.made:
        one = measurement.peak_memory
        outcome = measurement.status.value if one is None else one.status.value
        running, loading = (None, None) if one is None else (one.peak_bytes, one.loading_bytes)
        of_gpu = [megabytes(None if one is None else one.device_bytes)] if with_gpu else []
        rows.append([names[measurement.graph_hash], outcome, megabytes(running), megabytes(loading), *of_gpu])
    if rows:
        title = "Peak memory above a process that has opened the runtime and loaded nothing"
        of_gpu = ["on the GPU"] if with_gpu else []
        print_table(title, ["network", "outcome", "running", "loading", *of_gpu], rows, left=2)
    for why in found.untold if with_gpu else ():
        click.echo(why)
    failed = f" {len(found.failed)} failed: see `edgecost db info --failures`." if found.failed else ""
    click.echo(f"{found.chosen} networks, {found.reused} of them measured before.{failed}")
