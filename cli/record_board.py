"""``edgecost record-board``: this board as a document that a test can read, without its serial numbers."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("record-board", epilog="Example:  edgecost record-board -o my-board.json")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; without it, stdout.")
@click.option("--name", default="board", show_default=True, help="What the recording is called.")
def record_board(output: Path | None, name: str) -> int:
    """Write what this board's files and programs say, without serial numbers, MAC addresses and its host name.

    Read it before you hand it on: it is plain text.
    """
    from ..devices.boards.record import record_board as record
    from ..profiler.errors import OutputError

    recording = record(name)
    if output is None:
        click.echo(recording.to_json(), nl=False)
        return 0
    try:
        output.write_text(recording.to_json())
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"{output}: {len(recording.files)} files and {len(recording.commands)} answers of programs")
    return 0
