# Three commands: `make quick` shows what this is, `make test` proves it, `make check` keeps it clean.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find src tests -name '*.py' 2>/dev/null)

.PHONY: quick test check format clean

quick: .venv/quick  ## the main job on the embedded data, and its page
	$(BIN)/joulemark run quick
	$(BIN)/joulemark report quick --output report.html

test: .venv/dev  ## all tests; those whose data or browser are missing are counted as skips
	$(BIN)/python -m pytest

check: .venv/dev  ## lint, types, the direction of imports, and results and words that claim no more than was measured
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/joulemark check results $(addprefix --words ,$(wildcard *.md docs/*.md) pyproject.toml)

format: .venv/dev
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Joulemark needs Python 3.11 to 3.13, and $(PYTHON) is another: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/quick: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[quick]'
	touch $@

.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[quick,nvml,audit,dev]'
	touch $@ .venv/quick
