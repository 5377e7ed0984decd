# The two front doors, for a machine with Python 3.11+, git and make alone:
#   make quickstart   sets everything up and runs the main job on a small simulated world
#   make test         sets everything up and passes lint, types, layers and tests

PYTHON ?= python3
VENV   ?= .venv
READY  := $(VENV)/.ready

.PHONY: setup quickstart test lint bench clean

setup: $(READY)

# Made again when what is to be installed changes. `venv --clear` so that a half-made one does no harm.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "omnifeat needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	touch $@

quickstart: $(READY)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" sh scripts/quickstart

test: $(READY)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" sh scripts/test

lint: $(READY)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" sh scripts/lint

bench: $(READY)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" sh scripts/bench

clean:
	rm -rf $(VENV) quickstart
