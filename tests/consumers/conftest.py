"""The real packages that read what we write. `make test-consumers` has them all; `make test` skips what is absent."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.space import Space

#: Set by `make test-consumers`: there, what is absent is a failure.
REQUIRED = "EDGECOST_CONSUMERS_REQUIRED"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "search-with-a-live-table.md"

Consumer = Callable[[str], ModuleType]


@pytest.fixture
def consumer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Consumer:
    """Imports a module of a consumer, or skips."""
    monkeypatch.chdir(tmp_path)  # archai opens a log in the current folder when it is imported

    def load(name: str) -> ModuleType:
        if os.environ.get(REQUIRED):
            return importlib.import_module(name)
        return pytest.importorskip(name, reason=f"{name} is not installed; make test-consumers has it")

    return load


@pytest.fixture
def corrected() -> Callable[[Space], Lut]:
    """A table of any space whose sums are telling: no two subsets of its cells have one, and a correction beside."""
    return lambda space: checksum_lut(space, scale=0.5, offset_ms=3.0)


@pytest.fixture
def run_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, object]]:
    """Runs a block of the how-to page below a heading, in a folder that holds its table; the names it leaves."""

    def run(heading: str, lut: Lut | None, block: int = 0, **names: object) -> dict[str, object]:
        section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        code = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[block]
        monkeypatch.chdir(tmp_path)
        if lut is not None:
            (file,) = re.findall(r'Lut\.load\("([^"]+)"\)', code)
            lut.save(tmp_path / file)
        found = dict(names)
        exec(compile(code, str(PAGE), "exec"), found)
        return found

    return run
