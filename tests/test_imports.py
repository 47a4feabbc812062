"""Import time is part of the command line: what every command loads is the standard library, click and platformdirs."""

import json
import subprocess
import sys

import pytest

#: Packages that only the commands that need them may load.
HEAVY = {
    "alembic",
    "lightgbm",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "rich",
    "scipy",
    "sqlalchemy",
    "tvm",
    "yaml",
}

IMPORT = "import edgecost"
HELP = """
import runpy
sys.argv = ["edgecost", "--help"]
try:
    runpy.run_module("edgecost", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert not stop.code, stop.code
else:
    raise AssertionError("--help did not end the program")
"""


def modules_after(program: str, folder) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded when the program ends."""
    report = "import json\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\n{report}"],
        cwd=folder,  # not the repository, whose rooms would be importable by their bare names
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("program", [IMPORT, HELP], ids=["import edgecost", "python -m edgecost --help"])
def test_nothing_heavy_is_loaded(program, tmp_path):
    loaded = modules_after(program, tmp_path)
    assert "edgecost" in loaded
    assert loaded & HEAVY == set()
