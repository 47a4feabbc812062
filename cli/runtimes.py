"""``edgecost runtime``: the runtimes that have a name, and what each one is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..profiler.errors import EdgecostError
from .options import CpusType, OptionType, db_option, json_option
from .output import print_json, print_table

if TYPE_CHECKING:
    from ..profiler.records import RuntimeProfile
    from ..profiler.runtimes import NamedRuntime


@click.group()
def runtime() -> None:
    """Runtimes by name: list them, look into one, add your own."""


@runtime.command("list", epilog="Example:  edgecost runtime list")
@db_option
@json_option
def list_runtimes(db_url: str | None, as_json: bool) -> None:
    """The built-in runtimes and your own, and which of them can be used on this machine."""
    from ..costmodels.named_runtimes import list_runtimes as look_up

    found = look_up(db_url)
    if as_json:
        rows = [
            {
                **one.named.document(),
                "built_in": one.is_built_in,
                "version": one.version,
                "usable": not one.problem,
                "problem": one.problem or None,
            }
            for one in found
        ]
        print_json({"runtimes": rows})
        return
    print_table(
        "Runtimes: give one to a command with --runtime NAME",
        ["name", "what it is", "version", "usable here"],
        [
            [
                one.named.name,
                one.named.summary if one.is_built_in else f"{one.named.summary} (your own)",
                one.version or "–",
                one.problem or "yes",
            ]
            for one in found
        ],
        left=4,
    )
    if any(one.problem for one in found):
        click.echo("A provider that is missing may be in another build: edgecost runtime add NAME --interpreter PATH")


@runtime.command(epilog="Example:  edgecost runtime show ort")
@click.argument("name")
@db_option
@json_option
def show(name: str, db_url: str | None, as_json: bool) -> None:
    """What the runtime NAME is on this machine: the profile that measurements with it belong to.

    Where it cannot be used, its definition is shown, and the exit code is that of the reason.
    """
    from ..costmodels.named_runtimes import find_runtime
    from ..profiler.runtimes import resolve

    named = find_runtime(name, db_url)
    profile: RuntimeProfile | None = None
    problem: EdgecostError | None = None
    try:
        profile = resolve(named)
    except EdgecostError as error:
        problem = error
    if as_json:
        print_json({**_document(named, profile), "problem": None if problem is None else problem.message})
    else:
        _print(named, profile)
    if problem is not None:
        raise problem


@runtime.command(epilog="Example:  edgecost runtime add ort-old --base ort --interpreter ~/ort-1.20/bin/python")
@click.argument("name")
@click.option("--base", metavar="NAME", default="ort", show_default=True, help="The runtime that it is made from.")
@click.option("--threads", type=click.IntRange(min=1), help="Runtime threads.")
@click.option("--affinity", type=CpusType(), help="CPUs to pin the runner to: 0,1.  [default: the last ones]")
@click.option("--graph-level", metavar="NAME", help="Graph optimisation: ORT_ENABLE_BASIC; for TVM the pipeline.")
@click.option(
    "--option", "options", multiple=True, type=OptionType(), help="A session configuration entry. Repeat for several."
)
@click.option("--interpreter", metavar="PATH", help="The Python that has the runtime.  [default: edgecost's own]")
@click.option("--provider", metavar="NAME", help="Execution provider, like CUDAExecutionProvider.")
@click.option("--precision", metavar="NAME", help="fp32, fp16, int8-qdq or int8-qoperator.")
@click.option("--summary", metavar="TEXT", help="What it is, for lists.")
@click.option("--unchecked", is_flag=True, help="Store it also when it cannot be used on this machine.")
@db_option
@json_option
def add(
    name: str,
    base: str,
    threads: int | None,
    affinity: tuple[int, ...] | None,
    graph_level: str | None,
    options: tuple[tuple[str, str], ...],
    interpreter: str | None,
    provider: str | None,
    precision: str | None,
    summary: str | None,
    unchecked: bool,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Store a runtime of your own as NAME: another one with the options that are given.

    What is not given stays as --base has it. The runtime is looked up first: exit code 4 when its interpreter cannot be
    started or has no such runtime, 2 when the provider, the threads or the CPUs are not there.
    """
    from ..costmodels.named_runtimes import Changes, add_runtime, find_runtime

    changes = Changes(summary, provider, threads, precision, graph_level, options, interpreter, affinity or ())
    named = changes.applied(find_runtime(base, db_url), name)
    profile = add_runtime(named, db_url, checked=not unchecked)
    if as_json:
        print_json(_document(named, profile))
        return
    _print(named, profile)
    click.echo(f"Stored. Use it: edgecost campaign run --space ofa-mobilenetv3 --runtime {name}")


@runtime.command(epilog="Example:  edgecost runtime remove ort-old")
@click.argument("name")
@db_option
@json_option
def remove(name: str, db_url: str | None, as_json: bool) -> None:
    """Forget your own runtime NAME. What was measured with it stays."""
    from ..costmodels.named_runtimes import remove_runtime

    remove_runtime(name, db_url)
    if as_json:
        print_json({"removed": name})
        return
    click.echo(f"{name} is removed. Measurements made with it stay: they belong to its profile, not to its name.")


def _document(named: NamedRuntime, profile: RuntimeProfile | None) -> dict[str, object]:
    return {
        "name": named.name,
        "definition": named.document(),
        "profile": None if profile is None else profile.document(),
        "label": None if profile is None else profile.label,
        "profile_hash": None if profile is None else profile.profile_hash,
    }


def _print(named: NamedRuntime, profile: RuntimeProfile | None) -> None:
    found: NamedRuntime | RuntimeProfile = profile or named
    click.echo(f"{named.name}: {named.summary}")
    if profile is not None:
        click.echo(f"  here         {profile.label}")
        click.echo(f"  hash         {profile.profile_hash}")
    click.echo(f"  runtime      {found.runtime} {profile.version if profile else '(version not known)'}")
    click.echo(f"  provider     {found.provider}")
    click.echo(f"  threads      {found.threads}, pinned to ", nl=False)
    click.echo(f"CPU {', '.join(map(str, found.affinity))}" if found.affinity else "the last CPUs of this process")
    click.echo(f"  precision    {found.precision}")
    click.echo(f"  graph level  {found.graph_level}")
    click.echo(f"  interpreter  {found.interpreter or 'the one that runs edgecost'}")
    for key, value in found.options:
        click.echo(f"  option       {key}={value}")
