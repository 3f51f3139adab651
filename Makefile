# Everything from a fresh clone: `make demo`, `make test`. Each sets up what it needs, once, in .venv.

PYTHON ?= python3
# Many a test waits: for a broker, for the air, for a process to end. Two more than there are cores keep those busy.
JOBS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint bench picture clean

help:
	@echo 'make demo    launch the fleet of configs/demo.toml and print its report'
	@echo 'make test    all tests, with coverage (JOBS=$(JOBS) at a time)'
	@echo 'make lint    ruff and mypy over code and tests'
	@echo 'make bench   the figures of speed and memory on this machine'
	@echo 'make picture docs/demo.svg, broadcast.svg and chart.svg anew, from runs of these'
	@echo 'make clean   remove what these made, but no state directory of a fleet'

demo: $(VENV)/.installed
	@$(BIN)/otafleet up configs/demo.toml --fresh

# The rooms that parse octets from the air are covered to the last branch, the rest to nine tenths. The second check
# speaks only when it fails, so that pytest's summary is the last thing on the screen.
# Tests start processes by the hundred; each would compile all sources anew where bytecode may not be kept.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.compiled
	@rm -f .coverage .coverage.*
	@$(BIN)/pytest -n $(JOBS) --dist worksteal --cov --cov-branch --cov-report=term --cov-fail-under=90
	@report=$$($(BIN)/coverage report --include='transport/*' --fail-under=100) || \
	    { echo "$$report"; echo 'make test: the branches of transport/ must be covered to 100 %' >&2; exit 1; }

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.installed-test
	@$(BIN)/python -c 'import os, platform as p; print(p.machine(), os.cpu_count(), "cores, Python", p.python_version())'
	@for file in tests/benchmarks/bench_*.py; do \
	    $(BIN)/python -m tests.benchmarks.$$(basename $$file .py) || exit 1; \
	done

picture: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.screenshot

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find agents bus tests transport -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says what was installed from which pyproject.toml, so that a second run begins at once.
$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	@echo 'installing otafleet in $(VENV), once'
	@$(PIP) install -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/.made
	@echo 'installing otafleet and its tests in $(VENV), once'
	@$(PIP) install -e '.[test]'
	@touch $(VENV)/.installed $@

# In a fresh clone pytest compiles its tests anew in each of its processes, and the tracer makes that twice as long. Here
# two do it, once, for all of them. What they find wrong the tests say themselves.
$(VENV)/.compiled: $(VENV)/.installed-test
	@$(BIN)/pytest --collect-only -qq tests/agents >/dev/null & \
	    $(BIN)/pytest --collect-only -qq tests/bus tests/scenarios tests/transport >/dev/null; wait
	@touch $@

# Debian's python3 without python3-venv lacks ensurepip; a pip of its own can then stand in for it.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'make: otafleet needs Python 3.11 or newer: name one, as in "make test PYTHON=python3.12"' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || \
	    { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --quiet --python $(BIN)/python install pip; } \
	        >/dev/null 2>&1 || \
	    { echo 'make: $(PYTHON) cannot make a virtual environment with pip in it; install its venv module' \
	           '(Debian: apt-get install python3-venv) or name another Python, as in "make test PYTHON=python3.12"' >&2; \
	      exit 1; }
	@touch $@
