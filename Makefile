# What people type. `make help` lists the targets; everything real is in meson.build, pyproject.toml and the
# scripts these call. Nothing is done twice: stamps lie in .venv and in the build folders.
#
#   PYTHON=/path/to/python3.12 make dev     another interpreter for .venv
#   make dev CC=clang BUILD=build-clang     another compiler

PYTHON ?= python3
BUILD ?= build
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= $(shell nproc)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
MESON := $(BIN)/meson

.DEFAULT_GOAL := help
.PHONY: help setup dev build

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

# --- setup: Debian packages, then the virtual environment -------------------------------------------------

setup: $(VENV)/.ready ## Debian packages (as root) and .venv

$(VENV)/.packages: scripts/debian-packages.txt scripts/setup-debian.sh
	@mkdir -p $(VENV)
	@sh scripts/setup-debian.sh scripts/debian-packages.txt
	@touch $@

# The interpreter itself, not a version manager's shim for it: workers are started from its path.
$(VENV)/.ready: $(VENV)/.packages scripts/requirements.txt
	@test -x $(BIN)/python || \
	  "$$($(PYTHON) -c 'import os, sys; print(os.path.realpath(sys.executable))')" -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Ergon needs Python 3.11 or newer: rm -rf $(VENV) && make PYTHON=/path/to/python3 setup" >&2; exit 1; }
	$(BIN)/python -m pip install -q -r scripts/requirements.txt
	@touch $@

# --- build ------------------------------------------------------------------------------------------------

# Meson looks for x_test.c and for Python files when it configures: the lists are inputs of that.
$(BUILD)/.configured: $(VENV)/.ready FORCE
	@mkdir -p $(BUILD)
	@find src python -name '*_test.c' -o -name '*.py' -o -name '*.pyi' -o -name meson.build | grep -v __pycache__ \
	  | LC_ALL=C sort >$(BUILD)/.files.new
	@if ! cmp -s $(BUILD)/.files.new $(BUILD)/.files || ! test -f $(BUILD)/build.ninja; then \
	  if test -f $(BUILD)/build.ninja; then $(MESON) setup --reconfigure $(BUILD) >$(BUILD)/.setup.log; \
	  else $(MESON) setup $(BUILD) $(MESON_ARGS) >$(BUILD)/.setup.log; fi || { cat $(BUILD)/.setup.log; exit 1; }; \
	  mv $(BUILD)/.files.new $(BUILD)/.files; touch $@; fi

dev: build ## build, and make `import ergon` work in .venv
	@$(BIN)/python scripts/link_dev.py $(BUILD)

build: $(BUILD)/.configured ## build libergon, the extension module and the command in $(BUILD)/
	@ninja -C $(BUILD) -j $(JOBS) --quiet

.PHONY: FORCE
FORCE:

# --- tests ------------------------------------------------------------------------------------------------

.PHONY: test-c
test-c: build ## the C unit tests
	@$(MESON) test -C $(BUILD) --print-errorlogs --quiet
