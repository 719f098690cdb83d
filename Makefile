# Every target sets up what it needs: a machine with Python 3.11 or newer and make is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes of the test suite already fill two cores.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

# One process alone: a thread for every core.
ALL_CORES := env -u OMP_NUM_THREADS

.PHONY: help setup quickstart test test-oldest test-remote-code bench quality format clean

help:
	@echo "make quickstart  train a small PALO offline and ask it in ten languages (outputs/quickstart/)"
	@echo "make test        the whole test suite"
	@echo "make test-oldest the whole test suite with the oldest Transformers that is supported"
	@echo "make test-remote-code  published code in a second environment, with four versions of Transformers (minutes)"
	@echo "make bench       measure against Transformers' Llava, json and datasets (benchmarks/results/)"
	@echo "make quality     ruff and mypy"
	@echo "make format      let ruff mend what it can"

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

quickstart: setup
	$(ALL_CORES) $(BIN)/palo quickstart --output-dir outputs/quickstart

test: setup
	$(BIN)/python -m modeling_tests.upstream.fetch
	$(BIN)/python -m pytest -n 2 --dist loadfile -rs -m "not slow and not gpu and not vllm"

OLDEST := .venv-oldest
OLDEST_TRANSFORMERS := 5.18.0
$(OLDEST)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(OLDEST)
	sed 's/^transformers==.*/transformers==$(OLDEST_TRANSFORMERS)/' constraints.txt > $(OLDEST)/constraints.txt
	# Its `transformers serve` imports requests without saying so.
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(OLDEST)/constraints.txt --editable ".[dev]" requests
	touch $@

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m modeling_tests.upstream.fetch
	$(OLDEST)/bin/python -m pytest -n 2 --dist loadfile -rs -m "not slow and not gpu and not vllm"

test-remote-code: setup
	$(BIN)/python -m pytest -m slow -rP modeling_tests/publishing/test_second_environment.py

bench: setup
	$(ALL_CORES) $(BIN)/python -m benchmarks.processor
	$(ALL_CORES) $(BIN)/python -m benchmarks.startup
	$(ALL_CORES) $(BIN)/python -m benchmarks.data_reading
	$(ALL_CORES) $(BIN)/python -m benchmarks.bench_translation
	$(ALL_CORES) $(BIN)/python -m benchmarks.model

quality: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) outputs dist .pytest_cache .mypy_cache .ruff_cache
