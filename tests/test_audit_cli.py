"""``edgecost audit additivity`` in the terminal: what was measured before is not measured again."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edgecost.cli.main import main
from edgecost.costmodels.additivity import audit_additivity
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.model_file import read_model
from edgecost.profiler.protocol import Settings
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import workload_from_model

Captured = pytest.CaptureFixture[str]
TINY = Path(__file__).with_name("tiny.toml")
LOOSE = Settings(visits_min=3, target=0.9, visits_max=6, rounds_max=60)


class Silent:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Silence."""

    def step(self, note: str) -> None:
        """Silence."""

    def note(self, text: str) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a database in which it, and four networks of the tiny space, are measured already."""
    folder = tmp_path_factory.mktemp("audit")
    graph = GraphBuilder("net")
    value = graph.conv(graph.input((1, 16, 32, 32)), 32, kernel=3, activation="relu")
    net = workload_from_model("net", "network", graph.model(graph.conv(value, 8)), tuple(graph.weights))
    onnx.save(onnx.load_model_from_string(complete(net.skeleton, net.weights)), folder / "net.onnx")
    space = load_space(str(TINY))
    networks = [read_model(folder / "net.onnx"), *(space.build(arch) for arch in space.sample(4, 0))]
    for _ in range(4):
        # A busy machine may take a kernel away for good, or measure it shorter than nothing, and with it the sums of
        # all networks that hold it: then the database is made anew.
        (folder / "test.sqlite").unlink(missing_ok=True)
        with Store(folder / "test.sqlite") as store:
            made = audit_additivity(networks, store, LocalSetting.here(), Silent(), settings=LOOSE)
            jobs_failed = sum(one.jobs["failed"] for one in store.campaigns())
        if len(made.networks) == len(networks) and not jobs_failed and not any(one.missing for one in made.networks):
            break
    return folder


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def run(captured: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = main(["audit", "additivity", *(str(argument) for argument in arguments)])
    out, err = captured.readouterr()
    return code, out, err


def test_one_model_is_explained_by_its_kernels(measured: Path, capsys: Captured) -> None:
    arguments = (measured / "net.onnx", "--db", measured / "test.sqlite")
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    for words in ("net", "Σ kernels", "Where the difference comes from", "Conv", "Too few networks"):
        assert words in out
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    document = json.loads(out)
    (network,) = document["networks"]
    assert network["sum_error"] == pytest.approx(network["sum_ms"] / network["latency_ms"] - 1)
    assert (network["composed_ms"], document["composed_held_out"]) == (None, None)
    assert len(document["differences"]) == network["kernels"]
    inside = sum(one["inside_ms"] for one in document["differences"])
    assert inside == pytest.approx(network["latency_ms"])


def test_networks_of_a_space_get_a_correction_and_nothing_is_measured_twice(measured: Path, capsys: Captured) -> None:
    arguments = ("--space", TINY, "--networks", "4", "--db", measured / "test.sqlite")
    with Store(measured / "test.sqlite") as store:
        before = store.counts().measurements
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "Correction over all 4:" in out
    assert "corrected, each network held out: mean error" in out
    code, out, _ = run(capsys, *arguments, "--json")
    document = json.loads(out)
    assert code == 0
    assert set(document) == {
        "schema_version", "profile", "networks", "distinct_kernels", "composition", "plain_sum", "composed_held_out",
        "expected", "differences",
    }  # fmt: skip
    assert len(document["networks"]) == 4
    assert document["composition"]["networks"] == 4
    assert document["differences"] == []
    with Store(measured / "test.sqlite") as store:
        assert store.counts().measurements == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "nothing to audit"),
        (("--space", "nowhere"), 2, "nowhere"),
        (("--networks", "0", "--space", str(TINY)), 2, "--networks"),
        (("missing.onnx",), 6, "missing.onnx"),
        (("--space", str(TINY), "--runtime", "nothing"), 2, "there is no runtime"),
    ],
)
def test_wrong_usage_has_its_exit_code(arguments: tuple[str, ...], code: int, said: str, capsys: Captured) -> None:
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "")
    assert said in err
