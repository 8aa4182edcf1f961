# The environment is .venv; `make setup` alone leaves .venv/bin/cloche ready, images prepared.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := pyproject.toml hatch_build.py $(wildcard src/cloche/guests/javascript/*.c) \
	src/cloche/guests/javascript/build.py src/cloche/guests/javascript/lib/package-lock.json \
	$(shell find src/cloche/guests/javascript/lib/src -name '*.js' 2>/dev/null)

.PHONY: run test fuzz setup images modules lint types arch bench serve docs clean check

run: setup
	@$(BIN)/python examples/tour.py

test: setup
	@$(BIN)/cloche images build --fuel  # some tests count instructions: no deadline waits for a compiler
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# The properties alone, with new examples and more of them, for as long as it takes.
fuzz: setup
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m hypothesis --hypothesis-profile fuzz

setup: $(STAMP) images

$(STAMP): $(SOURCES)
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; set PYTHON=python3.12 or install it" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	$(BIN)/python -m compileall -q src/cloche  # as an installer does: no start has to wait for it
	touch $@

images: $(STAMP)
	@$(BIN)/cloche images build

# Every WebAssembly module: the guests' with the set-up, and the component for other hosts.
modules: setup
	@mkdir -p build
	@$(BIN)/cloche components build --out build/exec-python.wasm

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)
	$(BIN)/mypy src

arch: $(STAMP)
	$(BIN)/cloche arch check

check: lint types arch

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	$(BIN)/python bench/run.py

serve: setup
	@$(BIN)/python examples/server_tour.py

docs: $(STAMP)
	$(BIN)/python -m cloche.limits.adapters.document

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f src/cloche/guests/javascript/guest.wasm src/cloche/guests/javascript/guest.lock.json
	rm -rf src/cloche/guests/javascript/lib/dist src/cloche/guests/javascript/lib/node_modules
