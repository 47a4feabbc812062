"""The package is what the repository says it is: its rooms, its face, its lock files and its version agree."""

import ast
import re
import sys
from pathlib import Path

import pytest

import edgecost
from edgecost.profiler import errors

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGED = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9-]+==[^\s;]+)", re.MULTILINE)


def pins(lock: Path) -> dict[str, str]:
    """Every pin of a lock file with all that belongs to it: its marker and its hashes."""
    pieces = PIN.split(lock.read_text(encoding="utf-8"))
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def package_sources() -> list[Path]:
    rooms = [ROOT / name for name in PACKAGED]
    return sorted(file for room in rooms for file in (room.rglob("*.py") if room.is_dir() else [room]))


def test_every_folder_with_an_init_is_packaged():
    folders = {init.parent.name for init in ROOT.glob("*/__init__.py")}
    assert folders == {name for name in PACKAGED if (ROOT / name).is_dir()}


def test_every_room_is_banned_as_a_top_level_import():
    banned = PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert {name for name in PACKAGED if (ROOT / name).is_dir()} <= set(banned)


def test_the_public_names_are_sorted_and_each_has_a_home():
    assert edgecost.__all__ == sorted(edgecost.__all__)
    assert set(edgecost.__all__) == set(edgecost._HOMES)
    assert set(edgecost.__all__) <= set(dir(edgecost))


def test_every_public_name_can_be_imported():
    for name in edgecost.__all__:
        assert getattr(edgecost, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Predictor'"):
        edgecost.Predictor  # noqa: B018 - the access is the test


def test_a_missing_optional_package_names_the_remedy(monkeypatch):
    def without_lightgbm(home, package):
        raise ModuleNotFoundError("No module named 'lightgbm'", name="lightgbm")

    monkeypatch.delitem(vars(edgecost), "LatencyPredictor", raising=False)
    monkeypatch.setattr(edgecost, "import_module", without_lightgbm)
    with pytest.raises(ImportError, match=r"needs the package lightgbm: pip install 'edgecost\[host\]'"):
        edgecost.LatencyPredictor  # noqa: B018 - the access is the test


def test_the_drawing_of_the_error_tree_shows_every_error_its_parent_and_its_exit_code():
    def defined(kind, depth=0):
        for child in kind.__subclasses__():
            # Errors that other modules define for themselves are not for callers to catch by name.
            if child.__module__ == errors.__name__:
                yield (depth, child.__name__, child.exit_code)
                yield from defined(child, depth + 1)

    drawn = re.findall(r"^    ([│ ]*)[├└]── (\w+)(?: +(\d+))?", errors.__doc__, re.MULTILINE)
    shown, codes = [], {}
    for indent, name, code in drawn:
        depth = len(indent) // 4
        codes[depth] = int(code) if code else codes[depth - 1]
        shown.append((depth, name, codes[depth]))
    assert shown == list(defined(errors.EdgecostError))


def test_inside_the_package_imports_are_relative():
    absolute = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in package_sources()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(name.name.split(".")[0] == "edgecost" for name in node.names))
        or (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "edgecost")
    ]
    assert absolute == []


def test_the_runner_keeps_to_the_syntax_of_python_3_6():
    tree = ast.parse((ROOT / "profiler" / "runner.py").read_text(encoding="utf-8"), feature_version=(3, 6))
    futures = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert futures == []  # `annotations` came with 3.7, and the grammar alone does not tell


def test_the_changelog_ends_in_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert versions[0] == edgecost.__version__


def test_the_citation_is_of_this_package_and_this_version():
    # Read as text: YAML is an extra, and these lines are plain. A number such as 1.10 is quoted to stay one.
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    said = dict(re.findall(r"^([a-z-]+): (.+)$", citation, re.MULTILINE))
    assert said["cff-version"] == "1.2.0"
    assert said["version"].strip("'\"") == edgecost.__version__
    assert said["license"] == PYPROJECT["project"]["license"]
    assert (said["title"], said["type"]) == ("edgecost", "software")
    assert "\nauthors:\n  - name: The edgecost developers\n" in citation
    assert {"message", "title", "authors"} <= set(re.findall(r"^([a-z-]+):", citation, re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_a_hash_and_no_place(lock):
    assert "://" not in lock.read_text(encoding="utf-8")
    assert pins(lock)
    unhashed = [pin for pin, rest in pins(lock).items() if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", rest)]
    assert unhashed == []
    directives = [line for line in lock.read_text(encoding="utf-8").splitlines() if line.startswith("-")]
    assert directives == []  # --index-url, --find-links, --editable: a lock names no place


def test_the_development_set_holds_the_host_set():
    host, dev = pins(ROOT / "requirements" / "host.txt"), pins(ROOT / "requirements" / "dev.txt")
    assert host.items() <= dev.items()


def test_the_host_set_can_build_the_package():
    names = {pin.partition("==")[0] for pin in pins(ROOT / "requirements" / "host.txt")}
    assert {"hatchling", "editables"} <= names
