"""What the pages of the documentation speak of, made once for all of them: models, tables, predictors, and a store with
measurements of a virtual device. No number of it is a real machine's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx

from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.space import Numeric, Space
from edgecost.costmodels.space_file import load_space
from edgecost.devices.simulators import open_simulator
from edgecost.profiler.weights import complete
from tests.shown_commands import ROOT, Step, run_steps
from tests.trained_store import Trained

#: The design whose law tables have: some 10 ms for a network.
CORE = "core:peak_gflops=100"
TINY = ROOT / "tests" / "tiny.toml"
#: Takes one way or the other at If_3, and turns at Loop_7 as often as it is asked to.
WAYS = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1,64] x, int64 n) => (float[1,64] z) {
    m = ReduceMean <keepdims = 0> (x)
    zero = Constant <value = float {0.0}> ()
    warm = Greater (m, zero)
    y = If (warm) <
        then_branch = hot () => (float[1,64] t) {t = Relu (x)},
        else_branch = cold () => (float[1,64] t) {t = Neg (x)}
    >
    a = Abs (y)
    b = Sqrt (a)
    c = Exp (b)
    z = Loop (n, , c) <
        body = step (int64 i, bool going, float[1,64] h) => (bool still, float[1,64] after)
            {after = Add (h, x)  still = Identity (going)}
    >
}"""


@dataclass(frozen=True)
class Scene:
    """What a page finds in its folder, and which runtime a command takes that names none."""

    prepare: Callable[[Props, Path], None] = lambda props, folder: None
    runtime: str = "virtual-nano"
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"EDGECOST_RUNTIME": self.runtime, **self.settings}


def table_by_law(name: str | Path, file: Path, design: str = CORE) -> Path:
    """A complete table of a space, by the law of a simulated device."""
    space, simulator = load_space(str(name)), open_simulator(design)
    made = checksum_lut(space)
    cost = {cell.key: simulator.cost(space.workload(cell)).latency_ms for cell in space.measurable}
    replace(made, latency_ms=np.array([cost[key] for key in made.keys])).save(file)
    return file


def write_network(space: Space, arch: Numeric, file: Path) -> None:
    """The network of one architecture, with weights."""
    network = space.build(arch)
    file.write_bytes(complete(network.skeleton, network.weights))


@dataclass(frozen=True)
class Props:
    """Makes what a scene asks for; what takes long is made once and copied.

    Attributes:
        place: where copies come from.
        trained: gives a predictor for ONNX Runtime as it is here, and the store that it was trained from.
    """

    place: Path
    trained: Callable[[], Trained]

    def model(self, file: Path, space: str = "ofa-mobilenetv3") -> None:
        """A random network of a space."""
        opened = load_space(space)
        write_network(opened, opened.sample(1, seed=0), file)

    def ways(self, file: Path) -> None:
        """A model with an If and a Loop."""
        onnx.save(onnx.parser.parse_model(WAYS), file)

    def table(self, space: str, file: Path, design: str = CORE) -> None:
        """A complete table of a space; each is made once."""
        kept = self.place / f"{space}-{design}.lut.json"
        if not kept.exists():
            table_by_law(space, kept, design)
        shutil.copy(kept, file)

    def archs(self, space: str, count: int) -> Numeric:
        """Random architectures of a space: (count, positions)."""
        return load_space(space).sample(count, seed=0)

    def quickstart(self, folder: Path) -> None:
        """What ``make quickstart`` leaves, from numbers that are not measured."""
        shutil.copytree(self._quickstart, folder / "edgecost-quickstart")

    def measured(self, folder: Path) -> None:
        """A database with the cells and some networks of ofa-mobilenetv3 on a virtual Nano, and a predictor of it."""
        shutil.copytree(self._measured, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".bin", "*.onnx"))

    @cached_property
    def _quickstart(self) -> Path:
        folder = self.place / "quickstart"
        folder.mkdir()
        self.table("ofa-mobilenetv3", folder / "ofa-mobilenetv3-w1-224.lut.json")
        shutil.copytree(self.trained().folder, folder / "predictor")
        table = Lut.load(folder / "ofa-mobilenetv3-w1-224.lut.json")
        archs = self.archs("ofa-mobilenetv3", 1000)
        # The cheapest, as in a quickstart; on the machine of README it is the one that is second by this law.
        write_network(table.space, archs[np.argsort(table.price(archs))[1]][None], folder / "example.onnx")
        return folder

    @cached_property
    def _measured(self) -> Path:
        folder = self.place / "measured"
        folder.mkdir()
        commands = """
edgecost campaign run --space ofa-mobilenetv3
edgecost lut build --space ofa-mobilenetv3 --out tables
edgecost lut audit tables/*.json --measure 10
edgecost train
"""
        code, printed = run_steps([Step("sh", commands)], folder, Scene().environment)
        assert code == 0, printed
        return folder
