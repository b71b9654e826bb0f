# Two commands do all the set-up on a machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# One test process a core, and in each torch with one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal
INSTALLED := $(VENV)/.installed

.PHONY: demo test quick lint types format docs gallery clean

demo: $(INSTALLED)  ## train two small networks on bundled digits, run the analyses, draw the figures
	$(BIN)/resnet-probe demo --out results/demo

test: $(INSTALLED)  ## every test this machine can run
	$(PYTEST)

quick: $(INSTALLED)  ## the tests without the slow ones and without the real checkpoints
	$(PYTEST) -m "not slow and not real and not browser and not gpu"

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

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) results build dist site .pytest_cache .mypy_cache .ruff_cache
