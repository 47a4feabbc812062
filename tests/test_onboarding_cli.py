"""``edgecost onboard`` and ``price`` as a user meets them. The tiny space is really measured, once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgecost.cli.main import main
from edgecost.costmodels.onboarding.arch_space import arch_text, open_arch_space

Captured = pytest.CaptureFixture[str]
TINY = Path(__file__).with_name("tiny.toml")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run(captured: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = captured.readouterr()
    return code, out, err


def known_csv(folder: Path) -> Path:
    space = open_arch_space(str(TINY))
    archs = space.pool[::8]
    active = (archs >= 0).sum(axis=1) + 0.3 * np.where(archs >= 0, archs, 0).sum(axis=1)
    lines = [
        "arch,pi_ms,phone_us",
        *(f"{arch_text(a)},{1 + n},{900 * (2 + n)}" for a, n in zip(archs, active, strict=True)),
    ]
    (folder / "known.csv").write_text("\n".join(lines))
    return folder / "known.csv"


def test_a_space_is_onboarded_priced_and_found_again(folders, capsys):
    known, model, picture = known_csv(folders), folders / "model", folders / "more.svg"
    arguments = ("onboard", "--space", TINY, "--budget", "6", "--known", known, "--out", model)
    code, out, err = run(capsys, *arguments, "--dry-run")
    assert code == 0
    assert "6 networks to measure (stratified)" in out
    assert "Nothing was measured" in out
    assert not model.exists()
    code, out, err = run(capsys, *arguments, "--picture", picture)
    assert code == 0, err
    for words in (
        "pi",
        "phone",
        "experts",
        "leave-one-out error",
        "verdict",
        "What more networks would bring",
        "Seconds",
    ):
        assert words in out
    assert picture.read_text().startswith("<?xml")
    # Once more: everything is in the store, and the predictors in the cache.
    code, out, err = run(capsys, *arguments, "--json")
    again = json.loads(out)
    assert code == 0
    assert again["campaign"]["measured"] == 0
    assert len(again["samples"]) == 6
    assert len(again["known_devices"]) == 2
    assert sum(again["experts"].values()) == pytest.approx(1.0)
    code, out, err = run(capsys, "price", model, "--random", "3", "--json")
    priced = json.loads(out)
    assert code == 0
    assert len(priced["networks"]) == 3
    for network in priced["networks"]:
        assert 0 <= network["lo_ms"] < network["latency_ms"] < network["hi_ms"]
    code, out, _ = run(capsys, "price", model, priced["networks"][0]["arch"])
    assert code == 0
    assert priced["networks"][0]["arch"] in out
    assert "Mean leave-one-out error" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("onboard",), "what shall be learnt"),
        (("onboard", "--space", "nix"), "no search space 'nix'"),
        (("onboard", "--space", "fbnet", "nobody"), "no device 'nobody'"),
        (("onboard", "--space", "fbnet", "--from", "pi"), "no known device is called 'pi'"),
        (("onboard", "--space", "fbnet", "--alone", "--from", "pi"), "--alone borrows from nobody"),
        (("onboard", "--space", "fbnet", "--known", "nix.npz"), "nix.npz cannot be read"),
        (("onboard", "--kernels", "board"), "learns this machine"),
        (("onboard", "--kernels", "--space", "fbnet"), "leave out"),
        (("onboard", "--kernels"), "no other device or profile"),
        (("price", "nowhere", "--random", "1"), "is not there"),
        (("price", "nowhere"), "--random 5"),
    ],
)
def test_what_makes_no_sense_is_answered_with_the_way_out(capsys, arguments, words):
    code, _out, err = run(capsys, *arguments)
    assert code in (2, 8)
    assert words in err.replace("Leave", "leave")
    assert "Traceback" not in err
