"""``edgecost control``: settings of a board that are applied by name and restored; and ``--control`` of others."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TypeVar

import click

from ..profiler.errors import UsageError
from .options import json_option
from .output import print_json, print_table

Returned = TypeVar("Returned")


def control_option(command: Callable[..., Returned]) -> Callable[..., Returned]:
    """``--control`` of a command that measures: apply a profile for as long as it runs.

    Without one, what a dead process left comes back before anything is measured.
    """
    return _with_control(command, "", "")


def control_option_beside(parameter: str, flag: str) -> Callable[[Callable[..., Returned]], Callable[..., Returned]]:
    """The same of a command that measures only where ``flag`` is given, whose value is the ``parameter``."""

    def add(command: Callable[..., Returned]) -> Callable[..., Returned]:
        return _with_control(command, parameter, flag)

    return add


def _with_control(command: Callable[..., Returned], parameter: str, flag: str) -> Callable[..., Returned]:
    @wraps(command)
    def controlled_command(*values: object, control_name: str | None, **options: object) -> Returned:
        if not flag or options.get(parameter):
            with _settings_for(control_name, is_here=options.get("selector") is None):
                return command(*values, **options)
        if control_name is not None:
            raise UsageError("--control is for measuring", remedy=f"give {flag}, too, or leave it out")
        return command(*values, **options)

    beside = f"With {flag}: apply" if flag else "Apply"
    return click.option(
        "--control",
        "control_name",
        metavar="NAME",
        help=f"{beside} a control profile meanwhile, see `edgecost control list`.",
    )(controlled_command)


@contextmanager
def _settings_for(name: str | None, *, is_here: bool) -> Iterator[None]:
    """The settings of this machine while it measures; where others measure they are left alone."""
    from ..devices.control import controlled, restore_leftover

    if name is None:
        if is_here and (told := restore_leftover()):
            click.echo(told, err=True)
        yield
        return
    if not is_here:
        raise UsageError(
            "--control is of this machine, and --device measures on others",
            remedy="on each board, as root: edgecost control apply NAME",
        )
    with _ending_as_errors_do(), controlled(name):
        yield


@contextmanager
def _ending_as_errors_do() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that goes away, end the command as an error does: what was changed comes back.

    Not where somebody chose otherwise: ``nohup`` ignores SIGHUP.
    """

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    ending = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]
    for each in ending:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in ending:
            signal.signal(each, signal.SIG_DFL)


@click.group()
def control() -> None:
    """Settings of a board (governor, power mode, clocks), applied by name and restored."""


@control.command("list", epilog="Example:  edgecost control list")
@json_option
def list_profiles(as_json: bool) -> None:
    """The control profiles, and what each would change on this board."""
    from pathlib import Path

    from ..devices.control import PROFILES

    found = []
    for profile in PROFILES.values():
        try:
            changes, problem = profile.plan(Path("/")).lines(), ""
        except UsageError as error:
            changes, problem = [], error.message
        found.append((profile, changes, problem))
    if as_json:
        rows = [
            {"name": profile.name, "summary": profile.summary, "changes": changes, "problem": problem or None}
            for profile, changes, problem in found
        ]
        print_json({"profiles": rows})
        return
    print_table(
        "Control profiles: give one to a command with --control NAME",
        ["name", "what it is", "changes here"],
        [
            [profile.name, profile.summary, problem or "\n".join(changes) or "nothing"]
            for profile, changes, problem in found
        ],
        left=3,
    )


@control.command("show", epilog="Example:  edgecost control show")
@json_option
def show_applied(as_json: bool) -> None:
    """Which profile is applied, and what will be restored."""
    from ..devices.control import show

    found = show()
    if as_json:
        files = {} if found is None else {f"/{path}": text for path, text in found.files.items()}
        print_json(
            {
                "applied": None if found is None else found.profile,
                "mode": None if found is None else found.mode,
                "files": files,
            }
        )
        return
    if found is None:
        click.echo("No control profile is applied: there is nothing to restore.")
        return
    click.echo(f"{found.profile} is applied. `edgecost control restore` brings back:")
    if found.mode is not None:
        click.echo(f"  nvpmodel -m {found.mode}")
    for path, text in found.files.items():
        click.echo(f"  /{path} ← {text}")


@control.command("apply", epilog="Example:  edgecost control apply governor-performance")
@click.argument("name")
@json_option
def apply_profile(name: str, as_json: bool) -> None:
    """Apply NAME until `edgecost control restore`; what was before is kept on the disk first."""
    from ..devices.control import apply

    apply(name, by_hand=True)
    if as_json:
        print_json({"applied": name})
        return
    click.echo(f"{name} is applied. Bring back what was before:  edgecost control restore")


@control.command("restore", epilog="Example:  edgecost control restore")
@click.option(
    "--leftover", is_flag=True, help="Only what a command that died left, or an earlier start of the machine."
)
@json_option
def restore_board(leftover: bool, as_json: bool) -> None:
    """Bring back what was before a profile was applied, by hand or by a command that died."""
    from ..devices.control import restore

    done = restore(leftover_only=leftover)
    if as_json:
        print_json({"restored": done.profile or None, "gone": [f"/{path}" for path in done.gone]})
        return
    if not done.profile:
        click.echo(
            "Nothing was left: there is nothing to restore."
            if leftover
            else "No control profile is applied: there is nothing to restore."
        )
        return
    click.echo(f"Restored to what was before {done.profile}.")
    for path in done.gone:
        click.echo(f"! /{path} is not there any more")


@control.command(epilog="Example:  edgecost control systemd > /etc/systemd/system/edgecost-restore.service")
@click.option("--profile", is_flag=True, help="The unit that applies a profile: edgecost-control@.service.")
def systemd(profile: bool) -> None:
    """Print a systemd unit of root's that restores what a profile left, before an agent without rights starts.

    With --profile the template that applies one at each start of the machine: its instance names the profile.
    """
    from ..devices.systemd_unit import not_of_root, own_command, profile_unit, restore_unit

    command = own_command()
    click.echo((profile_unit if profile else restore_unit)(command), nl=False)
    if (place := not_of_root(command)) is not None:
        click.echo(
            f"! {place} can be written by others than root, who would get root's rights by this unit.\n"
            "  Install edgecost where only root writes: python3 -m venv /opt/edgecost, as root",
            err=True,
        )
