# The commands of a working copy. `make` alone lists them.

PYTHON ?= python3
PYTEST_ARGS ?= -n 2 --dist loadfile
LOCK_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# A locked requirement has a hash; pip refuses every file that does not match it.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links

# Those who read our files and ask our adapters have an environment of their own: they want older packages than we do.
CONSUMERS := build/consumers
# What emulated boards boot with.
BOARDS := build/boards
# The lock leaves it out: one version has a build for processors, and one with gigabytes of CUDA, which is the default on
# Linux. TORCH= names another, a wheel for example.
TORCH ?= torch==2.13.0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test test-benchmarks site screenshots test-boards test-consumers lint format lock clean

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

quickstart: build/dev/package.stamp ## Install what a host needs into .venv and run the first minute
	$(BIN)/edgecost quickstart

test: lint ## Everything that must hold: lint, types, import order, tests
	tests/in_memory.sh $(BIN)/python -m pytest -m "not benchmark" $(PYTEST_ARGS)

test-benchmarks: $(VENV)/dev.stamp build/dev/package.stamp ## Every script of benchmarks/ runs, at its smallest
	tests/in_memory.sh $(BIN)/python -m pytest -m benchmark -n 2 --dist worksteal

# Times mean nothing under emulation; that the agent, the runner and the wheels run on these CPUs and files does.
test-boards: $(BOARDS)/made.stamp build/dev/package.stamp ## Agent and runner as aarch64 on recorded boards, under QEMU (fetches 500 MB)
	EDGECOST_EMULATED_BOARDS='$(CURDIR)/$(BOARDS)' $(BIN)/python -m pytest tests/emulated

# nn-Meter writes into the home when it is imported, so there is one for it. Warnings of others are not ours to mend. What is
# missing is a failure here, and a skipped test elsewhere.
test-consumers: $(CONSUMERS)/made.stamp ## The code of NNI, archai, Syne Tune and NATS-Bench reads what we write (heavy)
	EDGECOST_CONSUMERS_REQUIRED=1 HOME='$(CURDIR)/$(CONSUMERS)/home' $(CONSUMERS)/bin/python -m pytest \
		--override-ini filterwarnings=default --disable-warnings tests/consumers tests/test_adapters.py tests/test_arch_samples.py tests/test_examples.py

lint: $(VENV)/dev.stamp build/dev/package.stamp ## Style, types and import order, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

site: $(VENV)/dev.stamp build/dev/package.stamp ## The documentation as a site in build/site, which needs no network
	rm -rf build/site
	$(BIN)/python -m sphinx -q --fail-on-warning --keep-going -c docs -d build/site-doctrees . build/site
	@echo "build/site/index.html"

screenshots: $(VENV)/dev.stamp build/dev/package.stamp ## The pictures of the hub's pages in docs/pictures anew (Chromium)
	PYTHONPATH='$(CURDIR)' $(BIN)/python docs/make_screenshots.py

format: $(VENV)/dev.stamp ## Mend what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/venv.stamp ## Resolve requirements/*.txt anew (all to the newest: make lock LOCK_ARGS=--upgrade)
	$(INSTALL) 'uv>=0.9'
	$(COMPILE) $(LOCK_ARGS) --python-version 3.10 --extra dev pyproject.toml requirements/build.in --output-file requirements/dev.txt
	$(COMPILE) $(LOCK_ARGS) --python-version 3.10 --extra host --constraints requirements/dev.txt pyproject.toml \
		requirements/build.in --output-file requirements/host.txt
	$(COMPILE) $(LOCK_ARGS) --python-version 3.11 --extra host --extra search --constraints requirements/dev.txt \
		--overrides requirements/consumers-left-out.in pyproject.toml requirements/build.in requirements/consumers.in \
		--output-file requirements/consumers.txt
	for locked in requirements/board-ort-*.in; do \
		$(COMPILE) --python-version 3.11 $$locked --output-file $${locked%.in}.txt || exit; done

clean: ## Remove the environment and all that tools made
	rm -rf $(VENV) build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment does not survive a move of the working copy: its stamp holds the place, and elsewhere it is made anew.
ifneq ($(shell cat $(VENV)/venv.stamp 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/venv.stamp
endif
$(VENV)/venv.stamp:
	@command -v '$(PYTHON)' >/dev/null || { \
		echo "edgecost: there is no '$(PYTHON)'. Install Python 3.10 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "edgecost: needs Python 3.10 or newer, but '$(PYTHON)' is $$('$(PYTHON)' --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "edgecost: '$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	'$(PYTHON)' -m venv --clear $(VENV)
	@echo '$(CURDIR)' >$@

$(VENV)/host.stamp: requirements/host.txt $(VENV)/venv.stamp
	$(INSTALL) --require-hashes --requirement requirements/host.txt
	@touch $@

# LightGBM's wheel takes OpenMP from the system, and a Debian without a compiler has none.
OPENMP := $(BIN)/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null

$(VENV)/openmp.stamp: $(VENV)/venv.stamp
	@$(OPENMP) || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || { \
		echo "edgecost: installing the system library libgomp1, which LightGBM needs" >&2; \
		apt-get update -qq && apt-get install -y -qq libgomp1; }
	@$(OPENMP) || { \
		echo "edgecost: LightGBM needs the system library libgomp. On Debian and Ubuntu: sudo apt install libgomp1" >&2; exit 1; }
	@touch $@

# The development set holds the host's set whole, at the same versions.
$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/host.stamp
	$(INSTALL) --require-hashes --requirement requirements/dev.txt
	@touch $@

# The links of the editable install stand in build/dev, and so does the stamp: whoever removes one removes both.
build/dev/package.stamp: pyproject.toml hatch_build.py __init__.py $(VENV)/host.stamp $(VENV)/openmp.stamp
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# The older packages of the consumers install on one Python. What they ask for and the lock leaves out is not missed.
ifneq ($(shell cat $(CONSUMERS)/made.stamp 2>/dev/null),$(CURDIR))
.PHONY: $(CONSUMERS)/made.stamp
endif
$(CONSUMERS)/made.stamp: requirements/consumers.txt
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "edgecost: the consumers are pinned for Python 3.11. Name it: make test-consumers PYTHON=python3.11" >&2; exit 1; }
	'$(PYTHON)' -m venv --clear $(CONSUMERS)
	$(CONSUMERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		--requirement requirements/consumers.txt
	$(CONSUMERS)/bin/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(CONSUMERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@mkdir -p $(CONSUMERS)/home
	@echo '$(CURDIR)' >$@

$(BOARDS)/made.stamp: tests/emulated/make_files.py $(wildcard requirements/board-ort-*.txt) $(VENV)/dev.stamp
	$(BIN)/python tests/emulated/make_files.py $(BOARDS)
	@touch $@
