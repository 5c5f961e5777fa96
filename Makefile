# Every target does its set-up: a virtual environment with the pinned versions. The demonstration needs the first half of it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SMALL := $(VENV)/.ready-small
READY := $(VENV)/.ready
# Python compiles a module when it is first imported: compiling all of them here takes longer than most people use
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable
# two processes; one that is done takes tests from the other, which may wait for long ones
SHARED := -n 2 --dist worksteal

.PHONY: demo test test-all wheel-test matrix gpu docs lint release clean

demo: $(SMALL)
	@$(BIN)/remanent demo

test: $(READY)
	$(BIN)/python -m pytest $(SHARED)

# on a machine with a GPU: needs torch, triton and numba, and nothing else
gpu:
	PYTHONPATH=src $(PYTHON) -m remanent.bench.gpu

# What `make test` leaves out: the longest tests, and whole products of options of which it runs a part; with PART=2/3,
# the second third of these.
test-all: $(READY)
	$(BIN)/python -m pytest $(SHARED) -m exhaustive $(if $(PART),--part $(PART))

# The sdist and the wheel as a stranger gets them: the wheel alone in an empty environment, the README's example, the demonstration
wheel-test: $(READY)
	$(BIN)/python tests/wheel.py

# The oldest, the pinned and the newest torch, on the oldest and the newest Python that is here, each in an environment of
# its own: `make matrix TESTS="tests/units -k compiles"` runs some tests, `PAIRS="--torch newest"` some of the versions.
matrix:
	$(PYTHON) tests/matrix.py $(PAIRS) -- $(TESTS)

docs: $(READY)
	PYTHONPATH=docs NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "site/index.html is the start"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# An sdist and a wheel in dist/, once everything that a release needs is there
release: $(READY)
	$(PYTHON) tests/release.py
	$(BIN)/python -m build

$(SMALL): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "remanent needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	@echo "Installing torch and what training needs into $(VENV), once: 1.4 GB, a minute or two ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) '.[train]'
	@touch $@

# Ray, Triton, whose interpreter runs the GPU's kernels in the tests, ONNX, and what checks the code and builds the site
$(READY): $(SMALL)
	@echo "Installing what tests, checks and documentation need, once: 1.9 GB, some minutes ..."
	@$(INSTALL) '.[train,automata,cluster,gpu,hub,onnx,rl,dev,docs]'
	@touch $@

clean:
	rm -rf $(VENV) .matrix dist
