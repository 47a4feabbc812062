"""The benchmarks of the measuring engine run, at their smallest, and say what they are meant to say."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.kernels.graph import kernels

pytestmark = pytest.mark.benchmark

pytest.importorskip("onnxruntime")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HEAD = {"machine", "runtime", "edgecost", "python", "meaning"}


def run(script, *arguments):
    """The JSON document of a benchmark."""
    command = [sys.executable, BENCHMARKS / script, *arguments, "--preset", "quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) >= HEAD
    assert len(document["meaning"]) > 20
    return document


def test_kernels_per_minute_sets_edgecost_and_the_naive_loop_beside_each_other():
    found = run("kernels_per_minute.py", "--kernels", "3", "--target", "0.3", "--repeats", "2", "--reference", "quick")
    assert found["kernels"] == 3
    assert {name: len(pace) for name, pace in found["kernels_per_minute"].items()} == {"edgecost": 2, "naive": 2}
    assert found["ratio"] > 0
    counted = 2 * (3 - found["without_reference"])
    assert {name: table["all"]["n"] for name, table in found["error"].items()} == {
        "edgecost": counted, "naive mean": counted, "naive median": counted,
    }  # fmt: skip


def test_repeatability_counts_every_pair_of_processes_beside_load_too():
    found = run("repeatability.py", "--kernels", "2", "--target", "0.3", "--processes", "2", "--load", "1")
    assert found["load_generators"] == 1
    assert found["processes"] == len(found["level"]) == 2
    assert found["raw"]["all"]["n"] == found["net"]["all"]["n"] == 2
    bands = [row["n"] for band, row in found["raw"].items() if band != "all"]
    assert sum(bands) == found["raw"]["all"]["n"]


def test_harness_overhead_sets_kernels_beside_their_slopes_and_the_profiler():
    found = run("harness_overhead.py", "--kernels", "1", "--runtimes", "ort")
    rows = found["ort"]["rows"]
    assert len(rows) == 1
    assert all(row["profiler_us"] > 0 for row in rows)
    assert found["ort"]["overhead_us"] > 0
    assert found["tvm"] is None


def test_additivity_takes_reference_networks_and_the_files_of_a_folder(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    found = run("additivity.py", "--networks", "bert_tiny", "--folder", str(tmp_path))
    (row,) = found["networks"]
    assert row["network"].startswith("bert")
    assert row["sum_of_kernels_ms"] > 0
    assert row["sum_of_blocks_ms"] > 0
    assert [cause.split(":")[0] for cause in found["refused"].values()] == ["BrokenModel"]


@pytest.mark.skipif(importlib.util.find_spec("tvm") is None, reason="needs TVM")
def test_ort_against_tvm_gives_a_ratio_and_the_statuses():
    found = run("ort_against_tvm.py", "--kernels", "1", "--turns", "1")
    (row,) = found["rows"]
    assert row["ort"]["status"] in found["summary"]["ort"]["statuses"]
    assert row["ort"]["ratio"] in (1, None)
    assert set(found["runtimes"]) == {"ort", "tvm"}


METHODS = {
    "edgecost", "edgecost, plain sum", "forests, corrected like edgecost", "forests, plain sum", "line through FLOPs",
    "plain table, corrected like edgecost", "plain table, plain sum",
}  # fmt: skip


def test_strangers_are_priced_by_every_method_beside_what_two_measurements_differ_by(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    few = ("--kernels", "40", "--networks", "2", "--factor", "1", "--references", "10", "--target", "0.3")
    small = (*few, "--db", tmp_path / "kept.sqlite")
    found = run("strangers.py", *small, "--folder", tmp_path)
    # A machine too busy for one of them leaves it out, and says so by the number.
    assert 6 <= found["strangers"] <= 10
    assert found["floor"]["n"] <= found["strangers"]
    assert set(found["methods"]) == METHODS
    for method in found["methods"].values():
        assert method["all"]["n"] == found["strangers"]
        assert sum(table["n"] for table in method["by_family"].values() if table) == found["strangers"]
        assert method["with_factor"]["n"] == sum(table["n"] for table in method["with_factor_by_family"].values())
    assert set(found["coverage"]) == {"80%", "90%", "95%"}
    assert [cause.split(":")[0] for cause in found["refused_files"].values()] == ["BrokenModel"]
    again = run("strangers.py", *small, "--offline")
    for part in ("methods", "networks", "floor", "coverage", "kernels_held_out"):
        assert_alike(again[part], found[part])


def assert_alike(one: object, other: object) -> None:
    """Equal but for the last digits, which hang on where in memory a process has its numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert_alike(value, other[name])
    elif isinstance(one, list):
        for left, right in zip(one, other, strict=True):
            assert_alike(left, right)
    else:
        assert one == (pytest.approx(other, rel=1e-6, nan_ok=True) if isinstance(one, float) else other)


def test_orders_of_measuring_are_replayed_on_cells_that_were_measured_once(notebook, law):
    """Filled by a law, so that nothing is measured."""
    tiny = Path(__file__).parent / "tiny.toml"
    space, device = load_space(tiny), LocalSetting.here().device
    notebook.store.put_device(device)
    for cell in space.measurable:
        workload = space.workload(cell)
        (latency_ms,) = law.true_ms([kernels(workload, notebook.profile)])
        notebook.write(workload, latency_ms + 0.1, device=device)
    keep = notebook.store.url.removeprefix("sqlite:///")
    found = run("adaptive_order.py", "--spaces", str(tiny), "--seeds", "2", "--keep", keep)
    orders = found["spaces"][str(tiny)]
    assert {"adaptive", "random", "largest first"} < set(orders)
    for order in orders.values():
        assert [step["cells"] for step in order["steps"]] == [12]
        assert all(step["mean"] is not None or step["without_table"] == 2 for step in order["steps"])
        assert {len(values) for values in order["cells_until"].values()} == {2}
    (step,) = orders["adaptive"]["steps"]
    assert step["without_table"] == 0
    assert step["mean"] < 0.5
