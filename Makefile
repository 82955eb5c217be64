# Every target sets up what it needs: a fresh Debian or Ubuntu with Python >= 3.11 and make is enough.
VENV ?= .venv
PY := $(VENV)/bin/python
SYSTEM_PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(if $(shell $(p) -c 'import sys; print(1 if sys.version_info >= (3, 11) else "")' 2>/dev/null),$(p))))
CONSTRAINTS ?= requirements/tested.txt
READY := $(VENV)/.ready

.PHONY: demo test lint format bench clean

demo: $(READY)
	$(VENV)/bin/o2dask demo --out demo

test: $(READY)
	$(PY) -m pytest

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(READY)
	$(PY) benchmarks/run_all.py

clean:
	rm -rf $(VENV) demo build dist *.egg-info

$(READY): pyproject.toml $(CONSTRAINTS)
	@test -n "$(SYSTEM_PYTHON)" || { echo "error: o2dask needs Python >= 3.11; install it or say 'make SYSTEM_PYTHON=/path/to/python3'"; exit 1; }
	@$(SYSTEM_PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory venv-module
	$(SYSTEM_PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable ".[dev]" --constraint $(CONSTRAINTS)
	@touch $(READY)

# Debian and Ubuntu ship venv apart from Python.
.PHONY: venv-module
venv-module:
	@echo "python3-venv is missing: installing it"
	@if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv; \
	else sudo apt-get update -qq && sudo apt-get install -y -qq python3-venv; fi
