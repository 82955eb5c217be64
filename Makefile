# Every target sets up what it needs: a fresh Debian or Ubuntu with Python >= 3.11 and make is enough.
VENV ?= .venv
PY := $(VENV)/bin/python
SYSTEM_PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(if $(shell $(p) -c 'import sys; print(1 if sys.version_info >= (3, 11) else "")' 2>/dev/null),$(p))))
CONSTRAINTS ?= requirements/tested.txt
USER_READY := $(VENV)/.user
DEV_READY := $(VENV)/.dev
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable

.PHONY: demo test lint format bench bench-tpc clean forget

demo: $(USER_READY)
	$(VENV)/bin/o2dask demo --out demo

test: $(DEV_READY)
	$(PY) -m pytest

lint: $(DEV_READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(DEV_READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(DEV_READY)
	$(PY) benchmarks/run_all.py

# Tracking of the TPC alone: speed and quality against O2's and the targets, and on our own simulation.
bench-tpc: $(DEV_READY)
	$(PY) benchmarks/tpc_tracking.py
	$(PY) benchmarks/tpc_performance.py --picture tpc_failures.png

clean: forget
	rm -rf $(VENV) demo build dist *.egg-info

# numba looks only at a function's own file: after changing a kernel that others call, forget what they compiled.
forget:
	find reco o2dask/ctf analysis \( -name '*.nbi' -o -name '*.nbc' \) -delete

$(PY):
	@test -n "$(SYSTEM_PYTHON)" || { echo "error: o2dask needs Python >= 3.11; install it or say 'make SYSTEM_PYTHON=/path/to/python3'"; exit 1; }
	@$(SYSTEM_PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory venv-module
	$(SYSTEM_PYTHON) -m venv $(VENV)

$(USER_READY): pyproject.toml $(CONSTRAINTS) | $(PY)
	$(PIP) .
	@touch $@

$(DEV_READY): pyproject.toml $(CONSTRAINTS) | $(PY)
	$(PIP) ".[dev]"
	@touch $@ $(USER_READY)

# Debian and Ubuntu ship venv apart from Python.
.PHONY: venv-module
venv-module:
	@echo "python3-venv is missing: installing it"
	@if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv; \
	else sudo apt-get update -qq && sudo apt-get install -y -qq python3-venv; fi
