"""Predictors on disk: they come back the same, or they are refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import SCHEMA_VERSION, load_predictor, save_predictor
from edgecost.profiler.errors import ArtefactError, OutputError
from edgecost.profiler.records import content_hash

PROVENANCE = {"device": "nano ä", "report": {"n": 3, "coverage": None}}


@pytest.fixture(scope="module")
def made(cell_graphs, law) -> LatencyPredictor:
    # Single kernels, too: with fewer than a hundred graphs errors are not told apart, and a file is missing.
    blocks = [*cell_graphs[:50], *((kernel,) for graph in cell_graphs[50:] for kernel in graph)]
    networks = [tuple(k for g in blocks[i : i + 5] for k in g) for i in range(0, 50, 5)]
    graphs, marks = [*blocks, *networks], [False] * len(blocks) + [True] * 10
    return LatencyPredictor(rounds=30, random_state=3).fit(graphs, law.measured_ms(graphs, seed=1), is_network=marks)


@pytest.fixture(scope="module")
def original(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predictor")
    save_predictor(made, folder, PROVENANCE)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def rewrite(folder: Path, **changes: object) -> None:
    """Change the content and make its hash fit, as a newer edgecost would."""
    content = json.loads((folder / "predictor.json").read_text())
    content = {name: value for name, value in {**content, **changes}.items() if name != "content_sha256"}
    (folder / "predictor.json").write_text(json.dumps({**content, "content_sha256": content_hash(content)}, indent=1))


def test_what_comes_back_predicts_the_same_to_the_last_bit(made, original, cell_graphs) -> None:
    back, provenance = load_predictor(original)
    assert provenance == PROVENANCE
    assert back.get_params() == made.get_params()
    for network in (False, True):
        assert made.price(cell_graphs, network=network) == back.price(cell_graphs, network=network)
    np.testing.assert_array_equal(back.network_scores_, made.network_scores_)
    assert back.composition_ == made.composition_
    assert back.core_cache_bytes_ == made.core_cache_bytes_


def test_saving_what_was_loaded_gives_the_same_bytes(original, tmp_path) -> None:
    back, provenance = load_predictor(original)
    save_predictor(back, tmp_path / "again", provenance)
    for name in ("predictor.json", "booster.txt"):
        assert (original / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_predictor_without_networks_comes_back_without_their_factor(cell_graphs, law, tmp_path) -> None:
    made = LatencyPredictor(rounds=5).fit(cell_graphs[:20], law.true_ms(cell_graphs[:20]))
    save_predictor(made, tmp_path, {})
    back, _ = load_predictor(tmp_path)
    assert back.composition_ is None
    assert len(back.network_scores_) == 0


@pytest.mark.parametrize("name", ["predictor.json", "booster.txt", "spread.txt"])
def test_a_changed_byte_anywhere_is_refused(folder, name) -> None:
    path = folder / name
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    places = {0, len(whole) - 1, whole.index(b"\n"), whole.index(b" "), *rng.integers(0, len(whole), 60).tolist()}
    for place in sorted(places):
        for value in {whole[place] ^ 1, ord("\r"), ord("\t"), ord("9"), 0xFF} - {whole[place]}:
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            with pytest.raises(ArtefactError):
                load_predictor(folder)
    path.write_bytes(whole)
    load_predictor(folder)


@pytest.mark.parametrize("name", ["predictor.json", "booster.txt", "spread.txt"])
def test_a_file_cut_off_or_lengthened_is_refused(folder, name) -> None:
    path = folder / name
    whole = path.read_bytes()
    for end in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ArtefactError):
            load_predictor(folder)
    path.write_bytes(whole + b"\n")
    with pytest.raises(ArtefactError, match="was changed"):
        load_predictor(folder)


@pytest.mark.parametrize("name", ["predictor.json", "booster.txt", "spread.txt"])
def test_a_missing_file_is_said_to_be_missing(folder, name) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} is not there") as caught:
        load_predictor(folder)
    assert "edgecost train" in caught.value.remedy


def test_the_booster_of_another_predictor_is_refused(folder, made, cell_graphs, law) -> None:
    other = LatencyPredictor(rounds=5).fit(cell_graphs[:20], law.true_ms(cell_graphs[:20]))
    (folder / "booster.txt").write_text(other.booster_.model_to_string())
    with pytest.raises(ArtefactError, match=r"booster\.txt was changed"):
        load_predictor(folder)


def test_a_newer_schema_says_to_upgrade(folder) -> None:
    rewrite(folder, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(ArtefactError, match=f"schema version {SCHEMA_VERSION + 1}") as caught:
        load_predictor(folder)
    assert "upgrade edgecost" in caught.value.remedy


@pytest.mark.parametrize("version", [0, -1, 1, True, "1", None, 2.0])
def test_a_schema_version_that_never_was_is_refused(folder, version) -> None:
    rewrite(folder, schema_version=version)
    with pytest.raises(ArtefactError, match="schema version"):
        load_predictor(folder)


@pytest.mark.parametrize("field", ["features", "work"])
def test_a_predictor_of_other_features_is_refused(folder, field) -> None:
    rewrite(folder, **{field: ["mystery"]})
    with pytest.raises(ArtefactError, match=f"other {field}"):
        load_predictor(folder)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"format": "edgecost-lut"}', "[" * 100_000, "NaN", "1e999"])
def test_json_that_is_no_predictor_is_refused(folder, text) -> None:
    (folder / "predictor.json").write_text(text)
    with pytest.raises(ArtefactError):
        load_predictor(folder)


def test_a_number_beyond_all_bounds_is_refused(folder) -> None:
    path = folder / "predictor.json"
    path.write_text(path.read_text().replace('"learning_rate": 0.05', '"learning_rate": 1e999'))
    with pytest.raises(ArtefactError, match="was changed"):
        load_predictor(folder)


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(made, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            save_predictor(made, folder, {})
        assert caught.value.remedy


def test_saving_over_an_older_predictor_replaces_it(folder, cell_graphs, law) -> None:
    other = LatencyPredictor(rounds=5).fit(cell_graphs[:20], law.true_ms(cell_graphs[:20]))
    save_predictor(other, folder, {"device": "other"})
    back, provenance = load_predictor(folder)
    assert provenance == {"device": "other"}
    np.testing.assert_array_equal(back.predict(cell_graphs[:20]), other.predict(cell_graphs[:20]))
    assert sorted(path.name for path in folder.iterdir()) == ["booster.txt", "predictor.json"]


def test_nothing_on_disk_is_a_pickle(original) -> None:
    """All files are text; the JSON names the hashes of the others."""
    content = json.loads((original / "predictor.json").read_text(encoding="utf-8"))
    others = sorted(path.name for path in original.iterdir() if path.name != "predictor.json")
    for name in others:
        text = (original / name).read_bytes()
        assert text.startswith(b"tree\n")
        assert content[f"{name.removesuffix('.txt')}_sha256"] == hashlib.sha256(text).hexdigest()
    assert others in (["booster.txt"], ["booster.txt", "spread.txt"])
