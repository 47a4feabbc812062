"""A recorded board: what its files and programs said, as one reviewable document; it says nothing of what that means.

``unpack`` makes a tree that everything with a ``root`` reads as if it were the board, ``recorded_commands`` answers for
its programs. Bytes that are no UTF-8 (a device tree has some) travel as surrogates, NUL bytes as ``\\u0000``.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...profiler.errors import RecordingRefused
from ...profiler.records import Json
from ..commands import Answer, RecordedCommands

#: Of the document. There is one version so far.
FORMAT = "edgecost-board-1"
_REMEDY = "record the board anew: edgecost record-board -o FILE"


@dataclass(frozen=True)
class BoardRecording:
    """A board as it was at one moment.

    Attributes:
        machine: as ``uname -m`` says it.
        files: contents by absolute path; never of a path that goes through a link.
        folders: empty ones that matter.
        links: targets as the board has them; relative ones only, and none that leads out of the tree.
        unreadable: files that are there and may not be read; they have no contents here.
        commands: answers by what was asked.
        expected: what a test expects of this board.
    """

    name: str
    machine: str
    kernel_release: str
    files: Mapping[str, str]
    folders: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    unreadable: Sequence[str] = ()
    commands: Mapping[tuple[str, ...], Answer] = field(default_factory=dict)
    expected: Mapping[str, Json] = field(default_factory=dict)

    def recorded_commands(self) -> RecordedCommands:
        """The board's programs; what was not recorded is not there."""
        return RecordedCommands(self.commands)

    def unpack(self, folder: Path) -> Path:
        """Write the board's files into a folder and return it.

        Raises:
            RecordingRefused: a path or a link leads out of the folder, or two say different things of one place.
        """
        for link, target in self.links.items():
            _check_link(link, target)
        places = {path: _inside(folder, path) for path in (*self.files, *self.folders, *self.unreadable, *self.links)}
        for path in self.folders:
            places[path].mkdir(parents=True, exist_ok=True)
        try:
            for path in (*self.files, *self.unreadable, *self.links):
                places[path].parent.mkdir(parents=True, exist_ok=True)
            for path, text in self.files.items():
                places[path].write_bytes(text.encode(errors="surrogateescape"))
            for path in self.unreadable:
                places[path].touch()
                places[path].chmod(0)
            # Last, so that nothing is ever written through one.
            for link, target in self.links.items():
                places[link].symlink_to(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            where = error.filename or ""
            raise RecordingRefused(f"{self.name}: a path stands for two things: {where}", remedy=_REMEDY) from error
        return folder

    def to_json(self) -> str:
        """The document, a line for each file."""
        document = {
            "format": FORMAT,
            "name": self.name,
            "machine": self.machine,
            "kernel_release": self.kernel_release,
            "files": dict(sorted(self.files.items())),
            "folders": sorted(self.folders),
            "links": dict(sorted(self.links.items())),
            "unreadable": sorted(self.unreadable),
            "commands": [
                {"argv": list(argv), "stdout": one.stdout, "stderr": one.stderr, "returncode": one.returncode}
                for argv, one in sorted(self.commands.items())
            ],
            "expected": dict(self.expected),
        }
        return json.dumps(document, indent=1) + "\n"


def load(path: Path) -> BoardRecording:
    """Read a document.

    Raises:
        RecordingRefused: there is none, or it is not one.
    """
    try:
        document: object = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordingRefused(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RecordingRefused(f"{path} is no JSON document: {error}", remedy=_REMEDY) from error
    try:
        return _parsed(document)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordingRefused(f"{path} is no recording of a board: {error}", remedy=_REMEDY) from error


def _parsed(document: object) -> BoardRecording:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f'"format" is not "{FORMAT}"')
    expected = document.get("expected", {})
    if not isinstance(expected, dict):
        raise TypeError('"expected" is no object')
    return BoardRecording(
        name=_text(document, "name"),
        machine=_text(document, "machine"),
        kernel_release=_text(document, "kernel_release"),
        files=_texts(document, "files"),
        folders=_list(document, "folders"),
        links=_texts(document, "links"),
        unreadable=_list(document, "unreadable"),
        commands=dict(_command(one) for one in document["commands"]),
        expected=expected,
    )


def _command(document: Mapping[str, object]) -> tuple[tuple[str, ...], Answer]:
    code = document["returncode"]
    if not isinstance(code, int):
        raise TypeError('"returncode" is no number')
    return tuple(_list(document, "argv")), Answer(_text(document, "stdout"), _text(document, "stderr"), code)


def _text(document: Mapping[str, object], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise TypeError(f'"{key}" is no text')
    return value


def _list(document: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = document[key]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f'"{key}" is no list of texts')
    return tuple(value)


def _texts(document: Mapping[str, object], key: str) -> dict[str, str]:
    value = document[key]
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise TypeError(f'"{key}" is no object of texts')
    return value


def _inside(folder: Path, path: str) -> Path:
    parts = path.split("/")
    if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") or "\0" in part for part in parts[1:]):
        raise RecordingRefused(f"{path!r} is no absolute path of a file", remedy=_REMEDY)
    return folder.joinpath(*parts[1:])


def _check_link(link: str, target: str) -> None:
    """Relative, ``..`` only at its beginning, where the folders are real ones, and never above the root."""
    parts = target.split("/")
    ups = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(link).lstrip("/"), target))
    if not target or target.startswith("/") or "\0" in target or ".." in parts[ups:] or reached.split("/")[0] == "..":
        raise RecordingRefused(f"the link {link!r} to {target!r} leads out of the board's tree", remedy=_REMEDY)
