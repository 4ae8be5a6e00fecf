# Every target does its own set-up: a virtual environment in $(VENV) with pinned packages.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PORT ?= 8000
BROWSER_READY := $(VENV)/.ready-browser
CONSTRAINTS := $(VENV)/constraints.txt

.PHONY: help setup demo serve test browser-test fuzz check coverage chgnet-equality openapi bench clean reference-smoke

# Whole files of tests go to as many processes as there are cores, four at most, each on one thread.
PYTEST := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# The DFT code (GPL) has an environment of its own: it makes reference data and no part of the product imports it.
REFERENCE_VENV ?= .venv-reference
REFERENCE_PYTHON := $(REFERENCE_VENV)/bin/python
REFERENCE_READY := $(REFERENCE_VENV)/.ready
SMOKE := build/reference-smoke

help:
	@echo "make demo      start the service, predict three structures, print a table, write CHGCARs"
	@echo "make serve     start the service on http://127.0.0.1:$(PORT)"
	@echo "make test      check, then all tests"
	@echo "make check     ruff, pyright, import-linter"
	@echo "make browser-test   the page in a real Chromium"
	@echo "make fuzz      200 made-up requests of each kind to the whole service (minutes)"
	@echo "make coverage  all tests with line coverage"
	@echo "make chgnet-equality   our CHGNet against the package's, on 223 structures and three checkpoints"
	@echo "make bench     throughput, latency and CHGCAR speed, printed with the machine and the commit"
	@echo "make openapi   write openapi.yaml from the application"
	@echo "make reference-smoke   install the DFT code, make two records of each cheap set, verify them"

setup: $(READY)

$(READY): pyproject.toml sdk/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "rhocast needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing. As root: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	sed 's/^torch==.*/$(TORCH)/' constraints.txt > $(CONSTRAINTS)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) pip
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) $(TORCH)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --group dev --editable 'sdk[ase,pymatgen]'
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python examples/demo.py --serve -o demo-output

serve: $(READY)
	@$(BIN)/rhocast serve --port $(PORT)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pyright --pythonpath $(BIN)/python --project pyright-basic.json
	$(BIN)/lint-imports

test: check
	$(PYTEST)

browser-test: $(BROWSER_READY)
	@command -v "$${CHROMIUM:-chromium}" || command -v chromium-browser || command -v google-chrome || \
		{ echo "Chromium is missing. As root: apt-get install chromium (or name one by CHROMIUM)"; exit 1; }
	$(BIN)/python -m pytest tests/browser

fuzz: $(READY)
	$(BIN)/python -m pytest tests/fuzz/live_stack.py

$(BROWSER_READY): $(READY)
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --group browser
	@touch $(BROWSER_READY)

coverage: $(READY)
	$(PYTEST) --cov --cov-report=term

chgnet-equality: $(READY)
	RHOCAST_ALL_STRUCTURES=1 $(BIN)/python -m pytest --timeout 3600 tests/models/potential/chgnet/test_equality.py

openapi: $(READY)
	$(BIN)/python -m app.openapi

bench: $(READY)
	@$(BIN)/python -m benchmarks

reference-smoke: $(REFERENCE_READY)
	rm -rf $(SMOKE)
	for set in organics crystals aluminium; do \
		nice -n 19 $(REFERENCE_PYTHON) -m reference make $$set --n 2 --whole-grids --out $(SMOKE) || exit 1; \
	done
	$(REFERENCE_PYTHON) -m reference verify $(SMOKE)/*/*.h5
	$(REFERENCE_PYTHON) -m reference status --out $(SMOKE)
	@echo "Left out: water (over three minutes a structure) and molecule-md (a trajectory of 2 ps comes first)."

$(REFERENCE_READY): pyproject.toml sdk/pyproject.toml constraints.txt
	@command -v g++ >/dev/null || { echo "g++ is missing. As root: apt-get install g++"; exit 1; }
	@echo '#include <xc.h>' | g++ -E -x c++ - >/dev/null 2>&1 || \
		{ echo "libxc's headers are missing. As root: apt-get install libxc-dev"; exit 1; }
	@echo | g++ -shared -x c++ - -lopenblas -o /dev/null 2>/dev/null || \
		{ echo "OpenBLAS is missing. As root: apt-get install libopenblas-dev"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing. As root: apt-get install python3-venv python3-dev"; exit 1; }
	$(PYTHON) -m venv $(REFERENCE_VENV)
	$(REFERENCE_PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	$(REFERENCE_PYTHON) -m pip install --quiet --constraint constraints.txt --group reference --editable sdk
	CC=g++ $(REFERENCE_PYTHON) -m pip install --quiet --constraint constraints.txt gpaw gpaw-data
	@touch $(REFERENCE_READY)

clean:
	rm -rf $(VENV) $(REFERENCE_VENV) demo-output rhocast-data
