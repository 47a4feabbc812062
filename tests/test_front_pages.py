"""The commands of the pages that stand before all others run: README, boards, examples. Those of CONTRIBUTING exist."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.shown_commands import ROOT, blocks_of, play, steps_of
from tests.stage_props import Props, Scene


def recordings(props: Props, folder: Path) -> None:
    shutil.copytree(ROOT / "tests" / "boards", folder / "tests" / "boards")


def clone(props: Props, folder: Path) -> None:
    """A clone with its environment, after the quickstart."""
    props.quickstart(folder)
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)


def places_of_completion(_: Props, folder: Path) -> None:
    """Where shells look for scripts in a home, which is the folder's own."""
    for place in (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"):
        (folder / ".home" / "home" / place).mkdir(parents=True)


SCENES = {
    "README.md": Scene(Props.quickstart, runtime="ort"),
    "docs/boards.md": Scene(recordings, runtime="ort"),
    "docs/how-to/work-in-a-terminal.md": Scene(places_of_completion, runtime="ort"),
    "examples/README.md": Scene(clone, runtime="ort"),
}


@pytest.mark.parametrize("page", SCENES)
def test_the_commands_of_a_front_page_run(page: str, tmp_path: Path, props: Props) -> None:
    SCENES[page].prepare(props, tmp_path)
    play(steps_of(ROOT / page), tmp_path, SCENES[page].environment)


def test_every_target_of_make_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`make ([a-z-]+)", text)
        named += re.findall(r"^make ([a-z-]+)", "".join(one.body for one in blocks_of(text)), re.MULTILINE)
        assert set(named) <= targets, page.name
