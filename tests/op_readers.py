"""The smallest independent readers of tables of operators, written from their grammars alone.

They share nothing with edgecost. Pickles are opened by readers that know only what the grammar names.
"""

from __future__ import annotations

import io
import json
import pickle
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator, Rbf, interp1d

Conv = tuple[str, int, int, int, int, int, int, int]


class TinyNas:
    """``{type,batch,in,h,w,out,kernel,stride,fused} ms``: a class for (type, stride, fused, kernel)."""

    def __init__(self, file: Path) -> None:
        cells: dict[tuple[object, ...], list[tuple[int, int, float]]] = defaultdict(list)
        for line in file.read_text().split("\n")[:-1]:
            left, time = line.split()
            assert (left[0], left[-1]) == ("{", "}")
            kind, *texts = left[1:-1].split(",")
            batch, inner, high, wide, outer, kernel, stride, fused = map(int, texts)
            assert high == wide
            if high != 4 and float(time) >= 0:
                ratio = (0.0 if inner == 3 else int(inner / outer * 100) / 100) if kind == "Regular" else -1.0
                cells[((kind, stride, fused, kernel), batch, ratio)].append((outer, high, float(time)))
        self.cells = {
            cell: (
                LinearNDInterpolator([row[:2] for row in rows], [row[2] for row in rows]),
                NearestNDInterpolator([row[:2] for row in rows], [row[2] for row in rows], rescale=True),
            )
            for cell, rows in cells.items()
        }

    def batch_ms(self, query: Conv) -> float:
        """Type, stride, fused, kernel, batch, in, side, out; infinity where the class is not there."""
        kind, stride, fused, kernel, batch, inner, side, outer = query
        name = (kind, stride, fused, kernel)
        batches = sorted({cell[1] for cell in self.cells if cell[0] == name})
        if not batches:
            return float("inf")
        if batch in batches:
            return self._at(name, batch, inner, side, outer)
        values = [self._at(name, one, inner, side, outer) for one in batches]
        return float(interp1d(batches, values, fill_value="extrapolate")(batch))

    def _at(self, name: tuple[object, ...], batch: int, inner: int, side: int, outer: int) -> float:
        ratio = -1.0 if name[0] == "Depthwise" else 0.0 if inner == 3 else inner / outer
        if (name, batch, ratio) in self.cells:
            return self._cell((name, batch, ratio), outer, side)
        known = sorted(cell[2] for cell in self.cells if cell[:2] == (name, batch) and cell[2] > 0)
        values = [self._cell((name, batch, one), outer, side) for one in known]
        return float(interp1d(known, values, fill_value="extrapolate")(ratio))

    def _cell(self, cell: tuple[object, ...], outer: int, side: int) -> float:
        linear, nearest = self.cells[cell]
        found = float(linear([outer], [side])[0])
        return float(nearest([(outer, side)])[0]) if np.isnan(found) or found < 0 else found


class _Standing:
    """What the reader's own classes hold: the attributes of a pickle."""


def lut_table(content: bytes) -> dict[str, object]:
    """mobile_cv: operator and input shapes to the list of its latencies; biases are mirrored."""
    made: dict[str, type] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> type:
            assert module in ("mobile_cv.lut.lib.lut_schema", "mobile_cv.lut.lib.lut_ops")
            return made.setdefault(f"{module}.{name}", type(name, (_Standing,), {}))

    table = Unpickler(io.BytesIO(content)).load()
    assert type(table) is made["mobile_cv.lut.lib.lut_schema.LutTable"]
    found: dict[str, list[float]] = defaultdict(list)
    mirrored: dict[str, list[float]] = defaultdict(list)
    for item in vars(table)["items"]:
        assert type(item) is made["mobile_cv.lut.lib.lut_schema.LutItem"]
        described = vars(item)["op_info"]
        op, shapes = vars(described)["op"], [vars(shape)["shape"] for shape in vars(described)["input_shapes"]]
        info = vars(op)["info"]
        found[op_key(type(op).__name__, info, shapes)].append(vars(item)["latency"])
        if "bias" in info:
            mirrored[op_key(type(op).__name__, {**info, "bias": not info["bias"]}, shapes)].append(
                vars(item)["latency"]
            )
    return {**mirrored, **found}


def op_key(kind: str, info: dict[str, object], shapes: Sequence[tuple[int, ...]]) -> str:
    return repr((kind, sorted(info.items()), [tuple(shape) for shape in shapes]))


def lut_query(table: dict[str, object], keys: Sequence[str]) -> float:
    """The sum of the means; an operator that is not there is an assertion."""
    total = 0.0
    for key in keys:
        assert key in table, f"Op does not existed {key}"
        values = table[key]
        assert isinstance(values, list)
        total += sum(values) / len(values)
    return total


_MATCHED = ("op_type", "input_shapes", "input_dtypes", "device", "op_args")
_RECORD = {*_MATCHED, *(f"runtime_us_p{percent}" for percent in (0, 10, 50, 90, 100))}


def runtime_us(folder: Path, queries: Sequence[dict[str, object]], device: str) -> tuple[float, bool]:
    """runtime_lut: the sum of p50 of all operators that match, and whether all did."""
    lines = (folder / f"{device}-op_lut_database.json").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert all(set(record) == _RECORD for record in records)
    total, all_found = 0.0, True
    for query in queries:
        hits = [one for one in records if all(one[key] == {**query, "device": device}[key] for key in _MATCHED)]
        total += sum(hit["runtime_us_p50"] for hit in hits) / len(hits) if hits else 0.0
        all_found = all_found and bool(hits)
    return total, all_found


def netadapt_seconds(content: bytes, network: dict[str, tuple[int, int]]) -> float:
    """NetAdapt: a layer's latency at its channels, from a cubic surface where the pair is not there."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> type:
            raise AssertionError(f"the file names {module}.{name}")

    table = Unpickler(io.BytesIO(content)).load()
    total = 0.0
    for layer, pair in network.items():
        if layer not in table:
            raise ValueError(f"Layer name {layer} in network def not found in lookup table")
        known = table[layer]["latency"]
        if pair in known:
            total += known[pair]
        else:
            inner, outer = np.array(list(known)).T
            total += float(Rbf(inner, outer, np.array(list(known.values())), function="cubic")(*pair))
    return total


def haq_cost(file: Path, strategy: Sequence[tuple[int, int]]) -> float:
    """HAQ: a number of each layer at its bits; the first layer's activations are always asked for as -1."""
    table = np.load(file, allow_pickle=False)
    assert table.shape == (len(strategy), 8, 8)
    bits = [[*one] for one in strategy]
    bits[0] = [8, -1]
    return float(sum(table[layer, one[0] - 1, one[1] - 1] for layer, one in enumerate(bits)))


class NnMeter:
    """The folder that a registered entry names: models by the names of their files, and which pairs are fused."""

    def __init__(self, entry: Path) -> None:
        described = yaml.safe_load(entry.read_text())
        folder = Path(described["package_location"])
        wanted = {f"{name}.pkl" for name in described["kernel_predictors"]}
        assert wanted <= {file.name for file in folder.iterdir()}
        self.name = described["name"]
        self.models = {file.stem: _booster(file.read_bytes()) for file in folder.glob("*.pkl")}
        rules = json.loads((folder / "fusion_rules.json").read_text())
        named = [name.split("_")[1:] for name, rule in rules.items() if rule["obey"] and name.startswith("BF")]
        self.fusible = {tuple(pair) for pair in named}

    def predict(self, kernels: Sequence[tuple[str, Sequence[float]]]) -> float:
        """A kernel without a model counts nothing."""
        rows: dict[str, list[list[float]]] = defaultdict(list)
        for name, features in kernels:
            rows[name].append([*features])
        return float(sum(sum(self.models[name].predict(found)) for name, found in rows.items() if name in self.models))


def _booster(content: bytes):  # type: ignore[no-untyped-def]  # LightGBM has no types
    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            assert module.split(".")[0] in ("lightgbm", "collections", "builtins", "numpy")
            return super().find_class(module, name)

    return Unpickler(io.BytesIO(content)).load()
