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
export TQDM_DISABLE := 1
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
	@find src python docs/man -name '*_test.c' -o -name '*.py' -o -name '*.pyi' -o -name '*.1' -o -name meson.build \
	  | grep -v __pycache__ \
	  | LC_ALL=C sort >$(BUILD)/.files.new
	@if ! cmp -s $(BUILD)/.files.new $(BUILD)/.files || ! test -f $(BUILD)/build.ninja; then \
	  if test -f $(BUILD)/build.ninja; then $(MESON) setup --reconfigure $(BUILD) >$(BUILD)/.setup.log; \
	  else $(MESON) setup $(BUILD) $(MESON_ARGS) >$(BUILD)/.setup.log; fi || { cat $(BUILD)/.setup.log; exit 1; }; \
	  mv $(BUILD)/.files.new $(BUILD)/.files; touch $@; fi

dev: build ## build, and make `import ergon` work in .venv
	@$(BIN)/python scripts/link_dev.py $(BUILD)

build: $(BUILD)/.configured ## build libergon, the extension module and the command in $(BUILD)/
	@ninja -C $(BUILD) -j $(JOBS) --quiet

# --- tests ------------------------------------------------------------------------------------------------

.PHONY: test-quick test test-full ci test-c test-python check check-compilers asan fuzz fuzz-pickle fuzz-agents tsan debug-python check-pythons clean-clone
.PHONY: demo bench format wheel clean distclean

PYTEST := $(BIN)/python -m pytest -q
TIER ?= default
T ?= tests
MINUTES ?= 10
# For legs with another build or Python: tests/process runs programs as .venv has them, tests/house needs its tools, and
# what tests/hosts starts elsewhere has neither a sanitizer's library nor the other build's path.
OTHER := --tier quick --ignore=tests/house --ignore=tests/process --ignore=tests/peers --ignore=tests/hosts $(T)
ALSO := $(VENV)/.test-packages
# Warnings are not errors here: the checks the sanitizers insert make gcc see things that are not there.
SANITIZED := -Doptimization=1 -Db_lundef=false

# What some tests use and skip without: a browser, a notebook, a debug build of CPython.
$(ALSO): scripts/debian-packages-test.txt scripts/requirements-test.txt scripts/setup-debian.sh $(VENV)/.ready
	@sh scripts/setup-debian.sh --optional scripts/debian-packages-test.txt
	$(BIN)/python -m pip install -q -r scripts/requirements-test.txt
	@touch $@

test-quick: dev ## C tests, quick Python tests, house checks
	@$(BIN)/python scripts/ci.py quick

test: dev $(ALSO) ## what must pass before anything lands
	@$(BIN)/python scripts/ci.py default

test-full: dev $(ALSO) ## everything: sanitizers, fuzzers, both compilers, other CPythons, a fresh clone
	@$(BIN)/python scripts/ci.py full

test-c: build ## C unit tests
	@$(MESON) test -C $(BUILD) --print-errorlogs --quiet

test-python: dev ## Python tests: make test-python T=tests/python/test_x.py TIER=quick
	@$(PYTEST) --tier $(TIER) $(T)

check: build ## house checks: layers, sizes, banned calls, words, links, format, names, stubs
	@$(BIN)/python scripts/check.py

format: $(VENV)/.ready ## lay out all C and Python files
	@git ls-files -z --cached --others --exclude-standard '*.[ch]' | xargs -0r $(BIN)/clang-format -i
	@git ls-files -z --cached --others --exclude-standard '*.py' '*.pyi' | xargs -0r $(BIN)/ruff format -q
	@git ls-files -z --cached --others --exclude-standard '*.py' '*.pyi' | xargs -0r $(BIN)/ruff check -q --fix

check-compilers: ## gcc, and clang without assertions: warnings are errors
	@CC=gcc $(MAKE) --no-print-directory test-build BUILD=build-gcc MESON_ARGS=-Dwerror=true
	@CC=clang $(MAKE) --no-print-directory test-build BUILD=build-clang MESON_ARGS="-Dwerror=true -Db_ndebug=true"

.PHONY: test-build
test-build: build
	@ninja -C $(BUILD) -j $(JOBS) --quiet all meson-test-prereq

asan: ## C tests and quick Python tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory build BUILD=build-asan MESON_ARGS="$(SANITIZED) -Db_sanitize=address,undefined"
	@sh scripts/sanitized.sh asan build-asan $(MESON) test -C build-asan --print-errorlogs --quiet -t 5
	@$(BIN)/python scripts/link_dev.py build-asan build-asan/site
	@sh scripts/sanitized.sh asan build-asan $(PYTEST) --capture=sys $(OTHER)
	@sh scripts/sanitized.sh asan build-asan $(PYTEST) --capture=sys --tier quick tests/hosts/test_places.py tests/hosts/test_staging.py

fuzz-pickle: ## mutated and invented streams for the unpickler, under AddressSanitizer: make fuzz-pickle MINUTES=10
	@$(MAKE) --no-print-directory build BUILD=build-asan MESON_ARGS="$(SANITIZED) -Db_sanitize=address,undefined"
	@$(BIN)/python scripts/link_dev.py build-asan build-asan/site
	@ERGON_FUZZ_MINUTES=$(MINUTES) sh scripts/sanitized.sh asan build-asan $(PYTEST) --tier full --capture=sys -rP tests/fuzz

ROUNDS ?= 200
fuzz-agents: ## agents and clients that lie over their links, under AddressSanitizer: make fuzz-agents ROUNDS=1000
	@$(MAKE) --no-print-directory build BUILD=build-asan MESON_ARGS="$(SANITIZED) -Db_sanitize=address,undefined"
	@ERGON_FUZZ_ROUNDS=$(ROUNDS) sh scripts/sanitized.sh asan build-asan \
	  $(MESON) test -C build-asan --print-errorlogs --quiet -t 20 engine/agent

tsan: ## C tests under ThreadSanitizer
	@$(MAKE) --no-print-directory build BUILD=build-tsan \
	  MESON_ARGS="$(SANITIZED) -Db_sanitize=thread -Dpython=false"
	@sh scripts/sanitized.sh tsan build-tsan $(MESON) test -C build-tsan --print-errorlogs --quiet -t 10

debug-python: $(ALSO) ## quick Python tests on a debug build of CPython (references counted)
	@sh scripts/debug_python.sh $(OTHER)

# What bytes of strangers meet first, from clang's own fuzzer: make fuzz SECONDS=600
SECONDS ?= 30
fuzz: $(ALSO) ## libFuzzer on src/wire
	@mkdir -p build-fuzz/corpus
	clang -g -O1 -std=gnu11 -D_GNU_SOURCE -DERG_LIBFUZZER -fsanitize=fuzzer,address,undefined -Isrc -Iinclude \
	  -o build-fuzz/wire $(filter-out %session_test.c %auth_test.c %frame_test.c %message_test.c,$(wildcard src/wire/*.c)) \
	  src/base/error.c -lsodium -llz4
	build-fuzz/wire -max_total_time=$(SECONDS) -max_len=65536 -artifact_prefix=build-fuzz/ build-fuzz/corpus

check-pythons: dev ## build for the other CPython versions on this machine, quick tests with each
	@OPTIONS='$(OTHER)' sh scripts/other_pythons.sh $(PYTHONS)

clean-clone: ## does a fresh clone build, pass its quick tests and run the demo?
	@sh scripts/clean_clone.sh

# --- programs ---------------------------------------------------------------------------------------------

demo: dev ## the census of the standard library, serial and parallel, and its report
	@$(BIN)/ergon run examples/census/census.py --report $(BUILD)/census.html $(ARGS)

$(VENV)/.bench: scripts/requirements-bench.txt $(VENV)/.ready
	$(BIN)/python -m pip install -q -r scripts/requirements-bench.txt
	@touch $@

bench: dev $(ALSO) $(VENV)/.bench ## the table of docs/performance.md, against the peers
	@$(BIN)/python bench/run.py $(ARGS)

$(VENV)/.wheel: scripts/requirements-wheel.txt $(VENV)/.ready
	$(BIN)/python -m pip install -q -r scripts/requirements-wheel.txt
	@touch $@

wheel: $(VENV)/.wheel ## dist/ergon-*.whl for this Python, with the shared libraries it needs inside
	@rm -rf build-wheel && $(BIN)/python -m pip wheel -q --no-build-isolation --no-deps -w build-wheel .
	@$(BIN)/auditwheel repair -w dist build-wheel/ergon-*.whl

clean: ## remove what was built; .venv stays
	rm -rf build build-* dist python/ergon/_core*.so
	find python tests scripts bench examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## and .venv too
	rm -rf $(VENV) .pytest_cache .hypothesis .mypy_cache .ruff_cache

.PHONY: FORCE
FORCE:
