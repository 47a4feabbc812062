"""What every format of operators must do, as tests: subclass ``OpFormatContract`` in pytest.

Nothing here imports pytest. ``tmp_path`` is pytest's fixture of that name.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...profiler.errors import GateError, UsageError
from ..arch_formats.costs import About
from ..planned_campaign import Narrator
from . import OpFormat
from .operators import Operator
from .prices import OpPrice
from .request import Request


@dataclass(frozen=True)
class ChecksumPrices:
    """Every operator costs the CRC-32 of its key in milliseconds: no two sets of operators have one sum.

    Attributes:
        lost: a part of the keys of operators that have no price; empty for none.
        salt: stands before each key, so that two precisions do not cost the same.
    """

    lost: str = ""
    salt: str = ""
    precision: str = "fp32"

    @property
    def about(self) -> About:
        """Of no device."""
        return About(
            device="checksum",
            source="checksums",
            precision=self.precision,
            created="2026-01-01T00:00:00+00:00",
            provenance={"profile": "no runtime"},
        )

    def price(self, operators: Sequence[Operator], narrator: Narrator) -> list[OpPrice]:
        """Of each; none for those that are lost."""
        found = []
        for operator in operators:
            narrator.step(operator.key)
            is_lost = bool(self.lost) and self.lost in operator.key
            known = OpPrice(self.latency_ms(operator), "measured")
            found.append(OpPrice(None, "unsupported", why="it is lost") if is_lost else known)
        return found

    def latency_ms(self, operator: Operator) -> float:
        """The checksum."""
        return float(zlib.crc32(f"{self.salt}{operator.key}".encode()) + 1)

    def fuses(self, pair: Operator) -> bool:
        """What follows a convolution or fully connected layer."""
        return "pair" in pair.key or pair.key.startswith("conv")


class OpFormatContract:
    """Override ``make_format``; ``make_request`` for a format that is made from models; ``lost`` too."""

    #: A part of the key of an operator that the table needs.
    lost: str = "conv"

    def make_format(self) -> OpFormat:
        """The format under test."""
        raise NotImplementedError

    def make_request(self) -> Request:
        """Something that the format can hold, at the prices of ``ChecksumPrices()``."""
        return Request(ChecksumPrices())

    def test_all_files_are_below_the_folder_and_the_side_file_is_last(self, tmp_path: Path) -> None:
        files = self.make_format().write(self.make_request(), tmp_path)
        assert sorted(files) == sorted(file for file in tmp_path.rglob("*") if file.is_file())
        assert files[-1].name == f"{files[0].name}.edgecost.json"

    def test_the_side_file_says_what_the_table_cannot(self, tmp_path: Path) -> None:
        *files, side = self.make_format().write(self.make_request(), tmp_path)
        document = json.loads(side.read_text(encoding="utf-8"))
        hashes = {str(file.relative_to(tmp_path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        assert document["sha256"] == hashes
        assert (document["written_for"], document["metric"]) == (self.make_format().name, "latency")
        assert document["unit"] == self.make_format().card.unit("latency")
        told = ("device", "precision", "created", "runtime", "batch", "rows")
        assert [name for name in told if not document[name]] == []

    def test_energies_are_said_to_be_energies_or_refused(self, tmp_path: Path) -> None:
        made, request = self.make_format(), replace(self.make_request(), metric="energy")
        if made.card.unit("energy") is None:
            assert "cannot hold energy" in _refusal(made, request, tmp_path, UsageError)
            assert list(tmp_path.iterdir()) == []
            return
        document = json.loads(made.write(request, tmp_path)[-1].read_text(encoding="utf-8"))
        assert (document["metric"], document["unit"]) == ("energy", made.card.unit("energy"))

    def test_a_row_without_a_price_is_listed_and_nothing_is_written(self, tmp_path: Path) -> None:
        request = replace(self.make_request(), prices=ChecksumPrices(lost=self.lost), by_bits={})
        assert "it is lost" in _refusal(self.make_format(), request, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_writing_again_gives_the_same_bytes(self, tmp_path: Path) -> None:
        first = [file.read_bytes() for file in self.make_format().write(self.make_request(), tmp_path)]
        again = [file.read_bytes() for file in self.make_format().write(self.make_request(), tmp_path)]
        assert first == again


def _refusal(made: OpFormat, request: Request, folder: Path, kind: type[GateError | UsageError] = GateError) -> str:
    try:
        made.write(request, folder)
    except kind as error:
        return error.message
    raise AssertionError("a table with gaps was written")
