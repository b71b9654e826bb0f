# Two commands do all the set-up on a machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# One test process a core, and in each torch with one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal
INSTALLED := $(VENV)/.installed
QUICK := not slow and not real and not browser and not gpu
# What looks after the dependencies has an environment of its own, and is no part of what it looks at.
TOOLS := build/tools

.PHONY: demo test quick coverage lowest gpu lint types format docs gallery audit sbom clean

demo: $(INSTALLED)  ## train two small networks on bundled digits, run the analyses, draw the figures
	$(BIN)/resnet-probe demo --out results/demo

test: $(INSTALLED)  ## every test this machine can run
	$(PYTEST)

quick: $(INSTALLED)  ## the tests without the slow ones and without the real checkpoints
	$(PYTEST) -m "$(QUICK)"

coverage: $(INSTALLED)  ## which lines the quick tests run, in all processes that they start
	$(BIN)/python -m coverage erase
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest --numprocesses auto --dist worksteal -m "$(QUICK)"
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --sort=cover

# The oldest versions call what newer ones of their own dependencies call deprecated.
lowest: $(TOOLS)/.installed  ## the quick tests with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear build/lowest
	$(TOOLS)/bin/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct --editable ".[dev]"
	touch build/lowest/.installed
	PYTEST_ADDOPTS="-W ignore::DeprecationWarning" $(MAKE) quick VENV=build/lowest

# Without set-up: a machine with a GPU may have no network, but what is needed. ARGS=--tiny runs it small, on a CPU too.
gpu:  ## the tests marked gpu and the benchmark for machines with CUDA, results/gpu/gpu.md
	PYTHONPATH=. $(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu.py $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## the documentation as pages, in site/; the variable silences an advertisement, not a warning
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

gallery: $(INSTALLED)  ## the figures of docs/gallery.md again, from the networks of `make demo`
	$(BIN)/python docs/make_gallery.py

audit: $(INSTALLED) $(TOOLS)/.installed  ## known vulnerabilities of what is installed; asks the package index
	$(BIN)/python -m pip freeze --exclude-editable > build/installed.txt
	$(TOOLS)/bin/pip-audit --strict --disable-pip --no-deps --requirement build/installed.txt

sbom: $(INSTALLED) $(TOOLS)/.installed  ## what is installed, as a CycloneDX bill of materials, in build/sbom.json
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file build/sbom.json $(BIN)/python

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet uv pip-audit cyclonedx-bom
	touch $@

clean:
	rm -rf $(VENV) results build dist site .pytest_cache .mypy_cache .ruff_cache
