"""``edgecost profile``: measure a model end to end and by kernel; and the options that are about one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..profiler.errors import UnstableMeasurement, UsageError
from ..profiler.records import VIRTUAL
from .controls import control_option
from .energy_output import energy_document, print_energy
from .memory_output import on_device
from .options import INPUT_FILE, BudgetType, db_option, json_option, runtime_options, shape_option
from .output import Talk, few, interval, megabytes, milliseconds, percent, print_json, print_table
from .parameters import FrameType, PercentType, ProbabilityType, TripsType
from .visit_output import print_visits

if TYPE_CHECKING:
    from ..costmodels.kernel_shares import KernelShare
    from ..costmodels.pipeline import PipelineRow
    from ..costmodels.profile_model import ModelProfile
    from ..profiler.energy.meter import Meter
    from ..profiler.records import Measurement, RuntimeProfile

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Decorated = TypeVar("Decorated", bound=Callable[..., object])

#: Kernels that a table shows; --json holds them all.
_SHOWN = 25
#: As in ``profiler.precision``, which is too heavy to import for a list of names.
PRECISIONS = ("fp32", "fp16", "int8-qdq", "int8-qoperator")


def precision_option(command: Decorated) -> Decorated:
    """``--precision``: convert the model first."""
    return click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        help="Convert the model first, with made-up scales.  [default: the runtime's own]",
    )(command)


def protocol_options(command: Decorated) -> Decorated:
    """``--preset``, ``--ci`` and ``--max-time``: how long to measure."""
    for option in (
        click.option("--max-time", "max_time_s", type=BudgetType(), help="Stop after this time: 90s, 5m."),
        click.option(
            "--ci", "target", type=PercentType(), help="Stop when the 95 % interval of the median is this narrow: 2%."
        ),
        click.option(
            "--preset",
            "preset_name",
            type=click.Choice(["quick", "standard", "careful"]),
            default="standard",
            show_default=True,
            help="Stop at an interval of 5 %, 2 % or 1 %, after 9, 20 or 40 visits at the least.",
        ),
    ):
        command = option(command)
    return command


def control_flow_options(command: Decorated) -> Decorated:
    """``--branch`` and ``--trips``: what a graph with If or Loop does not say."""
    for option in (
        click.option(
            "--trips",
            "trips",
            multiple=True,
            type=TripsType(),
            help="How often a Loop runs: NODE=10. Repeat for several.",
        ),
        click.option(
            "--branch",
            "branches",
            multiple=True,
            type=ProbabilityType(),
            help="Probability that an If takes its then-branch: NODE=0.3. Repeat for several.",
        ),
    ):
        command = option(command)
    return command


@click.command(epilog="Example:  edgecost profile model.onnx --shape input=1,3,224,224 --runtime tvm --ci 2%")
@click.argument("model", type=INPUT_FILE)
@shape_option
@runtime_options
@precision_option
@protocol_options
@control_flow_options
@click.option("--pipeline", is_flag=True, help="Measure what stands around an inference, too: loading, copies, steps.")
@click.option("--memory", is_flag=True, help="Measure the peak memory, too: while it runs, and while it is loaded.")
@click.option("--energy", is_flag=True, help="Measure the energy of a run, too, by the board's power meter.")
@click.option(
    "--meter", "meter_name", metavar="NAME", help="With --energy: another power meter, see `edgecost doctor`."
)
@click.option("--before", type=INPUT_FILE, help="With --pipeline: your own ONNX step before the model.")
@click.option("--after", type=INPUT_FILE, help="With --pipeline: your own ONNX step after the model.")
@click.option("--frame", type=FrameType(), help="With --pipeline: size of the camera's frame, 480x640.")
@control_option
@db_option
@click.option("--keep/--no-keep", default=True, show_default=True, help="Store the measurement in the database.")
@json_option
def profile(
    model: Path,
    shapes: Shapes,
    runtime_name: str,
    threads: int | None,
    precision: str | None,
    preset_name: str,
    target: float | None,
    max_time_s: float | None,
    branches: tuple[tuple[str, float], ...],
    trips: tuple[tuple[str, int], ...],
    pipeline: bool,
    memory: bool,
    energy: bool,
    meter_name: str | None,
    before: Path | None,
    after: Path | None,
    frame: tuple[int, int] | None,
    db_url: str | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Measure MODEL (an ONNX file) on this machine: end to end, and the share of each kernel."""
    from ..costmodels.control_flow import ControlFlow
    from ..costmodels.named_runtimes import chosen_profile
    from ..costmodels.pipeline import PipelineSteps
    from ..costmodels.profile_model import profile as measure
    from ..db import Store
    from ..profiler.protocol import preset

    settings = preset(preset_name, target=target, max_time_s=max_time_s)
    wants_pipeline = pipeline or before or after or frame
    with Talk(quiet=as_json) as talk:
        runtime = chosen_profile(runtime_name, threads, db_url, precision)
        talk.stage(f"measuring {model.name}")
        store = Store(db_url) if keep else None
        try:
            result = measure(
                model,
                shapes=dict(shapes),
                runtime=runtime,
                settings=settings,
                store=store,
                control_flow=ControlFlow(dict(branches), dict(trips)),
                pipeline=PipelineSteps(before, after, frame) if wants_pipeline else None,
                memory=memory,
                meter=_meter(runtime, energy, meter_name),
            )
        finally:
            if store is not None:
                store.close()
    if as_json:
        print_json(_profile_document(result))
    else:
        _print_profile(result)
    _fail_if_unstable(result)


def _meter(runtime: RuntimeProfile, wanted: bool, name: str | None) -> Meter | None:
    if not wanted:
        if name is not None:
            raise UsageError("--meter goes with --energy")
        return None
    from ..devices.virtual.door import meter_of

    return meter_of(runtime, name)


def _fail_if_unstable(result: ModelProfile) -> None:
    for path in result.paths:
        if path.measurement.status.value != "ok":
            raise UnstableMeasurement(
                f"measured, but {path.measurement.message}",
                remedy="stop other programs and try again; `edgecost doctor` says what disturbs",
            )


def _profile_document(result: ModelProfile) -> dict[str, object]:
    measurement, latency = result.measurement, result.measurement.latency
    return {
        "model": result.workload.name,
        "graph_hash": result.workload.graph_hash,
        "device": result.setting.device.description,
        "profile": result.setting.profile.label,
        "profile_hash": result.setting.profile.profile_hash,
        "status": measurement.status.value,
        "message": measurement.message,
        "latency": None if latency is None else asdict(latency),
        "call_overhead_ms": measurement.overhead_ms,
        "rejected_visits": measurement.rejected_visits,
        "conditions": dict(measurement.conditions),
        "is_emulated": result.is_emulated,
        "drift": result.drift,
        "expected_ms": result.expected_ms,
        "paths": [
            {
                "label": path.label,
                "probability": path.probability,
                "graph_hash": path.workload.graph_hash,
                "status": path.measurement.status.value,
                "latency": None if path.measurement.latency is None else asdict(path.measurement.latency),
            }
            for path in result.paths
        ],
        "kernels": [_share_document(share) for share in result.kernels],
        "pipeline": [asdict(row) for row in result.pipeline],
        "memory": None if result.memory is None else _memory_document(result.memory),
        "energy": None if result.energy is None else energy_document(result.energy),
    }


def _share_document(share: KernelShare) -> dict[str, object]:
    return {
        "name": share.name,
        "op": share.op,
        "kernel_hash": None if share.kernel is None else share.kernel.kernel_hash,
        "signature": None if share.kernel is None else share.kernel.signature,
        "outputs": share.outputs,
        "nodes": share.nodes,
        "share": share.share,
        "latency_ms": share.latency_ms,
    }


def _print_profile(result: ModelProfile) -> None:
    from ..costmodels.drift import DRIFT_LIMIT

    measurement, latency = result.measurement, result.measurement.latency
    assert latency is not None, "an attempt without a latency is raised as an error"
    click.echo(f"{result.workload.name} on {result.setting.device.description}")
    click.echo(f"with {result.setting.profile.label}")
    if result.is_emulated:
        click.echo("! this runtime has no 16-bit kernels for this CPU: it converts, and computes in 32 bits")
    if result.drift is not None and abs(result.drift) > DRIFT_LIMIT:
        than = "slower" if result.drift > 0 else "faster"
        click.echo(
            f"! this machine is {abs(result.drift):.0%} {than} than in its earlier sessions: heat, clock, or its host?"
        )
    if result.setting.profile.runtime == "tvm" and result.setting.profile.graph_level != "tuned":
        click.echo("! TVM without tuning says nothing of what TVM can do: edgecost tune, then --runtime tvm-tuned")
    click.echo(f"\n  median  {milliseconds(latency.median_ms)}   95 % within the session: ", nl=False)
    click.echo(interval(latency.lo_ms, latency.hi_ms))
    click.echo(f"  min     {milliseconds(latency.min_ms)}   p90 {milliseconds(latency.p90_ms)}", nl=False)
    click.echo(f"   p99 {milliseconds(latency.p99_ms)}")
    click.echo(
        f"  {latency.visits} visits, {latency.runs} runs; {measurement.rejected_visits} visits rejected;"
        f" an empty call takes {milliseconds(measurement.overhead_ms)}"
    )
    print_visits(measurement)
    click.echo()
    if len(result.paths) > 1:
        _print_paths(result)
    if result.memory is not None:
        _print_memory(result)
    if result.energy is not None:
        print_energy(result.energy)
    if result.pipeline:
        _print_pipeline(result.pipeline)
    if not result.kernels:
        click.echo("The runtime tells no times by kernel here; `edgecost kernels` lists the kernels.")
        return
    ranked = sorted(result.kernels, key=lambda share: -share.share)
    rows = [_share_row(share) for share in ranked[:_SHOWN]]
    whose = "of a virtual device, by its law; " if result.setting.profile.runtime == VIRTUAL else ""
    title = f"Kernels by share of the time ({len(rows)} of {len(ranked)}); {whose}times are shares of the median above"
    print_table(title, ["kernel", "ONNX nodes", "output", "share", "time"], rows, left=3)


def _share_row(share: KernelShare) -> list[str]:
    return [
        share.op,
        few(share.nodes) or share.name,
        " ".join("×".join(map(str, shape)) for shape in share.outputs),
        percent(share.share),
        milliseconds(share.latency_ms),
    ]


def _print_paths(result: ModelProfile) -> None:
    rows = []
    for path in result.paths:
        latency = path.measurement.latency
        rows.append(
            [
                path.label,
                percent(path.probability),
                path.measurement.status.value,
                milliseconds(None if latency is None else latency.median_ms),
            ]
        )
    print_table("Ways through the model's control flow", ["way", "probability", "status", "latency"], rows, left=1)
    click.echo(f"  expected: {milliseconds(result.expected_ms)}; kernels below are the likeliest way's\n")


def _memory_document(measurement: Measurement) -> dict[str, object]:
    reading = measurement.peak_memory
    outcome: dict[str, object] = {"outcome": measurement.status.value, "message": measurement.message}
    if reading is None:
        return outcome
    of_gpu = {name: one for name, one in measurement.conditions.items() if name == "device_memory"}
    return {**outcome, **asdict(reading), "status": reading.status.value, **of_gpu}


def _print_memory(result: ModelProfile) -> None:
    from ..costmodels.metrics.live_bytes import constant_bytes

    measurement = result.memory
    assert measurement is not None
    one = measurement.peak_memory
    if one is None or one.peak_bytes is None:
        why = measurement.message if one is None else one.message
        outcome = measurement.status if one is None else one.status
        told = outcome.value.replace("_", " ")
        click.echo(f"  memory  {told}: {why}")
        _print_device(measurement)
        return
    click.echo(f"  memory  {megabytes(one.peak_bytes)} at the peak of a run", nl=False)
    click.echo(f" ({megabytes(one.lo_bytes)} … {megabytes(one.hi_bytes)} in {one.repetitions} processes),", nl=False)
    click.echo(f" {megabytes(one.loading_bytes)} at the peak of loading")
    click.echo(f"          above a process of {megabytes(one.baseline_bytes)} that has loaded nothing;", nl=False)
    click.echo(f" {megabytes(one.overhead_bytes)} of it for any first model,", nl=False)
    click.echo(f" {megabytes(constant_bytes(result.paths[0].workload))} of weights;")
    click.echo(f"          loading leaves {megabytes(one.kept_bytes)} more until the allocator is told to trim")
    _print_device(measurement)


def _print_device(measurement: Measurement) -> None:
    told = on_device(measurement)
    click.echo(f"          {told}\n" if told else "")


def _print_pipeline(pipeline: tuple[PipelineRow, ...]) -> None:
    rows = [
        [
            row.step,
            milliseconds(row.median_ms),
            "" if row.lo_ms is None or row.hi_ms is None else interval(row.lo_ms, row.hi_ms),
            str(row.repetitions or ""),
            row.note,
        ]
        for row in pipeline
    ]
    print_table("Around the inference", ["step", "median", "95 %", "runs", "note"], rows, left=1)
