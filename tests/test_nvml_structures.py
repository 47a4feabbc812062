"""The package nvidia-ml-py over a library of NVML's structures, compiled here: what a driver is asked, and answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgecost.devices.gpu_memory import DEVICE, PROCESS

pytest.importorskip("pynvml", reason="pip install nvidia-ml-py")
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

SOURCE = Path(__file__).with_name("nvml_standin.c")
#: A process that asks about itself, as if it were a runner.
ASK = """
import json, os, sys
from edgecost.devices.gpu_memory import gpu_memory
from edgecost.profiler.records import RuntimeProfile
memory = gpu_memory(RuntimeProfile("onnxruntime", "1", "CUDAExecutionProvider"), sees_all=sys.argv[1] == "host")
with memory.watching(os.getpid()) as held:
    found = held()
print(json.dumps([found.method, found.message, found.peak_bytes, found.end_bytes]))
"""


@dataclass(frozen=True)
class Driver:
    """A folder with the library; a byte more is used where only the first version of the structure is there."""

    folder: Path
    more_bytes: int


@pytest.fixture(scope="module", params=["today", "before 510"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    folder = tmp_path_factory.mktemp("driver")
    is_old = request.param == "before 510"
    flags = ["-Wall", "-Wextra", "-Werror", *(["-DBEFORE_510"] if is_old else [])]
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", *flags, "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return Driver(folder, 1 if is_old else 0)


def asked(driver: Driver, place: str = "host", **said: int) -> list[object]:
    """What is made of what the library says; its process is the one that asks."""
    told = {f"STANDIN_{name.upper()}": str(number) for name, number in said.items()}
    script = f"import os\nos.environ.setdefault('STANDIN_PID', str(os.getpid()))\n{ASK}"
    ended = subprocess.run(
        [sys.executable, "-c", script, place],
        env={**os.environ, "LD_LIBRARY_PATH": str(driver.folder), **told},
        capture_output=True,
        check=True,
        timeout=120,
    )
    found = json.loads(ended.stdout)
    assert isinstance(found, list)
    return found


def test_a_process_holds_what_its_structure_says_whoever_else_is_there(driver: Driver) -> None:
    assert asked(driver, held=3 << 30) == [PROCESS, "", 3 << 30, 3 << 30]
    assert asked(driver, held=3 << 30, others=9, mig=1) == [PROCESS, "", 3 << 30, 3 << 30]


def test_a_value_that_is_not_available_is_none_and_the_use_of_all_stands_for_it(driver: Driver) -> None:
    used = (5 << 30) + driver.more_bytes
    assert asked(driver, used=5 << 30) == [DEVICE, "", used, used]
    assert asked(driver, "container", pid=4242, held=7, used=5 << 30) == [DEVICE, "", used, used]


def test_the_use_of_all_is_nobodys_where_others_are_there_or_the_gpu_is_divided(driver: Driver) -> None:
    for found, why in (
        (asked(driver, used=5 << 30, others=1), "1 other process used the GPU"),
        (asked(driver, used=5 << 30, mig=1), "divided (MIG)"),
    ):
        method, message, peak, end = found
        assert (method, peak, end) == ("", None, None)
        assert why in str(message)
