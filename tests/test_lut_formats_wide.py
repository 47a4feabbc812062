"""APQ, TF-NAS, EfficientTDNN, HAT and HW-NAS-Bench on ImageNet, read by the smallest readers of their grammars.

The readers are written from the description of the networks, without the space files and the exporters.
"""

from __future__ import annotations

import ast
import json
import math
import pickle
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import yaml

from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_formats import LutFormat, lut_format
from edgecost.costmodels.lut_formats.contract import Arch, LutFormatContract, checksum_lut, without
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.spaces.cell import Cell
from edgecost.costmodels.spaces.coding import Numeric
from edgecost.profiler.errors import GateError, UsageError
from tests.hw_nas_bench_reader import keys_of

Lists = dict[str, list[int]]


@cache
def space_of(name: str) -> Space:
    return load_space(name)


class TestHwNasBenchFormatOnImageNet(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("hw-nas-bench")

    def make_space(self) -> Space:
        return space_of("fbnet-1984")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = pickle.loads(file.read_bytes())["fbnet"]
        (slot,) = [name for name, rows in table.items() if not math.isnan(next(iter(rows.values())))]
        return [sum(table[slot][key] for key in keys_of(cast("Sequence[int]", arch), "ImageNet")) for arch in archs]


def test_the_rows_of_both_data_sets_are_224_and_none_is_shared(tmp_path: Path) -> None:
    keys: list[str] = []
    for name in ("fbnet-1984", "fbnet-cifar"):
        folder = tmp_path / name
        folder.mkdir()
        file = lut_format("hw-nas-bench").write(checksum_lut(space_of(name)), space_of(name), folder)[0]
        keys.extend(pickle.loads(file.read_bytes())["fbnet"]["edgegpu_latency"])
    assert len(keys) == len(set(keys)) == 224


# APQ

_APQ = ((16, 24, 112, 2), (24, 40, 56, 2), (40, 80, 28, 2), (80, 96, 14, 1), (96, 192, 14, 2), (192, 320, 7, 1))


def apq_convolutions(arch: Lists) -> list[tuple[int, ...]]:
    """(input, output, side, kernel, stride, padding, groups) of the searched convolutions of a network."""
    found: list[tuple[int, ...]] = []
    for stage, (before, width, side, first) in enumerate(_APQ):
        depth = arch["d"][stage] if stage < 5 else 1
        for place in range(depth):
            layer = 4 * stage + place
            channels = before if place == 0 else width
            here, stride = (side, first) if place == 0 else (side // first, 1)
            kernel, mid = arch["ks"][layer], arch["mid"][layer]
            found.append((channels, mid, here, 1, 1, 0, 1))
            found.append((mid, mid, here, kernel, stride, kernel // 2, mid))
            found.append((mid, width, here // stride, 1, 1, 0, 1))
    return found


class TestApqFormat(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("apq")

    def make_space(self) -> Space:
        return space_of("apq")

    def cells_read(self, arch: Numeric, space: Space) -> list[Cell]:
        return [cell for cell in space.cells_of(arch) if cell.spec.block != "sum"]

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = json.loads(file.read_text())
        dice = random.Random(0)
        metric = "energy" if math.isnan(table["head"]["latency"]) or self.wants_energy else "latency"
        totals = []
        for arch in archs:
            total = table["head"][metric] + table["tail"][metric]
            for convolution in apq_convolutions(cast("Lists", arch)):
                activations = [6, 8] if convolution[3] == 7 else [4, 6, 8]
                bits = f"W{dice.choice([4, 6, 8])}A{dice.choice(activations)}"
                total += table[f"{convolution}-{bits}"][metric]
            totals.append(total)
        return totals

    wants_energy = False

    def test_the_reader_gets_energies_that_it_takes_for_latencies(self, tmp_path: Path) -> None:
        """It has both side by side, and asks for one by its name."""
        self.wants_energy = True
        super().test_the_reader_gets_energies_that_it_takes_for_latencies(tmp_path)


def test_apq_has_the_6567_rows_that_are_published_and_both_metrics(tmp_path: Path) -> None:
    space = space_of("apq")
    lut = checksum_lut(space)
    table = json.loads(lut_format("apq").write(lut, space, tmp_path)[0].read_text())
    assert len(table) == 6567 + 2
    assert "(96, 456, 14, 1, 1, 0, 1)-W4A4" in table
    assert "(488, 488, 14, 3, 1, 1, 488)-W4A4" in table
    refused = [key for key in table if key.endswith("A4") and ast.literal_eval(key.split("-W")[0])[3] == 7]
    assert not refused
    assert {tuple(row) for row in table.values()} == {("energy", "latency")}
    without_energies = replace(lut, energy_mj=np.full(len(lut), np.nan))
    table = json.loads(lut_format("apq").write(without_energies, space, tmp_path)[0].read_text())
    assert all(math.isnan(row["energy"]) and row["latency"] > 0 for row in table.values())


def test_a_removed_row_fails_in_the_reader_of_apq(tmp_path: Path) -> None:
    space = space_of("apq")
    table = json.loads(lut_format("apq").write(checksum_lut(space), space, tmp_path)[0].read_text())
    arch = cast("Lists", space.decode(space.sample(1, 0))[0])
    del table[f"{apq_convolutions(arch)[1]}-W8A8"]
    with pytest.raises(KeyError):
        _ = [table[f"{convolution}-W8A8"] for convolution in apq_convolutions(arch)]


# TF-NAS

_TF = ((16, 24, 112, 2, 2, "relu"), (24, 40, 56, 2, 3, "swish"), (40, 80, 28, 2, 4, "swish"),
       (80, 112, 14, 1, 4, "swish"), (112, 192, 14, 2, 4, "swish"), (192, 320, 7, 1, 1, "swish"))  # fmt: skip


def tf_rows(arch: Sequence[int], names: Sequence[Sequence[str]]) -> list[tuple[str, int]]:
    """Key and middle channels of each active block. ``names`` of the candidates: ``k3_se1-mid17``."""
    rows, place = [], 0
    for before, width, side, first, repeat, act in _TF:
        for number in range(repeat):
            index = arch[place]
            if index >= 0:
                operation, mid = names[place][index].split("-mid")
                channels = before if number == 0 else width
                here, stride = (side, first) if number == 0 else (side // first, 1)
                squeeze = int(operation[5]) * channels if "_se" in operation else 0
                key = f"MBInvertedResBlock_{here}_{channels}_{squeeze}_{width}_k{operation[1]}_s{stride}_{act}"
                rows.append((key, int(mid)))
            place += 1
    return rows


class TestTfNasFormat(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("tf-nas")

    def make_space(self) -> Space:
        return space_of("tf-nas")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = pickle.loads(file.read_bytes())
        names = [position.names for position in space.positions]
        return [
            table["base"] + sum(table[key][mid] for key, mid in tf_rows(cast("Sequence[int]", arch), names))
            for arch in archs
        ]


def test_tf_nas_has_66_keys_and_36480_numbers(tmp_path: Path) -> None:
    space = space_of("tf-nas")
    table = pickle.loads(lut_format("tf-nas").write(checksum_lut(space), space, tmp_path)[0].read_bytes())
    rows = {key: value for key, value in table.items() if key != "base"}
    assert len(rows) == 66
    assert sum(map(len, rows.values())) == 36480
    assert list(rows["MBInvertedResBlock_112_16_0_24_k3_s2_relu"]) == list(range(1, 129))
    assert list(rows["MBInvertedResBlock_112_16_16_24_k5_s2_relu"]) == list(range(1, 65))
    assert {type(mid) for row in rows.values() for mid in row} == {int}
    assert {type(value) for row in rows.values() for value in row.values()} == {float}


# EfficientTDNN


class TestEfficientTdnnFormat(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("efficienttdnn")

    def make_space(self) -> Space:
        return space_of("efficienttdnn")

    def cells_read(self, arch: Numeric, space: Space) -> list[Cell]:
        return [cell for cell in space.cells_of(arch) if cell.layer != "concatenation"]

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
        return [self._query(table, cast("Lists", arch)) for arch in archs]

    @staticmethod
    def _query(table: dict[str, dict[str, float]], arch: Lists) -> float:
        (depth,), (width,), (cat,) = arch["depth"], arch["width"], arch["cat"]
        kernels, mids = arch["kernel"], arch["mid"]
        settings: list[tuple[str, dict[str, int]]] = [
            ("layer1", {"in_channels": 80, "out_channels": width, "kernel_size": kernels[0]}),
            ("catconv", {"in_channels": width * depth, "out_channels": cat}),
            ("pool", {"in_dim": cat}),
            ("embed", {"in_features": 2 * cat, "out_features": 192}),
        ]
        for block in range(depth):
            inside = {"channels": width, "mid_channels": mids[block], "kernel_size": kernels[1 + block]}
            settings.append(("blocks", inside))
        return sum(
            table[section][f"({', '.join(f'{name}={given[name]}' for name in sorted(given))})"]
            for section, given in settings
        )


def test_efficienttdnn_has_the_23590_rows_that_are_published(tmp_path: Path) -> None:
    space = space_of("efficienttdnn")
    entries = lut_format("efficienttdnn").entries(space)  # type: ignore[attr-defined]  # of additive formats
    counts = {section: sum(name.startswith(f"{section}/") for name, _ in entries) for section in
              ("layer1", "blocks", "catconv", "pool", "embed")}  # fmt: skip
    assert counts == {"layer1": 147, "blocks": 7203, "catconv": 15950, "pool": 145, "embed": 145}
    names = {name for name, _ in entries}
    assert "layer1/(in_channels=80, kernel_size=1, out_channels=128)" in names
    assert "blocks/(channels=128, kernel_size=1, mid_channels=136)" in names
    assert "catconv/(in_channels=1008, out_channels=1000)" in names
    assert {"pool/(in_dim=992)", "embed/(in_features=1008, out_features=192)"} <= names


class TestElasticResNetFormat(LutFormatContract):
    def make_format(self) -> LutFormat:
        return lut_format("elastic-resnet")

    def make_space(self) -> Space:
        return space_of("elastic-resnet")

    def read_totals(self, file: Path, archs: Sequence[Arch], space: Space) -> list[float]:
        table = yaml.safe_load(file.read_text())
        return [self._query(table, cast("Lists", arch)) for arch in archs]

    @staticmethod
    def _query(table: dict[str, object], arch: Lists) -> float:
        """Blocks of a stage beyond what a network has are left out from behind."""
        fixed = sum(cast("float", table[name]) for name in ("conv", "pool", "fc"))
        blocks = cast("list[dict[str, float]]", table["blocks"])
        active = [first + n for first, d in zip((0, 3, 7, 13), arch["depths"], strict=True) for n in range(d)]
        return fixed + sum(blocks[n][f"{arch['expand_ratios'][n]:.2f}-{arch['kernel_sizes'][n]}"] for n in active)


# HAT


def read_hat(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels as the reader makes them: it evaluates the text of twelve columns behind a first line."""
    lines = file.read_text().splitlines()[1:]
    rows = [[float(number) for number in line.split(",")[:12]] for line in lines]
    table = np.array(rows)
    return table[:, :10], table[:, 10] + table[:, 11]


@pytest.mark.parametrize("name", ["hat-wmt", "hat-iwslt"])
@pytest.mark.parametrize("metric", ["latency", "energy"])
def test_hat_learns_from_sums_of_encoder_and_decoder_steps(tmp_path: Path, name: str, metric: str) -> None:
    space = space_of(name)
    lut = checksum_lut(space, scale=0.5, offset_ms=1024.0)
    file, side = lut_format("hat").write(lut, space, tmp_path, metric)  # type: ignore[arg-type]  # either is a metric
    seen, labels = read_hat(file)
    archs = space.sample(2000, 0)
    steps = {"hat-wmt": 30, "hat-iwslt": 23}[name]
    for number in range(0, 2000, 97):
        parts = {"encoder": 0.0, "decoder": 0.0}
        for cell in space.cells_of(archs[number]):
            if not cell.absent:
                row = lut.query(cell.key)
                parts[cell.layer[:7]] += row.latency_ms if metric == "latency" else row.energy_mj or 0.0
        expected = parts["encoder"] + steps * parts["decoder"]
        assert labels[number] == (0.5 * expected + 1024.0 if metric == "latency" else expected)
    assert len(labels) == 2000
    assert set(seen[:, 0]) == set(seen[:, 4]) == {512.0, 640.0}
    assert (set(seen[:, 1]), set(seen[:, 5])) == ({6.0}, {1.0, 2.0, 3.0, 4.0, 5.0, 6.0})
    assert ((seen[:, 9] >= 1) & (seen[:, 9] <= 3)).all()
    assert json.loads(side.read_text())["metric"] == metric


def test_features_of_hat_are_means_over_the_layers_that_are_there(tmp_path: Path) -> None:
    from edgecost.costmodels.lut_formats.hat import features

    arch = {
        "encoder_embed_dim": [512],
        "encoder_ffn_embed_dim": [2048, 2048, 2048, 2048, 1024, 2048],
        "encoder_self_attention_heads": [8, 4, 8, 4, 8, 4],
        "decoder_embed_dim": [640],
        "decoder_layer_num": [3],
        "decoder_ffn_embed_dim": [2048, 2048, 1024, 3072, 3072, 3072],
        "decoder_self_attention_heads": [8, 8, 4, 4, 4, 4],
        "decoder_ende_attention_heads": [8, 4, 4, 8, 8, 8],
        "decoder_arbitrary_ende_attn": [-1, 1, -1, 2, 2, 2],
    }
    expected = [512, 6, 11264 / 6, 6.0, 640, 3, 5120 / 3, 20 / 3, 16 / 3, 4 / 3]
    np.testing.assert_allclose(features(cast("dict[str, list[int | float]]", arch)), expected)


def test_a_table_of_hat_that_lacks_a_cell_is_not_written(tmp_path: Path) -> None:
    space = space_of("hat-wmt")
    lost = space.measurable[7].key
    with pytest.raises(GateError, match=lost):
        lut_format("hat").write(without(checksum_lut(space), lost), space, tmp_path)
    with pytest.raises(UsageError, match="is not HAT's"):
        lut_format("hat").write(checksum_lut(space_of("apq")), space_of("apq"), tmp_path)
    with pytest.raises(UsageError, match="cannot hold memory"):
        lut_format("hat").write(checksum_lut(space), space, tmp_path, "memory")
    assert list(tmp_path.iterdir()) == []


def test_plain_tables_hold_spaces_whose_cells_depend_on_several_choices(tmp_path: Path) -> None:
    space = space_of("attentivenas")
    lut = checksum_lut(space, scale=0.5, offset_ms=3.0)
    file = lut_format("numpy").write(lut, space, tmp_path)[0]
    archs = space.sample(300, 1)
    with np.load(file, allow_pickle=False) as arrays:
        total = np.full(len(archs), arrays["fixed_ms"])
        for number in range(sum(name.startswith("scope_") for name in arrays)):
            scope = arrays[f"scope_{number}"]
            total += arrays[f"costs_ms_{number}"][tuple(archs[:, place] for place in scope)]
        np.testing.assert_array_equal(arrays["scale"] * total + arrays["offset_ms"], lut.price(archs, space=space))


def test_a_table_of_shared_choices_is_saved_and_prices_the_same(tmp_path: Path) -> None:
    space = space_of("nasbench201")
    lut = checksum_lut(space)
    again = Lut.load(lut.save(tmp_path / "nb.lut.json"))
    archs = space.sample(500, 2)
    np.testing.assert_array_equal(again.price(archs), lut.price(archs, space=space))
