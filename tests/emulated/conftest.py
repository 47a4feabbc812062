"""Where the files of emulated boards are; without them these tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulated.emulated_board import EmulatedBoard, boot


@pytest.fixture(scope="session")
def files() -> Path:
    """The folder that ``make_files`` made."""
    named = os.environ.get("EDGECOST_EMULATED_BOARDS")
    if not named:
        pytest.skip("emulated boards take QEMU and wheels for arm64: make test-boards")
    return Path(named)


@pytest.fixture
def booted(files: Path, tmp_path: Path) -> Callable[[str, str, str], EmulatedBoard]:
    """Boots a board by the name of its recording, its processor and its version of ONNX Runtime."""

    def made(name: str, cpu: str, onnxruntime: str) -> EmulatedBoard:
        folder = tmp_path / name
        folder.mkdir()
        return boot(files, folder, name, cpu, onnxruntime)

    return made
