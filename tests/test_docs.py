"""The documentation is true: commands, code blocks, queries, links, tables and examples are what it says they are."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import create_engine, text

import edgecost
from edgecost.costmodels.lut_formats import native
from edgecost.costmodels.lut_formats.contract import LutFormatContract, checksum_lut
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import save_predictor
from edgecost.costmodels.space_check import check_space
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler import errors, protocol
from edgecost.profiler.errors import EdgecostError
from tests.doc_scripts import load_script

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for room in ("docs", "examples", "benchmarks") for page in (ROOT / room).rglob("*.md"))]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Commands in running text and in code blocks; the words after the name are options and arguments.
COMMAND = re.compile(r"(?<![\w./-])edgecost ((?:[a-z]+(?:-[a-z]+)* ?)+)")
TABLE = "ofa-mobilenetv3-w1-224.lut.json"


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(read(page)) if found == language]


make_cli_reference = load_script("make_cli_reference")
make_block_reference = load_script("make_block_reference")
make_format_reference = load_script("make_format_reference")
make_hub_reference = load_script("make_hub_reference")
make_space_reference = load_script("make_space_reference")
make_terminal_picture = load_script("make_terminal_picture")


@pytest.fixture(scope="module")
def lut_file(tmp_path_factory):
    """A complete table whose latencies are known numbers and not milliseconds of anything."""
    folder = tmp_path_factory.mktemp("docs") / "edgecost-quickstart"
    folder.mkdir()
    space = load_space("ofa-mobilenetv3")
    return native.NativeFormat().write(checksum_lut(space), space, folder)[0]


def test_the_command_line_reference_is_not_stale():
    assert make_cli_reference.reference() == read("docs/reference/cli.md"), (
        "run: .venv/bin/python docs/make_cli_reference.py"
    )


def test_the_reference_of_formats_is_not_stale():
    assert make_format_reference.page() == read("docs/reference/lut-formats.md"), (
        "run: .venv/bin/python docs/make_format_reference.py"
    )


def test_every_command_is_in_the_reference():
    headings = re.findall(r"^## (.+)$", read("docs/reference/cli.md"), re.MULTILINE)
    assert headings == [path for path, _, _ in make_cli_reference.all_commands()]


def test_every_command_that_does_something_has_an_example_in_its_help():
    without = [
        path
        for path, command, context in make_cli_reference.all_commands()
        if not hasattr(command, "commands") and f"Example:  {path}" not in command.get_help(context)
    ]
    assert without == []


def test_the_pages_name_only_commands_that_exist():
    known = {path.removeprefix("edgecost").strip() for path, _, _ in make_cli_reference.all_commands()}
    for page in PAGES:
        quoted = [*BLOCK.findall(page.read_text(encoding="utf-8"))]
        code = [body for language, body in quoted if language == "sh"]
        code += re.findall(r"`(edgecost [^`]+)`", page.read_text(encoding="utf-8"))
        for words in (match.split() for body in code for match in COMMAND.findall(body)):
            assert words[0] in known, f"{page.name}: edgecost {words[0]}"
            if any(path.startswith(f"{words[0]} ") for path in known):
                assert " ".join(words[:2]) in known, f"{page.name}: edgecost {' '.join(words[:2])}"


def test_the_picture_is_drawn_from_the_kept_output():
    output = read("docs/pictures/quickstart.txt")
    assert make_terminal_picture.draw(output) == read("docs/pictures/quickstart.svg"), (
        "run: .venv/bin/python docs/make_terminal_picture.py"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    targets = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
    lost = [target for target in targets if target and "://" not in target and not (page.parent / target).exists()]
    assert lost == []


def test_every_page_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}
    decisions = ROOT / "docs" / "decisions" / "README.md"
    linked |= {(decisions.parent / link).resolve() for link in LINK.findall(decisions.read_text(encoding="utf-8"))}
    assert {page for page in PAGES if "docs" in page.relative_to(ROOT).parts} <= linked | {index}


def test_the_python_of_the_readme_runs(lut_file, cell_graphs, law, monkeypatch, tmp_path, capsys):
    predictor = LatencyPredictor(rounds=5).fit(cell_graphs, law.measured_ms(cell_graphs, seed=0))
    save_predictor(predictor, lut_file.parent / "predictor", {})
    latency = SimpleNamespace(median_ms=1.0)
    measured = SimpleNamespace(measurement=SimpleNamespace(latency=latency), kernels=["kernel"])

    def profile(model, *, store):
        assert isinstance(store, Store)
        return measured

    # Measuring takes seconds and a quiet machine; tests/test_quickstart.py does it.
    monkeypatch.setattr(edgecost, "profile", profile)
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "readme.sqlite"))
    monkeypatch.chdir(lut_file.parent.parent)
    found = blocks("README.md", "python")
    assert len(found) == 2
    for body in found:
        exec(compile(body, "README.md", "exec"), {})  # the text is ours
    assert "1.0 kernel" in capsys.readouterr().out


def test_the_python_of_the_advice_runs(lut_file, monkeypatch, capsys):
    monkeypatch.chdir(lut_file.parent.parent)
    for body in blocks("docs/how-to/advise-on-a-model.md", "python"):
        exec(compile(body, "advise-on-a-model.md", "exec"), {})
    assert "Swap(" in capsys.readouterr().out


def test_the_python_for_optuna_runs(lut_file, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="optuna is not installed").logging.disable_default_handler()
    monkeypatch.chdir(lut_file.parent.parent)
    for body in blocks("docs/how-to/search-with-a-live-table.md", "python"):
        exec(compile(body, "search-with-a-live-table.md", "exec"), {})
    assert capsys.readouterr().out.startswith("[")


def test_the_python_of_the_tutorial_runs(lut_file, monkeypatch):
    monkeypatch.chdir(lut_file.parent.parent)
    names: dict[str, object] = {}
    for body in blocks("docs/tutorial/first-lut.md", "python"):
        exec(compile(body, "first-lut.md", "exec"), names)
    assert len(names["cheapest"]) == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_compile(page):
    for body in blocks(str(page.relative_to(ROOT)), "python"):
        compile(body, page.name, "exec")


def test_the_space_of_the_how_to_has_the_cells_that_it_claims(tmp_path):
    page = read("docs/how-to/add-a-search-space.md")
    file = tmp_path / "small.toml"
    file.write_text(blocks("docs/how-to/add-a-search-space.md", "toml")[0], encoding="utf-8")
    space = load_space(file)
    assert f"It has {len(space.measurable)} cells" in page
    assert f"= {space.size} architectures" in page
    assert space.encode([{"ks": [3, 5], "e": [6, 3], "d": [2]}]).shape == (1, 2)
    assert space.build(space.sample(1, seed=0)).graph_hash


def test_the_shared_choices_of_the_how_to_make_a_space(tmp_path):
    file = tmp_path / "shared.toml"
    file.write_text(blocks("docs/how-to/add-a-search-space.md", "toml")[1], encoding="utf-8")
    space = load_space(file)
    assert check_space(space).networks == 3
    assert not space.is_chain
    stage = {cell.key for cell in space.measurable if cell.layer == "stage1"}
    # The first block: 2 widths, 2 kernels, 2 expansions; the second the same at the new width.
    assert len(stage) == 16


def test_the_reference_of_the_hub_is_not_stale():
    assert make_hub_reference.PAGE.read_text(encoding="utf-8") == make_hub_reference.page(), (
        "run: .venv/bin/python docs/make_hub_reference.py"
    )


def test_the_reference_of_spaces_is_not_stale():
    assert make_space_reference.PAGE.read_text(encoding="utf-8") == make_space_reference.page()


def test_the_reference_of_blocks_is_not_stale():
    assert make_block_reference.PAGE.read_text(encoding="utf-8") == make_block_reference.page()


class TestTheFormatOfTheHowTo(LutFormatContract):
    """The worked example passes the contract, with the reader that the page shows."""

    names: dict[str, type] = {}  # noqa: RUF012 - filled once, by the page

    @classmethod
    def setup_class(cls):
        for body in blocks("docs/how-to/add-a-lut-format.md", "python"):
            exec(compile(body, "add-a-lut-format.md", "exec"), cls.names)

    def make_format(self):
        return self.names["TabFormat"]()

    def read_totals(self, file, archs, space):
        return self.names["TestTabFormat"]().read_totals(file, archs, space)


@pytest.mark.parametrize("query", blocks("docs/how-to/query-the-database.md", "sql"), ids=lambda q: q.split()[1])
def test_the_queries_run_on_an_empty_store(query, database_url):
    Store(database_url).close()
    url = database_url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url if "://" in url else f"sqlite:///{url}")
    try:
        with engine.connect() as connection:
            assert connection.execute(text(query.rstrip().rstrip(";"))).fetchall() == []
    finally:
        engine.dispose()


def test_the_exit_codes_are_those_of_the_error_tree():
    rows = re.findall(r"^\| (\d+) \| `(\w+)`", read("docs/reference/exit-codes.md"), re.MULTILINE)
    tree = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EdgecostError)]
    own = {kind.__name__: kind.exit_code for kind in tree if "exit_code" in vars(kind)}
    assert {name: int(code) for code, name in rows} == own
    page = read("docs/reference/exit-codes.md")
    assert [kind.__name__ for kind in tree if f"`{kind.__name__}`" not in page] == []


def test_the_protocol_page_names_every_constant():
    page = read("docs/explain/protocol.md")
    constants = [name for name in vars(protocol) if name.isupper() and not name.startswith("_") and name != "PROTOCOL"]
    assert [name for name in constants if f"`{name}`" not in page] == []
    assert f"| `CANARY_LIMIT` | {protocol.CANARY_LIMIT} |" in page
    assert f"| `target` | {protocol.Settings().target:.0%} |".replace("%", " %") in page
    for name in ("visits_min", "visits_max", "rounds_max"):
        assert f"| `{name}` | {getattr(protocol.Settings(), name)} |" in page


#: What needs something else than this table, or a package that may be missing, and the test that runs it.
OWN_TESTS = {
    "differentiable_latency_loss.py": "test_examples.py",
    "ofa_evolutionary_search.py": "test_examples.py",
    "optuna_two_objectives.py": "test_examples.py",
    "price_a_folder.py": "test_examples.py",
    "simulator_environment.py": "test_simulator_environment.py",
}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
READERS = [script for script in EXAMPLES if script.name not in OWN_TESTS]


def test_every_example_is_listed_and_short_and_run():
    listed = [link for link in LINK.findall(read("examples/README.md")) if link.endswith(".py")]
    assert sorted(listed) == [script.name for script in EXAMPLES]
    for script in EXAMPLES:
        if script.name in OWN_TESTS:
            assert f'"{script.stem}"' in read(f"tests/{OWN_TESTS[script.name]}")
    # The environment of Gymnasium is the one that its protocol makes longer.
    long = [one.name for one in EXAMPLES if len(one.read_text(encoding="utf-8").splitlines()) > 120]
    assert set(long) <= {"simulator_environment.py"}


@pytest.mark.parametrize("script", READERS, ids=lambda script: script.stem)
def test_the_examples_run_on_a_table(script, lut_file):
    done = subprocess.run([sys.executable, script, lut_file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"ks":' in done.stdout


def test_the_search_keeps_to_its_budget(lut_file):
    lut = edgecost.Lut.load(lut_file)
    budget_ms = float(np.median(lut.price(lut.space.sample(100, seed=3))))
    script = ROOT / "examples" / "latency_constrained_search.py"
    command = [sys.executable, script, lut_file, "--budget-ms", str(budget_ms), "--generations", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(re.search(r"found ([\d.]+) ms", done.stdout)[1]) <= budget_ms + 0.001


def test_the_pricing_benchmark_runs(lut_file):
    script = ROOT / "benchmarks" / "pricing.py"
    command = [sys.executable, script, lut_file, "--networks", "50", "--repeats", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ratio" in done.stdout
