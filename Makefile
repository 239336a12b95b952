# make demo: set up, then run the main job.  make test: set up, then the quick test suite.  make test-slow: the other
# tests (whole studies, killed processes, browsers).  make bench: the benchmarks.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
RECORDING := $(wildcard ../shared/data/riehle/nwb)
OUT ?= runs/demo

.PHONY: demo test test-slow bench check setup clean

demo: $(STAMP)
	$(VENV)/bin/dynaprobe study kao2019 --preset demo --out $(OUT) --resume $(if $(RECORDING),--recording $(RECORDING))

test: $(STAMP)
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal

test-slow: $(STAMP)
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal -m slow

bench: $(BENCH_STAMP)
	$(VENV)/bin/python -m benchmarks.run

check: $(STAMP)
	$(VENV)/bin/ruff check src tests benchmarks
	$(VENV)/bin/ruff format --check src tests benchmarks
	$(VENV)/bin/mypy

setup: $(STAMP)

# The stamp is newer than the files that decide what is installed, so a second call starts at once.
# Pins go through the environment, as the option -c does not reach the build of the package: pip reads the first
# name there up to version 25.2, the second from then on.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dynaprobe needs Python 3.11 or newer; $(PYTHON) is older. Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@$(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# PyTorch is large and only compared with; where it cannot be had, the benchmarks say so and run without it.
$(BENCH_STAMP): $(STAMP)
	@echo "Adding PyTorch to $(VENV) (once) ..."
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]' && touch $@ || echo "PyTorch could not be installed"

clean:
	rm -rf $(VENV) runs .pytest_cache
