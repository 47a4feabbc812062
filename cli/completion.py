"""``edgecost completion``: the line that makes a shell complete edgecost's commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(epilog="Example:  edgecost completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None, "the choice above offers only shells that click knows"
    click.echo(kind(context.find_root().command, {}, "edgecost", "_EDGECOST_COMPLETE").source())
