"""Finds ``edgecost …`` in shell and in running text, and holds it against the command line as it is. Nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from edgecost.cli.main import cli

#: What ends a command in a shell.
_ENDS = set("();<>|&")
_STARTS = set("();|&")
#: What a command may stand behind, beside those and assignments.
_BEFORE = ("sudo", "--", "do", "then", "until", "$")
_IN_TEXT = re.compile(r"`(edgecost [^`]+)`")


def commands_of(script: str) -> Iterator[list[str]]:
    """The words after each ``edgecost`` of a shell script."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] | None = None
        before = ""
        for word in lexer:
            if word == "edgecost" and words is None and (before in _BEFORE or set(before) <= _STARTS or "=" in before):
                words = []
            elif set(word) <= _ENDS:
                if words is not None:
                    # In `2>file` the number is the shell's.
                    yield words[:-1] if words and words[-1] == "2" and word.startswith(">") else words
                words = None
            elif words is not None:
                words.append(word)
            before = word
        if words is not None:
            yield words


def commands_in_text(page: str) -> Iterator[list[str]]:
    """The words after each ``edgecost`` in back quotes; what is left out there (…) ends a command."""
    for code in _IN_TEXT.findall(page.replace("\\|", "|")):
        for words in commands_of(code.replace("[", "").replace("]", "")):
            left_out = next((place for place, word in enumerate(words) if "…" in word), len(words))
            yield words[:left_out]


def check(words: list[str], *, is_whole: bool = True) -> None:
    """Let click parse a command.

    Args:
        is_whole: else what is missing is not asked for, and values may be placeholders such as N.

    Raises:
        click.UsageError: there is no such command or option, or a value is none of its kind.
    """
    command: click.Command = cli
    # Contexts inherit what the names of --help are, and click keeps the first that it is asked with.
    context = click.Context(cli, info_name="edgecost", **cli.context_settings)
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            raise click.UsageError(f"{context.command_path} has no command {rest[0]}")
        command, context = found, click.Context(found, info_name=rest.pop(0), parent=context)
    if isinstance(command, click.Group):
        if is_whole and rest not in (["--help"], ["--version"], ["-h"]):
            raise click.UsageError(f"{context.command_path} is no whole command")
        return
    try:
        command.make_context(command.name, rest, parent=context.parent)
    except click.exceptions.Exit:
        pass  # --help
    except (click.MissingParameter, click.BadOptionUsage) as error:
        if is_whole or isinstance(error, click.NoSuchOption):
            raise
    except click.BadParameter as error:
        # A file need not be there, and what a variable of the shell holds is not known.
        is_open = any("$" in word for word in words) or (error.param and isinstance(error.param.type, click.Path))
        if is_whole and not is_open:
            raise
