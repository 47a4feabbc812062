"""The command ``edgecost``: its sub-commands, its exit codes, and the one place where an error becomes a message.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 measured but unstable; 4 the runtime could not be started; 5 a check that
was asked for is not met; 6 the model cannot be used; 7 the database cannot be used; 8 a predictor, LUT or export is
refused; 9 a package is missing; 10 a file cannot be written; 11 the hub cannot be used; 12 workers cannot be
used; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

from ..profiler.errors import EdgecostError, MissingPackage
from . import (
    agents,
    arch_export,
    audit,
    campaigns,
    compare,
    completion,
    config,
    controls,
    doctor,
    fleet_devices,
    fleet_jobs,
    hubs,
    kernels,
    lut_advise,
    lut_audit,
    lut_diff,
    lut_export,
    lut_fill,
    lut_price,
    lut_search,
    luts,
    measurements,
    model_cards,
    models,
    moving,
    onboard,
    op_export,
    probe,
    profiles,
    proxies,
    quickstart,
    record_board,
    report,
    runtimes,
    spaces,
    split,
    stores,
    tune,
)
from . import compile as compiling

INTERRUPTED = 130


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog="The first minute:  edgecost quickstart",
)
@click.version_option(package_name="edgecost", prog_name="edgecost")
def cli() -> None:
    """What a neural network costs on the device in your hand, measured and predicted."""


for command in (
    arch_export.export_archs,
    lut_advise.advise,
    lut_audit.audit,
    lut_diff.diff,
    lut_export.export,
    lut_export.list_formats,
    lut_fill.fill,
    lut_price.price,
    lut_search.search,
    op_export.export_ops,
):
    luts.lut.add_command(command)
for command in (measurements.show, moving.export, moving.import_, moving.merge):
    stores.db.add_command(command)
for command in (
    quickstart.quickstart,
    profiles.profile,
    probe.probe,
    kernels.kernels,
    compare.compare,
    report.report,
    audit.audit,
    runtimes.runtime,
    tune.tune,
    compiling.compile_model,
    models.train,
    models.predict,
    split.split,
    model_cards.models,
    proxies.simulate,
    proxies.proxy,
    onboard.onboard,
    onboard.price,
    spaces.space,
    campaigns.campaign,
    hubs.hub,
    fleet_devices.devices,
    fleet_jobs.jobs,
    luts.lut,
    stores.db,
    agents.agent,
    controls.control,
    doctor.doctor,
    record_board.record_board,
    config.config,
    completion.completion,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no traceback leaves here for a mistake of the user's."""
    _say_what_can_be_said()
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments), prog_name="edgecost", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _say("Interrupted. What was measured is kept; the same command goes on from there.", INTERRUPTED)
    except EdgecostError as error:
        remedy = f"\n  {_sentence(error.remedy)}" if error.remedy else ""
        return _say(f"Error: {error.message}{remedy}", error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "edgecost":
            raise
        extra = "hub" if package in ("fastapi", "starlette", "uvicorn") else "host"
        return _say(
            f"Error: this command needs the package {package}: pip install 'edgecost[{extra}]'",
            MissingPackage.exit_code,
        )
    except BrokenPipeError:
        # The reader of a pipe went away (`edgecost … | head`): nothing more can be said to it, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EdgecostError.exit_code
    except OSError as error:
        if "libgomp" not in str(error):
            raise
        return _say(
            "Error: LightGBM needs the system library libgomp\n  On Debian and Ubuntu: apt install libgomp1",
            MissingPackage.exit_code,
        )
    return code if isinstance(code, int) else 0


def _say_what_can_be_said() -> None:
    """A terminal of another encoding than UTF-8 shows a question mark for what it lacks: no table ends in an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="replace")


def _sentence(remedy: str) -> str:
    """With a capital, unless it is a command to type."""
    return remedy if remedy.split(" ")[0] in ("pip", "edgecost", "apt") else f"{remedy[:1].upper()}{remedy[1:]}"


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code
