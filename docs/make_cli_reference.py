"""Write ``reference/cli.md`` from the commands themselves: what ``--help`` says, at a fixed width.

Run it after a change of ``cli/``:  .venv/bin/python docs/make_cli_reference.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from edgecost.cli.main import cli

REFERENCE = Path(__file__).parent / "reference" / "cli.md"
WIDTH = 100
HEAD = """# The command line

Written by `docs/make_cli_reference.py`; do not edit. Data go to standard output, progress and notes to standard error.
`--json` prints one object with `schema_version`; units stand in its keys. Exit codes: [exit-codes.md](exit-codes.md).
"""


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """A command and everything below it, in the order of its own help: path, command, context."""
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.commands[name]
            inner = click.Context(child, info_name=name, parent=context, **child.context_settings)
            yield from commands(child, inner)


def all_commands() -> list[tuple[str, click.Command, click.Context]]:
    """Every command of edgecost."""
    settings = {**cli.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    return list(commands(cli, click.Context(cli, info_name="edgecost", **settings)))


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for path, command, context in all_commands():
        parts.append(f"\n## {path}\n\n```text\n{_help(command, context)}\n```\n")
    return "".join(parts)


def _help(command: click.Command, context: click.Context) -> str:
    return "\n".join(line.rstrip() for line in command.get_help(context).rstrip().splitlines())


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
