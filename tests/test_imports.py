"""Import time is part of the command line: what every command loads is the standard library, click and platformdirs."""

import json
import subprocess
import sys

import pytest

#: Packages that only the commands that need them may load.
HEAVY = {
    "alembic",
    "fastapi",
    "jinja2",
    "lightgbm",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "psycopg",
    "pydantic",
    "rich",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "starlette",
    "tvm",
    "uvicorn",
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


#: What pricing a model needs: the ONNX file is read, and ONNX Runtime's optimiser asked.
OF_PREDICT = {"numpy", "onnx", "onnxruntime", "rich"}
PREDICT = """
import runpy
sys.argv = ["edgecost", "predict", "model.onnx", "--predictor", "predictor"]
try:
    runpy.run_module("edgecost", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.parametrize("program", [IMPORT, HELP], ids=["import edgecost", "python -m edgecost --help"])
def test_nothing_heavy_is_loaded(program, tmp_path):
    loaded = modules_after(program, tmp_path)
    assert "edgecost" in loaded
    assert loaded & HEAVY == set()


def test_pricing_a_model_loads_no_trainer_and_no_database(tmp_path):
    pytest.importorskip("onnxruntime")
    from edgecost.costmodels.predictor import LatencyPredictor
    from edgecost.costmodels.predictor_file import save_predictor
    from edgecost.profiler.graphs.networks import reference_network
    from edgecost.profiler.kernels.graph import kernels
    from edgecost.profiler.runtimes import host_profile
    from edgecost.profiler.weights import complete

    workload, profile = reference_network("mobilenet_v2").workload(), host_profile()
    found = kernels(workload, profile)
    made = LatencyPredictor(rounds=5).fit([[one] for one in found], [0.01 + 0.001 * k for k in range(len(found))])
    save_predictor(made, tmp_path / "predictor", {})
    (tmp_path / "model.onnx").write_bytes(complete(workload.skeleton, workload.weights))
    loaded = modules_after(PREDICT, tmp_path)
    assert loaded & HEAVY == OF_PREDICT
