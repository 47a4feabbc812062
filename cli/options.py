"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., object])

_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
DEFAULT_RUNTIME = "ort"
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, None: 1.0}


def json_option(command: Decorated) -> Decorated:
    """``--json``: one JSON object on standard output instead of tables."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")(command)


def db_option(command: Decorated) -> Decorated:
    """``--db``: where measurements are kept."""
    return click.option(
        "--db",
        "db_url",
        metavar="URL",
        envvar="EDGECOST_DB",
        show_envvar=True,
        help="Database: a file, sqlite:///… or postgresql://…; default: a file in your data directory.",
    )(command)


def space_file_option(command: Decorated) -> Decorated:
    """``--space`` beside a table, which names its own space."""
    return click.option(
        "--space", "space_name", metavar="FILE", help="The TOML file of the space, where it is not a built-in one."
    )(command)


def space_options(command: Decorated) -> Decorated:
    """``--space``, ``--resolution`` and ``--width``."""
    for option in (
        click.option("--width", type=float, help="Width multiplier.  [default: the space's own]"),
        click.option("--resolution", type=int, metavar="PX", help="Input size.  [default: the space's own]"),
        click.option(
            "--space", "space_name", required=True, metavar="NAME|FILE", help="Search space: see `edgecost space list`."
        ),
    ):
        command = option(command)
    return command


def network_options(count: int) -> Callable[[Decorated], Decorated]:
    """``--space``, ``--networks``, ``--reference`` and ``--seed``: networks that are made and not read from files.

    Args:
        count: of each space, unless something else is asked for.
    """

    def add(command: Decorated) -> Decorated:
        for option in (
            click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random networks."),
            click.option(
                "--reference",
                is_flag=True,
                help="The reference networks: MobileNets, ResNets, EfficientNet, ViT, BERT.",
            ),
            click.option(
                "--networks",
                type=click.IntRange(min=1),
                default=count,
                show_default=True,
                help="How many, for each space.",
            ),
            click.option(
                "--space", "space_names", metavar="NAME|FILE", multiple=True, help="Random networks of a search space."
            ),
        ):
            command = option(command)
        return command

    return add


def shape_option(command: Decorated) -> Decorated:
    """``--shape``: concrete input shapes."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        type=ShapeType(),
        help="Concrete shape of an input: NAME=1,3,224,224. Repeat for several inputs.",
    )(command)


def runtime_options(command: Decorated) -> Decorated:
    """``--runtime`` and ``--threads``: what a command measures with, or what it is asked about."""
    for option in (
        click.option("--threads", type=click.IntRange(min=1), help="Runtime threads.  [default: the runtime's own]"),
        click.option(
            "--runtime",
            "runtime_name",
            metavar="NAME",
            default=DEFAULT_RUNTIME,
            show_default=True,
            envvar="EDGECOST_RUNTIME",
            show_envvar=True,
            help="Runtime: see `edgecost runtime list`.",
        ),
    ):
        command = option(command)
    return command


def compute_options(command: Decorated) -> Decorated:
    """``--jobs`` and ``--dask``: where heavy work runs."""
    for option in (
        click.option(
            "--dask",
            "dask_address",
            metavar="tcp://HOST:PORT",
            help="Compute on the workers of this Dask scheduler.  [default: on this machine]",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            help="Processes on this machine.  [default: one for each CPU where there is much to do, else one]",
        ),
    ):
        command = option(command)
    return command


def same_runtime(runtime_name: str, threads: int | None) -> str:
    """The options, with a blank before each, that a following command needs to speak of the same runtime."""
    name = "" if runtime_name == DEFAULT_RUNTIME else f" --runtime {runtime_name}"
    return name if threads is None else f"{name} --threads {threads}"


class ShapeType(click.ParamType[tuple[str, tuple[int, ...]]]):
    """``input=1,3,224,224`` → ("input", (1, 3, 224, 224))."""

    name = "NAME=N,N,…"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        name, _, text = str(value).rpartition("=")
        try:
            shape = tuple(int(part) for part in text.split(","))
        except ValueError:
            shape = ()
        if not name or not shape or any(size <= 0 for size in shape):
            self.fail(f"{value!r} is no shape; write it like input=1,3,224,224", param, ctx)
        return name, shape


class OptionType(click.ParamType[tuple[str, str]]):
    """``session.x=1`` → ("session.x", "1")."""

    name = "KEY=VALUE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, text = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is no option; write it like session.intra_op.allow_spinning=0", param, ctx)
        return key, text


class CpusType(click.ParamType[tuple[int, ...]]):
    """``0,1`` → (0, 1)."""

    name = "N,N,…"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        parts = str(value).split(",")
        if not all(part.isascii() and part.isdigit() for part in parts) or len(set(parts)) < len(parts):
            self.fail(f"{value!r} is no list of CPUs; write it like 0,1", param, ctx)
        return tuple(int(part) for part in parts)


class BudgetType(click.ParamType[float]):
    """``90s``, ``5m``, ``2h`` → seconds."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = _BUDGET.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no time; write it like 90s, 5m or 2h", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class ShareType(click.ParamType[float]):
    """``10%`` or ``0.1`` → 0.1."""

    name = "SHARE"
    example = "10% or 0.1"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share; write it like {self.example}", param, ctx)
        return share


OUTPUT_FOLDER = click.Path(file_okay=False, path_type=Path)
INPUT_FILE = click.Path(path_type=Path)
