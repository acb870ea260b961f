# One verb a line: `make` prints them. Each makes the virtual environment it needs.

VENV    := .venv
PY      := $(VENV)/bin/python
PIP     := $(PY) -m pip --disable-pip-version-check --quiet
PYTHONS := python3.13 python3.12 python3.11 python3
CORE    := $(wildcard cwarp_core/*.pyx cwarp_core/*.pxd)
FACTS   := pyproject.toml setup.py
ARGS    ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help dev build demo test test-faults test-all lint types bench docs wheel \
        annotate clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' \
	    $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="..." is handed on: make test ARGS="-k bson -x"'

dev: $(VENV)/.dev $(VENV)/.core ## the environment for working on the code
	@echo 'Ready: . $(VENV)/bin/activate'

build: $(VENV)/.core ## compile what changed in the core

demo: $(VENV)/.demo $(VENV)/.core ## real servers, real data: copy, stream, kill, verify
	$(VENV)/bin/cwarp demo $(ARGS)

test: $(VENV)/.dev $(VENV)/.core ## everything but the slow tests
	$(PY) -m pytest -m 'not slow' $(ARGS)

test-faults: $(VENV)/.dev $(VENV)/.core ## the tests that kill and cut, slow ones too
	$(PY) -m pytest -m faults $(ARGS)

test-all: $(VENV)/.dev $(VENV)/.core ## every test
	$(PY) -m pytest $(ARGS)

lint: $(VENV)/.dev $(VENV)/.core ## ruff, cython-lint, import rules, spelling
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	PATH="$(abspath $(VENV))/bin:$$PATH" cython-lint cwarp_core
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/codespell

types: $(VENV)/.dev $(VENV)/.core ## mypy on src, stubtest on the core
	$(PY) -m mypy
	$(PY) -m mypy.stubtest cwarp_core --allowlist tests/house/stubtest-allowlist.txt

bench: $(VENV)/.dev $(VENV)/.core ## measure, each figure beside its twin
	$(PY) -m benches $(ARGS)

docs: $(VENV)/.dev $(VENV)/.core ## write the generated pages of docs/reference
	$(PY) docs/build.py

wheel: $(VENV)/.dev ## sdist and wheel into dist/
	rm -rf build/lib* build/bdist* dist
	$(PY) -m build --no-isolation --outdir dist

annotate: $(VENV)/.dev ## Cython's view of each module, in build/annotate/*.html
	@mkdir -p build/annotate
	@for source in cwarp_core/*.pyx; do \
	    name=$$(basename $$source .pyx); \
	    $(PY) -m cython -3 --annotate -o build/annotate/$$name.c $$source || exit 1; \
	done
	@ls build/annotate/*.html

clean: ## remove what was built; the environment stays
	rm -rf build dist src/*.egg-info cwarp_core/*.so cwarp_core/*.c
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f $(VENV)/.core $(VENV)/.demo $(VENV)/.dev

# --- the environment, step by step; each stamp is newer than what it was made from ---

$(VENV)/.made:
	@test ! -x $(PY) || { touch $@; exit 0; }; \
	for p in $(or $(PYTHON),$(PYTHONS)); do \
	    if $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	        >/dev/null 2>&1; then \
	        echo "$$p -m venv $(VENV)"; \
	        exec $$p -m venv $(VENV); \
	    fi; \
	done; \
	echo 'No Python of version 3.11 or later with venv and ensurepip was found.' >&2; \
	echo 'Install one (Debian, Ubuntu: apt install python3-venv python3-dev)' >&2; \
	echo 'or name it: make PYTHON=/path/to/python' >&2; \
	exit 1
	@touch $@

$(VENV)/.tools: $(VENV)/.made
	$(PIP) install 'setuptools>=77' 'cython>=3.1'
	@touch $@

$(VENV)/.core: $(CORE) setup.py | $(VENV)/.tools
	@command -v $${CC:-cc} >/dev/null || { \
	    echo 'No C compiler was found (Debian, Ubuntu: apt install gcc libc6-dev).' >&2; \
	    exit 1; }
	$(PY) setup.py --quiet build_ext --inplace
	@touch $@

$(VENV)/.demo: $(FACTS) | $(VENV)/.tools
	CWARP_SKIP_CORE=1 $(PIP) install --no-build-isolation --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(FACTS) | $(VENV)/.tools
	CWARP_SKIP_CORE=1 $(PIP) install --no-build-isolation --editable '.[dev]'
	@touch $@
