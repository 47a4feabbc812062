"""The peak memory predictor: against a law that is known, on disk, and with bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecost.cli.main import main
from edgecost.costmodels.metrics.live_bytes import LiveBytes
from edgecost.costmodels.metrics.memory_training import load_peaks, train_memory
from edgecost.costmodels.metrics.peak_memory import FEATURES, MemoryShape, PeakMemoryPredictor
from edgecost.costmodels.predictor_file import load_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import ArtefactError, UsageError
from edgecost.profiler.memory import METHOD
from edgecost.profiler.readings import PeakMemory, Reading
from tests.conftest import Notebook
from tests.test_energy_training import write

OVERHEAD = 11_000_000


def shapes(count: int, seed: int) -> list[MemoryShape]:
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        weights, activations = (int(10 ** chance.uniform(6, 8)), int(10 ** chance.uniform(5, 7)))
        total = weights + activations
        values = dict.fromkeys(FEATURES, 0.0)
        values |= {"total": np.log(total), "activations": np.log(activations), "activation_share": activations / total}
        values |= {"convolution_share": float(chance.uniform())}
        made.append(
            MemoryShape(LiveBytes(weights, weights, activations, activations, True), 50, tuple(values.values()))
        )
    return made


def peaks(made: list[MemoryShape], seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Twice the weights of convolutions and once those of all else, with 1 % of noise."""
    noise = np.exp(0.01 * np.random.default_rng(seed).standard_normal(len(made)))
    ratio = np.array([1.0 + shape.features[FEATURES.index("convolution_share")] for shape in made])
    return OVERHEAD + np.array([shape.live.total_bytes for shape in made]) * ratio * noise


@pytest.fixture(scope="module")
def fitted() -> PeakMemoryPredictor:
    made = shapes(150, seed=1)
    return PeakMemoryPredictor().fit(made, peaks(made), OVERHEAD)


def test_a_known_law_is_learnt_and_its_intervals_hold(fitted: PeakMemoryPredictor) -> None:
    new = shapes(200, seed=2)
    prices = fitted.price(new)
    truth = peaks(new, seed=3)
    errors = np.abs(np.array([price.peak_bytes for price in prices]) / truth - 1)
    assert np.median(errors) < 0.04
    inside = [(one.lo_bytes or 0) <= true <= (one.hi_bytes or 0) for one, true in zip(prices, truth, strict=True)]
    assert 0.8 < np.mean(inside) <= 1.0
    assert {price.overhead_bytes for price in prices} == {OVERHEAD}


def test_what_lies_outside_the_range_is_called_predicted(fitted: PeakMemoryPredictor) -> None:
    inside = shapes(150, seed=1)[0]
    far = replace(inside, features=(99.0, *inside.features[1:]))
    open_shape = replace(inside, live=replace(inside.live, is_complete=False))
    assert [price.source for price in fitted.price([inside, far, open_shape])] == [
        "interpolated", "predicted", "predicted",
    ]  # fmt: skip
    assert fitted.price([]) == []


def test_equal_seeds_give_equal_models_and_files_give_them_back(fitted: PeakMemoryPredictor, tmp_path: Path) -> None:
    made = shapes(150, seed=1)
    again = PeakMemoryPredictor().fit(made, peaks(made), OVERHEAD)
    assert again.booster_.model_to_string() == fitted.booster_.model_to_string()
    fitted.save(tmp_path, {"device": "board"})
    loaded, provenance = PeakMemoryPredictor.load(tmp_path)
    assert loaded.price(made) == fitted.price(made)
    assert (provenance["metric"], provenance["unit"]) == ("memory", "bytes")
    with pytest.raises(ArtefactError, match="predicts memory in bytes, not latency in ms"):
        load_predictor(tmp_path, metric="latency")


def test_few_networks_have_no_interval_and_fewer_no_predictor() -> None:
    made = shapes(10, seed=4)
    price = PeakMemoryPredictor().fit(made, peaks(made), OVERHEAD).price(made[:1], alpha=0.05)[0]
    assert (price.lo_bytes, price.hi_bytes) == (None, None)
    with pytest.raises(UsageError, match="9 networks is too few"):
        PeakMemoryPredictor().fit(made[:9], peaks(made[:9]), OVERHEAD)
    with pytest.raises(UsageError, match="knows nothing yet"):
        PeakMemoryPredictor().price(made)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, OVERHEAD - 1.0])
def test_a_peak_that_is_no_number_is_refused(bad: float) -> None:
    made = shapes(12, seed=5)
    measured = peaks(made)
    measured[3] = bad
    with pytest.raises(UsageError, match="must be finite and above what the runtime takes empty"):
        PeakMemoryPredictor().fit(made, measured, OVERHEAD)


@pytest.mark.parametrize("name", ["predictor.json", "booster.txt"])
def test_a_file_that_was_changed_or_is_gone_is_refused(fitted: PeakMemoryPredictor, tmp_path: Path, name: str) -> None:
    fitted.save(tmp_path, {})
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace("0", "1", 1))
    with pytest.raises(ArtefactError, match="changed after it was written"):
        PeakMemoryPredictor.load(tmp_path)
    (tmp_path / name).write_text(text[: len(text) // 2])
    with pytest.raises(ArtefactError):
        PeakMemoryPredictor.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArtefactError, match="is not there"):
        PeakMemoryPredictor.load(tmp_path)


def test_networks_of_the_store_are_trained_on_judged_and_the_rest_is_counted(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = load_space("ofa-mobilenetv3")
    cells = [workload for cell in space.measurable[:15] if (workload := space.workload(cell)) is not None]
    for place, workload in enumerate(cells):
        for session in range(2):
            peak = 20_000_000 + 1_000_000 * place + session
            reading = PeakMemory(
                Reading.OK, METHOD, peak_bytes=peak, lo_bytes=peak, hi_bytes=peak, overhead_bytes=OVERHEAD,
            )  # fmt: skip
            write(notebook, workload, None, purpose="memory", peak_memory=reading)
    write(notebook, cells[0], None, purpose="memory", peak_memory=PeakMemory(Reading.BELOW_RESOLUTION, METHOD))
    other = PeakMemory(Reading.OK, "other-1", peak_bytes=9, lo_bytes=9, hi_bytes=9, overhead_bytes=1)
    write(notebook, cells[0], None, purpose="memory", peak_memory=other)
    samples, left_out = load_peaks(notebook.store, notebook.device.identity, notebook.profile)
    assert left_out == {"below resolution": 1, "measured by other-1": 1}
    assert samples[3].sessions_bytes == (23_000_000, 23_000_001)
    report = train_memory(notebook.store, notebook.device.identity, notebook.profile)
    assert report.networks == 15
    assert report.judgement.floor is not None
    assert report.judgement.floor.within_2 == 1.0
    assert report.judgement.baseline_name == "analytic estimate alone"
    assert report.predictor.overhead_bytes_ == OVERHEAD
    with pytest.raises(UsageError, match="no peak memory was measured"):
        train_memory(notebook.store, "nobody", notebook.profile)
    report.save(tmp_path / "memory", {"device_description": "a board"})
    assert main(["models", "show", str(tmp_path / "memory")]) == 0
    shown = capsys.readouterr().out
    assert "memory-predictor of memory in bytes" in shown
    assert "15 whole networks" in shown
    assert "the analytic estimate alone is off by" in shown
    assert main(["models", "check", str(tmp_path / "memory")]) == 2
    assert "only predictors of kernels can be checked" in capsys.readouterr().err
    model = tmp_path / "cell.onnx"
    model.write_bytes(complete_model(cells[0]))
    assert main(["predict", str(model), "--metric", "memory", "--predictor", str(tmp_path / "memory")]) == 0
    said = capsys.readouterr().out
    assert "at its peak while it runs" in said
    assert "11.0 MB of it for any first model" in said


def complete_model(workload: object) -> bytes:
    from edgecost.profiler.weights import complete
    from edgecost.profiler.workload import Workload

    assert isinstance(workload, Workload)
    return complete(workload.skeleton, workload.weights)
