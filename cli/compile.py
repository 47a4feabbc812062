"""``edgecost compile``: a model as a library for this machine or a board, compiled ahead of time with TVM."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import INPUT_FILE, OUTPUT_FOLDER, db_option, json_option, shape_option
from .output import Talk, milliseconds, print_json

if TYPE_CHECKING:
    from ..costmodels.compilation import CompiledModel

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@click.command(
    "compile",
    epilog="Example:  edgecost compile model.onnx --runtime tvm-schedules --cpu cortex-a72 --threads 4 --out model-pi4",
)
@click.argument("model", type=INPUT_FILE)
@shape_option
@click.option("--runtime", "runtime_name", default="tvm", show_default=True, metavar="NAME", help="A TVM runtime.")
@click.option(
    "--cpu",
    default="host",
    show_default=True,
    metavar="NAME",
    help="cortex-a57 (Jetson Nano), cortex-a72 (Raspberry Pi 4), cortex-a76 (Raspberry Pi 5), host for this machine, "
    "or any name of LLVM's.",
)
@click.option("--triple", help="System that runs it.  [default: aarch64-linux-gnu for the boards above]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to run with.  [default: the runtime's own]")
@click.option("--precision", metavar="NAME", help="fp32, fp16, int8-qdq or int8-qoperator.  [default: the runtime's]")
@click.option("--out", "folder", type=OUTPUT_FOLDER, required=True, help="Folder to write; it is made.")
@db_option
@json_option
def compile_model(
    model: Path,
    shapes: Shapes,
    runtime_name: str,
    cpu: str,
    triple: str | None,
    threads: int | None,
    precision: str | None,
    folder: Path,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Compile MODEL ahead of time with TVM into a folder that is copied to a board and run there.

    The folder has the library with the weights inside (lib.so), what there is to know of it (artefact.json) and a
    script that times it with TVM's runtime alone (run.py). For another processor its cross compiler links the library.
    """
    from ..costmodels.compilation import compile_model as build
    from ..costmodels.compilation import for_cpu
    from ..costmodels.named_runtimes import find_runtime
    from ..profiler.model_file import read_model
    from ..profiler.precision.convert import convert
    from ..profiler.runtimes import resolve

    profile = resolve(for_cpu(find_runtime(runtime_name, db_url), cpu, triple), threads=threads, precision=precision)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch, Talk(quiet=as_json) as talk:
        talk.stage(f"compiling {model.name}")
        workload = read_model(model, dict(shapes), Path(scratch))
        # A model that is quantised already is no float32 network, and compiled as it is.
        workload = workload if profile.precision == "fp32" else convert(workload, profile.precision)
        result = build(workload, profile, folder)
    if as_json:
        print_json({"model": str(model), **_document(result)})
    else:
        _print(result)


def _document(result: CompiledModel) -> dict[str, object]:
    return {
        "folder": str(result.folder),
        "profile": result.profile.label,
        "target": dict(result.target),
        "compile_ms": dict(result.compile_ms),
        "library_bytes": result.library_bytes,
        "kernels": result.kernels,
        "tuned_kernels": result.tuned_kernels,
    }


def _print(result: CompiledModel) -> None:
    stages = ", ".join(f"{stage} {milliseconds(ms)}" for stage, ms in result.compile_ms.items())
    click.echo(f"compiled with {result.profile.label}")
    click.echo(f"  target   {', '.join(f'{key} {value}' for key, value in result.target.items())}")
    click.echo(f"  time     {milliseconds(sum(result.compile_ms.values()))}: {stages}")
    click.echo(f"  library  {result.library_bytes / 1e6:.2f} MB, {result.kernels} kernels", nl=False)
    click.echo(f", {result.tuned_kernels} of them tuned" if result.tuned_kernels else ", not tuned")
    click.echo(f"Next, on the machine that it is for, with TVM {result.profile.version}: python {result.folder}/run.py")
