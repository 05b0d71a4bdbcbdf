# make demo | test | lint | bench | soak | clean | help: each makes its environment when that is missing.
#   PYTHON=python3.12    the interpreter to make it with (3.11 or newer)
#   VENV=.venv           where it is
#   TORCH_INDEX=URL      a package index with another build of torch (README.md, "Which torch you get")
#   DATA=folder          logs for `make demo`, in place of the simulated drives
#   WORKERS=2            processes for `make test`
PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
DATA ?=
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINS := setup.cfg constraints.txt Makefile
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: help demo test lint bench soak clean
.DEFAULT_GOAL := help

help:
	@echo "make demo               simulate drives with attacks, train three detectors, write runs/demo/report.html"
	@echo "make demo DATA=folder   the same on the logs in a folder"
	@echo "make test               all tests"
	@echo "make lint               ruff, mypy, import contracts"
	@echo "make bench              every module of benchmarks/; prints their figures"
	@echo "make soak               the slow proofs"
	@echo "make clean              remove the environment and everything made here but runs/"

demo: $(CORE)
	$(BIN)/credit-like demo $(if $(DATA),"$(DATA)")

test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV)
	$(BIN)/python -m benchmarks

soak: $(DEV)
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(VENV) build dist *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so an install that was interrupted is taken up again.
$(CORE): $(PINS)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with PYTHON=")'
	@test -x $(BIN)/python || { echo "Making the environment $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing $(TORCH) (large, once)"
	@$(PIP) install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt $(TORCH)
	@echo "Installing the other packages that constraints.txt pins (a minute or two)"
	@$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(DEV): $(CORE)
	@echo "Installing the tools for tests and checks"
	@$(PIP) install --quiet -c constraints.txt -e '.[dev,dbc,mf4,mlflow]'
	@touch $@
