# What a new checkout can do with nothing but Python >= 3.11, git and make.
#
#   make demo     the main job on data in the package, into atomprint-demo/
#   make test     every test
#   make check    lint, format, types
#   make docs     the generated pages of docs/
#
# Each makes .venv first, with the versions of constraints.txt. PYTHON and VENV can be given:
# make test PYTHON=python3.12 VENV=/tmp/venv

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# Options for pytest, for instance: make test PYTEST="-k report -x"
PYTEST ?=

# The build backend is installed too, in an environment of its own: pinned by the same file.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@rm -rf atomprint-demo
	$(BIN)/atomprint demo --out atomprint-demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python scripts/generate_reference.py --check
	$(BIN)/python scripts/generate_results_page.py --check
	$(BIN)/python scripts/generate_fingerprints_page.py --check
	$(BIN)/python scripts/generate_pretraining_page.py --check
	$(BIN)/python scripts/generate_faults_page.py --check
	$(BIN)/python scripts/generate_billions_page.py --check
	$(BIN)/python scripts/generate_generators_page.py --check
	$(BIN)/python scripts/generate_corpora_page.py --check
	$(BIN)/python scripts/generate_scaling_table.py --check

docs: $(VENV)/.installed-dev
	$(BIN)/python scripts/generate_reference.py
	$(BIN)/python scripts/generate_results_page.py
	$(BIN)/python scripts/generate_fingerprints_page.py
	$(BIN)/python scripts/generate_pretraining_page.py
	$(BIN)/python scripts/generate_faults_page.py
	$(BIN)/python scripts/generate_billions_page.py
	$(BIN)/python scripts/generate_generators_page.py
	$(BIN)/python scripts/generate_corpora_page.py
	$(BIN)/python scripts/generate_scaling_table.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -e '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
