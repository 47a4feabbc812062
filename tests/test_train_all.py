"""``edgecost train --all``: every pair of a store, the same bytes wherever it was fitted, and nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.compute.dask_cluster import connected
from edgecost.costmodels.compute.in_process import InProcess
from edgecost.costmodels.compute.local_processes import LocalProcesses
from edgecost.costmodels.compute.pool import Finished, Item, Recipe, Result
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.train_all import PairResult, Plan, measured_pairs, train_all
from edgecost.db import Store
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.records import Device
from edgecost.profiler.workload import Workload, workload_from_model
from tests.conftest import KnownLaw, Notebook
from tests.dask_cluster import loopback_cluster

FILES = ("predictor.json", "booster.txt", "spread.txt")
#: Of one more device: fewer graphs than a predictor is trained on.
FEW = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, law: KnownLaw) -> Path:
    """Two boards with cells, one with too few, and one with a graph that no runtime opens."""
    path: Path = tmp_path_factory.mktemp("fleet") / "store.sqlite"
    from edgecost.profiler.runtimes import host_profile

    profile = host_profile()
    space = load_space("ofa-mobilenetv3")
    cells = [workload for cell in space.measurable[:14] if (workload := space.workload(cell)) is not None]
    latency_ms = law.measured_ms([kernels(one, profile) for one in cells], seed=3)
    with Store(path) as opened:
        notebook = Notebook(opened, profile)
        boards = (("board-1", 1.0, 14), ("board-2", 1.7, 14), ("board-3", 1.0, FEW), ("odd", 2.0, 12))
        for name, factor, count in boards:
            device = Device(name, f"{name} of the fleet", f"the board {name}")
            opened.put_device(device)
            for workload, latency in zip(cells[:count], latency_ms, strict=False):
                notebook.write(workload, 0.1 + factor * float(latency), device=device)
        notebook.write(_unreadable(), 3.0, device=Device("odd", "odd of the fleet", ""))
    return path


def _unreadable() -> Workload:
    graph = GraphBuilder("gone")
    model = graph.model(graph.activate(graph.input((4,)), "relu"))
    model.graph.node[0].op_type = "Gone"
    return Workload("gone", "block", "f" * 64, workload_from_model("gone", "block", model).skeleton)


def plan(folder: Path) -> Plan:
    return Plan(lambda pair: folder / pair.device.name)


class Backwards:
    """Processes whose items finish in the other order, as they may on a cluster."""

    def map(self, recipe: Recipe[Item, Result], items: Iterable[Item]) -> Iterator[Finished[Result]]:
        yield from reversed(list(LocalProcesses(2).map(recipe, items)))


def trained(store: Path, folder: Path, pool: object) -> list[PairResult]:
    with Store(store) as opened:
        return train_all(opened, measured_pairs(opened), plan(folder), pool)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, object]:
    """What was written, without when: a predictor says so in its provenance, which its own digest seals."""
    found: dict[str, object] = {}
    for path in sorted(folder.glob("*/*")):
        name = str(path.relative_to(folder))
        if path.name == "predictor.json":
            content = json.loads(path.read_text())
            content["provenance"].pop("trained_at")
            found[name] = {key: value for key, value in content.items() if key != "content_sha256"}
        elif path.name in FILES:
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def here(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PairResult]]:
    folder = tmp_path_factory.mktemp("here")
    return folder, trained(store, folder, InProcess())


def test_pairs_are_trained_and_the_failed_and_the_few_are_named(here: tuple[Path, list[PairResult]]) -> None:
    folder, results = here
    assert [(one.pair.device.name, one.outcome) for one in results] == [
        ("board-1", "trained"), ("board-2", "trained"), ("board-3", "too few"), ("odd", "failed"),
    ]  # fmt: skip
    assert f"{FEW} usable graphs" in results[2].why
    assert "Gone" in results[3].why
    assert sorted(path.name for path in folder.iterdir()) == ["board-1", "board-2"]
    report = results[0].report
    assert report is not None
    assert report.graphs == results[0].graphs == 14


def test_the_bytes_are_the_same_from_other_processes_in_another_order(
    store: Path, here: tuple[Path, list[PairResult]], tmp_path: Path
) -> None:
    results = trained(store, tmp_path, Backwards())
    assert [one.outcome for one in results] == [one.outcome for one in here[1]]
    assert files(tmp_path) == files(here[0])
    assert len(files(tmp_path)) >= 4


def test_a_dask_cluster_writes_the_same_bytes(store: Path, here: tuple[Path, list[PairResult]], tmp_path: Path) -> None:
    with loopback_cluster() as address, connected(address) as cluster, Store(store) as opened:
        (result,) = train_all(opened, measured_pairs(opened)[1:2], plan(tmp_path), cluster)
    assert result.outcome == "trained"
    assert files(tmp_path) == {name: content for name, content in files(here[0]).items() if "board-2" in name}


def test_what_did_not_change_is_not_trained_again(store: Path, here: tuple[Path, list[PairResult]]) -> None:
    folder, _ = here
    assert outcomes(store, plan(folder), Refuses()) == ["unchanged", "unchanged", "too few", "failed"]
    for other in (replace(plan(folder), random_state=1), replace(plan(folder), again=True)):
        assert outcomes(store, other, Refuses()) == ["failed", "failed", "too few", "failed"]


def outcomes(store: Path, plan: Plan, pool: object) -> list[str]:
    with Store(store) as opened:
        return [one.outcome for one in train_all(opened, measured_pairs(opened), plan, pool)]  # type: ignore[arg-type]


class Refuses:
    """A pool in which nothing can be fitted."""

    def map(self, recipe: Recipe[Item, Result], items: Iterable[Item]) -> Iterator[Finished[Result]]:
        for place, _ in enumerate(items):
            yield place, "no memory"  # type: ignore[misc]  # what a fit answers when it fails


def test_what_was_trained_before_a_loss_is_kept(store: Path, tmp_path: Path) -> None:
    class Dies:
        def map(self, recipe: Recipe[Item, Result], items: Iterable[Item]) -> Iterator[Finished[Result]]:
            yield next(InProcess().map(recipe, items))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(store, tmp_path, Dies())
    assert [path.name for path in tmp_path.iterdir()] == ["board-1"]
    assert outcomes(store, plan(tmp_path), Refuses())[:2] == ["unchanged", "failed"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_command_prints_a_table_and_fails_for_what_failed(
    store: Path, here: tuple[Path, list[PairResult]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, _, _, _) = here[1]
    name = f"{first.pair.device.identity[:12]}-{first.pair.profile.profile_hash[:12]}"
    shutil.copytree(first.folder, tmp_path / name)  # its core cache is not known, as of all boards that are elsewhere
    code, out, err = run(capsys, "train", "--all", "--db", store, "--out", tmp_path, "--jobs", 1)
    assert code == 1
    assert "1 unchanged, 1 trained, 1 too few, 1 failed" in out
    assert "1 of 4 could not be trained; the others are kept" in err
    code, out, _ = run(capsys, "train", "--all", "--db", store, "--out", tmp_path, "--jobs", 1, "--json")
    pairs = json.loads(out)["pairs"]
    assert [one["outcome"] for one in pairs] == ["unchanged", "unchanged", "too few", "failed"]
    assert all(Path(one["predictor"]).parent == tmp_path for one in pairs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--all", "--runtime", "tvm"], "--runtime does not go with it"),
        (["--all", "--space", "fbnet"], "--space does not go with it"),
        (["--all", "--metric", "memory"], "--metric memory does not go with it"),
        (["--jobs", "2"], "go with --all"),
        (["--metric", "energy", "--dask", "tcp://127.0.0.1:1"], "--dask does not go with --metric energy"),
        (["--all", "--dask", "tcp://127.0.0.1:1", "--jobs", "2"], "leave one of them out"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(
    arguments: list[str], message: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "train", *arguments, "--db", store)
    assert code == 2
    assert message in err.replace("Leave", "leave")
