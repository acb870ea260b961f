# One verb a line: `make` prints them. Each makes the virtual environment it needs.

VENV    := .venv
PY      := $(VENV)/bin/python
PIP     := $(PY) -m pip --disable-pip-version-check --quiet
PYTHONS := python3.13 python3.12 python3.11 python3
CORE    := $(wildcard cwarp_core/*.pyx cwarp_core/*.pxd)
FILES   := $(CORE) $(wildcard cwarp_core/*.py cwarp_core/*.pyi) setup.py
FACTS   := pyproject.toml setup.py
ARGS    ?=
FUZZ_SECONDS ?= 60
SECONDS ?= 60
# Those that setup.py compiles with; without them the annotation shows checks that
# are not there.
DIRECTIVES := -X boundscheck=False,wraparound=False,cdivision=True,initializedcheck=False

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help dev build demo test test-faults test-all chaos fuzz sanitize coverage lint \
        types bench bench-core bench-snapshot bench-stream bench-isolation bench-workers \
        docs wheel annotate clean

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

chaos: $(VENV)/.dev $(VENV)/.core ## everything at once for SECONDS (60), from a SEED (fresh)
	CWARP_CHAOS_SEEDS="$(or $(SEED),$(shell date +%s))" CWARP_CHAOS_SECONDS="$(SECONDS)" \
	    $(PY) -m pytest -o faulthandler_timeout=0 tests/faults/chaos $(ARGS)

fuzz: $(VENV)/.dev build/fuzz/.built ## libFuzzer over the core for FUZZ_SECONDS
	$(PY) -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

sanitize: $(VENV)/.dev build/sanitize/.built ## the core's tests under ASan and UBSan
	cd build/sanitize && PYTHONPATH=$(CURDIR)/build/sanitize:$(CURDIR) \
	    PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
	    LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	    $(ABSOLUTE) -P -m pytest -p no:cacheprovider $(call CORETESTS,allocation leaks) $(ARGS)

coverage: $(VENV)/.dev build/coverage/.built ## lines of the core that tests/core runs
	cd build/coverage && rm -f .coverage* && \
	    PYTHONPATH=$(CURDIR)/build/coverage:$(CURDIR) \
	    $(ABSOLUTE) -P -m coverage run --rcfile=$(CURDIR)/pyproject.toml \
	    -m pytest -p no:cacheprovider $(call CORETESTS,mutations leaks limits) -k 'not anybody' $(ARGS)
	cd build/coverage && $(ABSOLUTE) -m coverage combine --quiet \
	    --rcfile=$(CURDIR)/pyproject.toml
	cd build/coverage && $(ABSOLUTE) -m coverage report --ignore-errors \
	    --rcfile=$(CURDIR)/pyproject.toml

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

bench-core bench-snapshot bench-stream bench-isolation bench-workers: $(VENV)/.dev $(VENV)/.core ## one of them
	$(PY) -m benches $(subst core,encode,$(@:bench-%=%)) $(ARGS)

docs: $(VENV)/.dev $(VENV)/.core ## write the generated pages of docs/reference
	$(PY) docs/build.py

wheel: $(VENV)/.dev ## sdist and wheel into dist/
	rm -rf build/lib* build/bdist* dist
	$(PY) -m build --no-isolation --outdir dist

annotate: $(VENV)/.dev ## Cython's view of each module, in build/annotate/*.html
	@mkdir -p build/annotate
	@for source in cwarp_core/*.pyx; do \
	    name=$$(basename $$source .pyx); \
	    $(PY) -m cython -3 $(DIRECTIVES) --annotate -o build/annotate/$$name.c $$source || exit 1; \
	done
	@ls build/annotate/*.html

clean: ## remove what was built; the environment stays
	rm -rf build dist src/*.egg-info cwarp_core/*.so cwarp_core/*.c
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f $(VENV)/.core $(VENV)/.demo $(VENV)/.dev

# --- builds of the core for one purpose each, apart from the one in place ---

ABSOLUTE := $(abspath $(PY))
CORETESTS = $(CURDIR)/tests/core --rootdir $(CURDIR) -c $(CURDIR)/pyproject.toml \
    $(foreach name,judge $(1),--ignore $(CURDIR)/tests/core/test_$(name).py)

# $(call compiled,directory,switches)
define compiled
	rm -rf $(1)/cwarp_core && mkdir -p $(1)
	cp -r cwarp_core setup.py $(1)
	rm -f $(1)/cwarp_core/*.so
	cd $(1) && $(2) $(ABSOLUTE) setup.py --quiet build_ext --inplace
endef

build/sanitize/.built: $(FILES) | $(VENV)/.tools
	@test "$$($(CC) -print-file-name=libasan.so)" != libasan.so || { \
	    echo 'make sanitize needs gcc with its sanitizers (apt install gcc).' >&2; \
	    exit 1; }
	$(call compiled,build/sanitize,CC=$(CC) CWARP_SANITIZE=1)
	@touch $@

build/coverage/.built: $(FILES) | $(VENV)/.tools
	$(call compiled,build/coverage,CWARP_COVERAGE=1)
	cp build/coverage/build/cython-coverage/cwarp_core/*.c build/coverage/cwarp_core/
	@touch $@

RUNTIME = $$(clang -print-file-name=libclang_rt.$(1)-$$(uname -m).$(2))

build/fuzz/.built: $(FILES) tests/fuzz/driver.pyx | $(VENV)/.tools
	@command -v clang >/dev/null && test -f "$(call RUNTIME,fuzzer_no_main,a)" \
	    && test -f "$(call RUNTIME,asan,so)" || { \
	    echo 'make fuzz needs clang and its runtimes (Debian: apt install clang' \
	        'libclang-rt-14-dev llvm; newer: libclang-rt-dev).' >&2; exit 1; }
	$(call compiled,build/fuzz,CC=clang LDSHARED='clang -shared' CWARP_SANITIZE=fuzzer)
	clang -shared -o build/fuzz/libfuzzer.so -Wl,--whole-archive \
	    $(call RUNTIME,fuzzer_no_main,a) -Wl,--no-whole-archive -lstdc++ -lm -lpthread
	$(PY) -m cython -3 --module-name cwarp_fuzz -o build/fuzz/cwarp_fuzz.c \
	    tests/fuzz/driver.pyx
	clang -shared -fPIC -O1 -o build/fuzz/cwarp_fuzz.so build/fuzz/cwarp_fuzz.c \
	    -I$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))')
	@touch $@

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
