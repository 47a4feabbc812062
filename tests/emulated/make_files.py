"""What emulated boards boot with: QEMU, Debian's Python for arm64 and wheels for it, all in one folder.

Nothing is installed and nobody need be root: Debian's packages are unpacked, with a package state of our own, so that
the machine's knows nothing of another architecture.

    python tests/emulated/make_files.py FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

QEMU = "qemu-aarch64-static"
#: Of the locks in requirements/; Ubuntu 18.04, which a Jetson Nano has, takes no wheel for a newer C library.
PLATFORMS = {"1.21.0": "manylinux_2_27", "1.28.0": "manylinux_2_27", "1.32.0": "manylinux_2_28"}
_REPOSITORY = Path(__file__).resolve().parents[2]
_PYTHON = "3.11"
_PACKAGES = (
    "libbz2-1.0", "libc6", "libcrypt1", "libdb5.3", "libexpat1", "libffi8", "libgcc-s1", "libgomp1", "liblzma5",
    "libncursesw6", "libnsl2", "libpython3.11-minimal", "libpython3.11-stdlib", "libreadline8", "libsqlite3-0",
    "libssl3", "libstdc++6", "libtinfo6", "libtirpc3", "libuuid1", "python3.11-minimal", "zlib1g",
)  # fmt: skip


def main(folder: Path) -> None:
    """Fill the folder; what is there already is made anew."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise SystemExit(f"edgecost: emulated boards need Debian's {tool}")
    folder.mkdir(parents=True, exist_ok=True)
    _make_qemu(folder)
    _unpack(_download(folder, "arm64", _PACKAGES), folder / "sysroot")
    for version, platform in PLATFORMS.items():
        _make_site(folder / f"site-{version}", version, platform)


def _make_qemu(folder: Path) -> None:
    place = folder / QEMU
    place.unlink(missing_ok=True)
    found = shutil.which(QEMU)
    if found is not None:
        place.symlink_to(found)
        return
    machine = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout
    unpacked = _unpack(_download(folder, machine.strip(), ["qemu-user-static"]), folder / "qemu")
    place.symlink_to(unpacked / "usr" / "bin" / QEMU)


def _download(folder: Path, architecture: str, packages: Sequence[str]) -> Path:
    """Packages of Debian for that architecture, by the sources that this machine has."""
    state, debs = folder / f"apt-{architecture}", folder / f"debs-{architecture}"
    shutil.rmtree(debs, ignore_errors=True)
    debs.mkdir()
    for part in ("state/lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", *packages], check=True, cwd=debs)
    return debs


def _unpack(debs: Path, into: Path) -> Path:
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(deb), str(into)], check=True)
    return into


def _make_site(site: Path, version: str, platform: str) -> None:
    """The packages of a board with that ONNX Runtime, as pip would choose them there."""
    shutil.rmtree(site, ignore_errors=True)
    platforms = (f"{platform}_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64", "any")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(site)),
            *("--only-binary", ":all:", "--implementation", "cp", "--python-version", _PYTHON),
            *(word for one in platforms for word in ("--platform", one)),
            *("--no-deps", "--require-hashes"),
            *("--requirement", str(_REPOSITORY / "requirements" / f"board-ort-{version}.txt")),
        ],
        check=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
