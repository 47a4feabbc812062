"""What is known of other devices: out of the store, out of archives and out of tables, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.onboarding.arch_space import arch_text, open_arch_space
from edgecost.costmodels.onboarding.known import (
    ROWS_MIN,
    KnownDevice,
    measured_networks,
    network_names,
    stored_pairs,
    usable,
)
from edgecost.costmodels.onboarding.known_file import read_known
from edgecost.profiler.errors import UsageError
from edgecost.profiler.records import Device

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CELLS = open_arch_space("nasbench201")
FBNET = open_arch_space("fbnet", pool=30)
TINY = Path(__file__).with_name("tiny.toml")


def table(folder: Path, text: str) -> Path:
    path = folder / "known.csv"
    path.write_text(text, encoding="utf-8")
    return path


def archive(folder: Path, **arrays: object) -> Path:
    path = folder / "known.npz"
    held = {
        "devices": np.array(["pi"]),
        "latency": np.full((3, 1), 2.0),
        "ops": CELLS.pool[:3].astype(np.uint8),
        "meta": np.array(json.dumps({"space": "nasbench201", "unit": "ms"})),
        **arrays,
    }
    np.savez(path, **{name: value for name, value in held.items() if value is not None})
    return path


def test_a_table_is_read_in_the_units_that_its_header_says(tmp_path):
    text = "arch,pixel3_ms,pi_4_us\n4.2.1.2.1.1,12.5,900\n0.0.0.3.0.0,,800\n"
    pixel, pi = read_known(table(tmp_path, text), CELLS)
    assert (pixel.name, pi.name) == ("pixel3", "pi_4")
    assert pixel.latency_ms.tolist() == [12.5]
    assert pi.latency_ms == pytest.approx([0.9, 0.8])
    assert [arch_text(arch) for arch in pi.archs] == ["4.2.1.2.1.1", "0.0.0.3.0.0"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no table"),
        ("arch,pi_ms\n", "no table"),
        ("network,pi_ms\n0,1\n", "no table"),
        ("arch,pi\n0,1\n", "does not say its unit"),
        ("arch,pi_fps\n0,1\n", "'fps' is no unit"),
        ("arch,pi_ms\n0,nan\n", "row 2, pi_ms: 'nan' is no latency"),
        ("arch,pi_ms\n0,1\n1,inf\n", "row 3, pi_ms: 'inf' is no latency"),
        ("arch,pi_ms\n0,-1\n", "'-1' is no latency"),
        ("arch,pi_ms\n0,fast\n", "'fast' is no latency"),
        ("arch,pi_ms\n0,1,2\n", "3 cells, but the header has 2"),
        ("arch,pi_ms\n9.9.9.9.9.9,1\n", "row 2: '9.9.9.9.9.9' is no cell"),
        ("arch,pi_ms\n0,1\n421211,2\n", "4.2.1.2.1.1 is there twice"),
        ("arch,pi_ms,pi_us\n0,1,1\n", "pi is there twice"),
    ],
)
def test_a_table_that_is_doubtful_is_refused_with_the_place(tmp_path, text, words):
    with pytest.raises(UsageError) as refused:
        read_known(table(tmp_path, text), CELLS)
    assert words in refused.value.message
    assert refused.value.remedy


def test_an_archive_is_read_without_what_was_not_measured(tmp_path):
    (pi,) = read_known(archive(tmp_path, latency=np.array([[1.0], [np.nan], [3.0]])), CELLS)
    assert pi.latency_ms.tolist() == [1.0, 3.0]
    assert pi.archs.tolist() == CELLS.pool[[0, 2]].tolist()


def test_an_archive_of_all_cells_needs_no_architectures(tmp_path):
    (pi,) = read_known(archive(tmp_path, ops=None, latency=np.arange(1.0, 15626.0)[:, None]), CELLS)
    assert pi.archs.tolist() == CELLS.order.tolist()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"latency": None}, "no array latency"),
        ({"latency": np.ones((3, 2))}, "shape (3, 2)"),
        ({"latency": np.array([["fast"]] * 3)}, "not (networks, 1 devices)"),
        ({"latency": np.array([[1.0], [0.0], [1.0]])}, "0 ms for"),
        ({"latency": np.array([[1.0], [np.inf], [1.0]])}, "inf ms for"),
        ({"ops": CELLS.pool[:2]}, "ops has shape (2, 6)"),
        ({"ops": CELLS.pool[:3] + 4}, "operators"),
        ({"ops": None}, "does not say which architectures"),
        ({"ops": CELLS.pool[[0, 0, 1]]}, "is there twice"),
        ({"meta": np.array(json.dumps({"space": "nasbench201"}))}, "there is no unit"),
        ({"meta": np.array(json.dumps({"unit": "fps"}))}, "'fps' is no unit"),
        ({"meta": np.array(json.dumps({"unit": "ms", "space": "fbnet"}))}, "of the space fbnet"),
        ({"meta": np.array("{")}, "not JSON"),
        ({"op_names": np.array(["none", "conv"])}, "has the operators none, conv"),
    ],
)
def test_an_archive_that_is_doubtful_is_refused(tmp_path, arrays, words):
    with pytest.raises(UsageError) as refused:
        read_known(archive(tmp_path, **arrays), CELLS)
    assert words in refused.value.message


def test_files_that_are_none_are_refused(tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK nothing")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, devices=np.array([{"a": 1}], dtype=object))
    other = tmp_path / "known.xlsx"
    for path in (broken, pickled, other, tmp_path / "missing.csv"):
        with pytest.raises(UsageError):
            read_known(path, CELLS)


@pytest.mark.skipif(not (DATA / "fbnet_latency.npz").exists(), reason="the published measurements are not here")
def test_the_published_archives_are_read():
    cells = read_known(DATA / "nasbench201_latency.npz", CELLS)
    (desktop,) = read_known(DATA / "latbench_desktop_cpu.npz", CELLS)
    chains = read_known(DATA / "fbnet_latency.npz", FBNET)
    assert (len(cells), len(chains)) == (24, 24)
    assert {len(device.latency_ms) for device in cells} == {15625}
    assert 15000 < len(desktop.latency_ms) < 15625


def test_the_store_tells_devices_profiles_and_sizes_apart(notebook):
    small, large = open_arch_space("fbnet", resolution=96, pool=3), open_arch_space("fbnet", pool=3)
    for arch in small.pool:
        notebook.write(small.build(arch), 5.0, purpose="network")
    notebook.write(small.build(small.pool[0]), 7.0, purpose="network")
    notebook.write(large.build(large.pool[0]), 20.0, purpose="network")
    other = Device("other", "other-1", "another board")
    notebook.store.put_device(other)
    notebook.write(small.build(small.pool[0]), 9.0, purpose="profile", device=other)
    found = {pair.device.name: pair.known for pair in stored_pairs(notebook.store, small)}
    assert set(found) == {"board", "other"}
    assert len(found["board"].latency_ms) == 3
    assert found["board"].latency_ms[0] == pytest.approx(6.0)  # the median of two sessions, nothing subtracted
    assert found["other"].latency_ms.tolist() == [9.0]
    archs, latency_ms = measured_networks(
        notebook.store, notebook.device.identity, notebook.profile, network_names(large)
    )
    assert archs.tolist() == large.pool[:1].tolist()
    assert latency_ms.tolist() == [20.0]


def test_a_name_alone_makes_no_network_of_the_space(notebook):
    tiny = open_arch_space(str(TINY))
    notebook.write(tiny.build(tiny.pool[0]), 1.0, purpose="network")
    assert stored_pairs(notebook.store, FBNET) == []


def test_too_few_networks_and_unknown_names_are_said():
    def device(name: str, count: int) -> KnownDevice:
        return KnownDevice(name, "test", CELLS.pool[:count], np.ones(count))

    several = [device("pixel3", ROWS_MIN), device("pixel2", ROWS_MIN), device("pi", ROWS_MIN - 1)]
    chosen, notes = usable(several)
    assert [one.name for one in chosen] == ["pixel3", "pixel2"]
    assert len(notes) == 1
    assert "pi: 19 networks" in notes[0]
    assert [one.name for one in usable(several, ("pixel",))[0]] == ["pixel3", "pixel2"]
    with pytest.raises(UsageError) as refused:
        usable(several, ("raspi",))
    assert "pixel3" in refused.value.remedy
    with pytest.raises(UsageError, match="one name"):
        usable([device("pi", ROWS_MIN), device("pi", ROWS_MIN)])
