"""Staleness: what changed, what newer measurements say, what the anchors say; the law is changed on purpose."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.cards import model_check
from edgecost.costmodels.cards.anchors import (
    KINDS,
    OF_EACH,
    SHORTEST_MS,
    USUAL_RADIUS,
    Anchor,
    AnchorReading,
    choose_anchors,
    judge_anchors,
    measure_anchors,
)
from edgecost.costmodels.cards.card_file import read_card
from edgecost.costmodels.cards.model_check import ModelCheck, check_model
from edgecost.costmodels.cards.staleness import cheap_findings, cheap_warnings, environment_findings
from edgecost.costmodels.dataset import Sample
from edgecost.costmodels.drift import canary_level_us
from edgecost.costmodels.predictor_file import load_predictor
from edgecost.db import Store
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.records import Device
from edgecost.profiler.workload import Workload, workload_from_model
from tests.trained_store import CELLS, Trained, elsewhere, measure_later


class Quiet:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None: ...

    def step(self, note: str) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture
def path(trained, tmp_path) -> Path:
    """A copy of the store that may be added to."""
    return Path(shutil.copy(trained.store, tmp_path / "store.sqlite"))


def check(trained: Trained, path: Path, setting=None, *, card: bool = True, measure: bool = False) -> ModelCheck:
    predictor, provenance = load_predictor(trained.folder)
    known = read_card(trained.folder) if card else None
    with Store(path) as store:
        return check_model(store, setting or trained.setting, predictor, provenance, known, Quiet(), measure=measure)


def test_on_the_machine_it_was_trained_on_it_is_fresh(trained, path) -> None:
    result = check(trained, path)
    assert (result.verdict, result.findings) == ("fresh", ())
    assert any("none in this database" in note for note in result.notes)
    assert cheap_warnings(load_predictor(trained.folder)[1], trained.setting) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kernel": "Linux 9.9"}, "kernel was Linux"),
        ({"governors": ["powersave"]}, "governor was unknown, and is powersave"),
        ({"turbo": True}, "turbo was unknown, and is on"),
        ({"runtime": "onnxruntime 9.9"}, "and is onnxruntime 9.9"),
        ({"pinned_cpus": [0, 1]}, "and is 0, 1"),
        ({"cpu_model": "another"}, "processor was"),
        ({"memory_bytes": 1 << 30}, "and is 1"),
    ],
)
def test_a_change_of_what_a_latency_follows_is_told_in_one_line_with_a_remedy(trained, changes, told) -> None:
    # What this very machine says of its governor is another matter.
    before = {**trained.setting.stage.environment.document, "governors": [], "turbo": None}
    setting = elsewhere(trained.setting, **{**before, **changes})
    (one,) = environment_findings(before, setting.stage.environment.document)
    assert told in one.what
    _, provenance = load_predictor(trained.folder)
    (line,) = cheap_warnings({**provenance, "environment": before}, setting)
    assert "\n" not in line
    assert f"{one.what} → {one.remedy}" in line
    assert "edgecost " in one.remedy


def test_a_changed_environment_is_a_verdict(trained, path) -> None:
    result = check(trained, path, elsewhere(trained.setting, kernel="Linux 9.9"))
    assert result.verdict == "environment changed"
    assert "models check --measure" in result.findings[0].remedy


def test_what_a_latency_does_not_follow_is_no_change(trained) -> None:
    document = dict(trained.setting.stage.environment.document)
    memory = int(document["memory_bytes"] * 1.05)
    assert environment_findings(document, {**document, "python_version": "3.99", "memory_bytes": memory}) == []


def test_what_an_older_predictor_does_not_say_is_not_compared(trained) -> None:
    assert cheap_findings({}, trained.setting) == []
    assert cheap_findings({"environment": None, "protocols": [], "device": "board"}, trained.setting) == []


def test_another_device_profile_or_protocol_is_told(trained) -> None:
    _, provenance = load_predictor(trained.folder)
    (one,) = cheap_findings({**provenance, "device_identity": "x", "device_description": "a nano"}, trained.setting)
    assert "another device, a nano" in one.what
    (one,) = cheap_findings({**provenance, "protocols": ["edgecost-1"]}, trained.setting)
    assert "under the protocol edgecost-1" in one.what
    threads = replace(trained.setting, profile=replace(trained.setting.profile, threads=7))
    (one,) = cheap_findings(provenance, threads)
    assert "7 threads" in one.what


def test_the_cheap_part_loads_nothing_heavy(tmp_path) -> None:
    program = (
        "import sys\nfrom edgecost.costmodels.cards import staleness\n"
        "print(*{n.partition('.')[0] for n in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"numpy", "scipy", "lightgbm", "sqlalchemy", "onnx"}


def test_a_predictor_without_a_card_is_compared_by_what_it_says(trained, path) -> None:
    result = check(trained, path, card=False)
    assert result.verdict == "fresh"
    assert "no card" in result.notes[0]
    assert check(trained, path, elsewhere(trained.setting, kernel="other"), card=False).is_stale


def test_the_same_latencies_measured_again_leave_it_fresh(trained, path) -> None:
    noise = np.random.default_rng(3)
    measure_later(path, trained.setting, lambda _: math.exp(0.01 * noise.standard_normal()))
    result = check(trained, path)
    assert result.verdict == "fresh"
    assert (result.newer.graphs, result.newer.repeated) == (CELLS, CELLS - 1)
    assert result.newer.repeated_shift == pytest.approx(0.0, abs=0.01)
    assert result.canary_change == pytest.approx(0.0)


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_measured_again_and_differing_is_drift_with_its_figure(trained, path, factor) -> None:
    measure_later(path, trained.setting, lambda _: factor)
    result = check(trained, path)
    assert result.verdict == "drifted"
    assert result.newer.is_shifted
    # Ten cells were measured twice in training, 1 % apart: their level is between.
    assert result.newer.repeated_shift == pytest.approx(factor - 1, abs=0.01)
    assert ("15.0 % slower" if factor > 1 else "15.0 % faster") in result.findings[0].what
    assert "--db NEW" in result.findings[0].remedy


def test_new_graphs_far_outside_their_intervals_are_drift(trained, path) -> None:
    measure_later(path, trained.setting, lambda _: 3.0, purposes=("network",))
    result = check(trained, path)
    assert result.verdict == "drifted"
    assert result.newer.outside >= 0.9  # a network that was priced far too high may be back inside
    assert result.newer.repeated == 0
    assert result.newer.shift == pytest.approx(2.0, abs=0.2)
    assert "edgecost train" in result.findings[0].remedy


def test_a_few_newer_measurements_tell_nothing(trained, path) -> None:
    with Store(path) as store:
        few = {one.graph_hash for one in store.measurements(purposes=("cell",))[:3]}
    measure_later(path, trained.setting, lambda one: 5.0 if one.graph_hash in few else 1.0)
    result = check(trained, path)
    assert result.verdict == "fresh"
    # The three, and up to the tenth that lies outside 90 % intervals anyway.
    assert 3 / CELLS <= result.newer.outside <= 3 / (CELLS - 1) + 0.15


def test_a_slower_machine_is_told_by_its_canary_and_cleared_by_anchors_that_hold(trained, path, monkeypatch) -> None:
    measure_later(path, trained.setting, lambda _: 1.0, canary_us=6.0)
    result = check(trained, path)
    assert result.verdict == "environment changed"
    assert "30.4 % slower" in result.findings[0].what
    fake_anchors(monkeypatch, lambda _: 1.01)
    cleared = check(trained, path, measure=True)
    assert cleared.verdict == "fresh"
    assert any("but the anchors hold" in note for note in cleared.notes)


def test_anchors_that_hold_do_not_clear_another_version_of_the_runtime(trained, path, monkeypatch) -> None:
    fake_anchors(monkeypatch, lambda _: 1.0)
    setting = elsewhere(trained.setting, runtime="onnxruntime 9.9", kernel="other")
    result = check(trained, path, setting, measure=True)
    assert result.verdict == "environment changed"
    assert [one.anchors_tell for one in result.findings] == [False]


def test_anchors_that_drifted_are_told_all_or_by_kind(trained, path, monkeypatch) -> None:
    fake_anchors(monkeypatch, lambda _: 1.2)
    result = check(trained, path, measure=True)
    assert result.verdict == "drifted"
    assert "20.0 % slower in the median" in result.findings[0].what
    some = readings({"a": [1.2, 1.2], "b": [1.0, 1.0], "c": [1.0, 1.0]})
    monkeypatch.setattr(model_check, "measure_anchors", lambda *_: (some, []))
    (finding,) = check(trained, path, measure=True).findings
    assert "kind a are 20.0 % slower" in finding.what


def test_nothing_is_measured_for_a_predictor_of_another_device_or_runtime(trained, path, monkeypatch) -> None:
    monkeypatch.setattr(model_check, "measure_anchors", None)
    other = replace(trained.setting, device=Device("board", "board-1", "a board"))
    assert check(trained, path, other, measure=True).verdict == "environment changed"
    other = replace(trained.setting, profile=replace(trained.setting.profile, version="9.9"))
    assert check(trained, path, other, measure=True).verdict == "environment changed"


def fake_anchors(monkeypatch: pytest.MonkeyPatch, factor: Callable[[Anchor], float]) -> None:
    def measured(store, setting, narrator, anchors):
        return [AnchorReading(anchor, anchor.latency_ms * factor(anchor)) for anchor in anchors], []

    monkeypatch.setattr(model_check, "measure_anchors", measured)


def test_anchors_really_measured_are_compared_and_those_the_store_lacks_are_named(tmp_path, trained) -> None:
    graph = GraphBuilder("product")
    workload = workload_from_model("relu", "operator", graph.model(graph.activate(graph.input((64, 512)), "relu")))
    with Store(tmp_path / "store.sqlite") as store:
        trained.setting.store_in(store)
        store.put_workload(workload)
        anchors = [Anchor(h, "relu", "Relu", "kernel", 1e6) for h in (workload.graph_hash, "0" * 64)]
        for _ in range(2):
            readings, unknown = measure_anchors(store, trained.setting, Quiet(), anchors)
            assert unknown == ["0" * 64]
            assert [one.anchor.graph_hash for one in readings] == [workload.graph_hash]
        made = store.measurements(purposes=("anchor",), usable_only=False)
    # Each check measures anew, in processes of its own; a busy machine may have rejected some.
    assert len({one.session for one in made}) >= 4
    assert readings[0].latency_ms is None or readings[0].latency_ms < 1e6


def sample(name: str, latency_ms: float, spread: float = 0.01) -> Sample:
    workload = Workload(name, "operator", f"{name:0>64}", b"")
    low, high = latency_ms * (1 - spread), latency_ms * (1 + spread)
    return Sample(workload, latency_ms, low, high, (latency_ms,), latency_ms, 7, False)


def test_anchors_are_spread_over_kinds_and_sizes_and_leave_out_the_short_and_the_unsteady() -> None:
    samples = [sample(f"{kind}{size}", 0.1 * (1 + size)) for kind in range(6) for size in range(10 - kind)]
    kinds = [f"kind{kind}" for kind in range(6) for _ in range(10 - kind)]
    samples += [sample("s", SHORTEST_MS / 2), sample("w", 1.0, spread=0.2)]
    kinds += ["short", "unsteady"]
    chosen = choose_anchors(samples, kinds, ["kernel"] * len(samples))
    assert Counter(one.kind for one in chosen) == {f"kind{kind}": OF_EACH for kind in range(KINDS)}
    for kind in range(KINDS):
        low, high = (one.latency_ms for one in chosen if one.kind == f"kind{kind}")
        assert high > 2 * low
    order = np.random.default_rng(0).permutation(len(samples))
    shuffled = choose_anchors([samples[i] for i in order], [kinds[i] for i in order], ["kernel"] * len(samples))
    assert set(shuffled) == set(chosen)
    alone = choose_anchors(samples[:10], kinds[:10], ["cell"] * 10)
    assert len(alone) == KINDS * OF_EACH
    assert choose_anchors([], [], []) == ()


def readings(changes: dict[str, list[float | None]]) -> list[AnchorReading]:
    return [
        AnchorReading(Anchor("", "", kind, "kernel", 1.0), change)
        for kind, values in changes.items()
        for change in values
    ]


def test_one_unlucky_anchor_of_a_kind_is_no_verdict() -> None:
    told = judge_anchors(readings({"a": [1.0, 1.3], "b": [1.0, 0.99], "c": [1.01, 1.0]}), None)
    assert (told.verdict, dict(told.kinds)) == ("holds", {})
    assert told.limit == USUAL_RADIUS


def test_a_kind_whose_anchors_moved_apart_has_not_drifted() -> None:
    assert judge_anchors(readings({"a": [0.8, 1.3], "b": [1.0, 1.0], "c": [1.0, 1.0]}), None).verdict == "holds"


def test_anchors_without_a_number_are_not_judged() -> None:
    assert judge_anchors(readings({"a": [None, 1.0], "b": [None, None]}), None).verdict == "unknown"
    assert judge_anchors([], None).verdict == "unknown"


@given(
    st.lists(st.floats(-0.04, 0.04), min_size=8, max_size=8),
    st.floats(0.12, 3.0),
    st.booleans(),
)
def test_noise_within_the_floor_never_hides_a_common_drift_nor_makes_one(noise, drift, is_slower) -> None:
    factor = 1 + drift if is_slower else 1 / (1 + drift)
    kinds = {"a": slice(0, 2), "b": slice(2, 4), "c": slice(4, 6), "d": slice(6, 8)}
    still = {kind: [math.exp(x) for x in noise[part]] for kind, part in kinds.items()}
    assert judge_anchors(readings(still), None).verdict == "holds"
    moved = {kind: [factor * value for value in values] for kind, values in still.items()}
    told = judge_anchors(readings(moved), None)
    assert told.verdict == "all"
    assert (told.change > 0) == is_slower
    one = judge_anchors(readings({**still, "b": moved["b"]}), None)
    assert (one.verdict, list(one.kinds)) == ("kind", ["b"])


def test_the_level_of_the_canary_is_that_of_the_sessions_that_are_meant(trained, path) -> None:
    measure_later(path, trained.setting, lambda _: 1.0, canary_us=9.0)
    device, profile = trained.setting.device.identity, trained.setting.profile.profile_hash
    with Store(path) as store:
        level = lambda is_meant, n=1: canary_level_us(store, device, profile, is_meant, sessions_min=n)  # noqa: E731
        assert level(lambda name: int(name.removeprefix("session-")) >= 100) == 9.0
        assert level(lambda name: int(name.removeprefix("session-")) < 100) == pytest.approx(4.6)
        assert level(lambda name: False) is None
        assert level(lambda name: name == "session-100", 2) is None
