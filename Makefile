# Slipway: two commands do everything; `make help` lists the rest.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
ENV_FILE ?= .env.development
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help install run test test-quiet fuzz lint lock bench bench-peers bench-security bench-hostile chaos chaos-matrix chaos-overload clean fuzz-api

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/run.stamp ## Set everything up that `slipway` needs, and run nothing

run: $(VENV)/run.stamp ## Set everything up and run the platform on http://127.0.0.1:8000 (PORT changes it)
	@ENV_FILE=$(ENV_FILE) exec $(BIN)/slipway up

test: $(VENV)/dev.stamp lint ## Set everything up, check style and types, run every test
	$(BIN)/pytest -n 2 --dist loadfile tests/architecture tests/unit tests/integration
	$(BIN)/pytest -m "not quiet" tests/system

test-quiet: $(VENV)/dev.stamp ## Kill parts of a platform under load (a machine to itself)
	$(BIN)/pytest -m quiet tests/system

fuzz: $(VENV)/dev.stamp ## Try 200,000 changed model files on the intake (30 minutes; counts in docs/fuzz)
	$(BIN)/python -m tests.fuzz.intake_fuzz --cases 200000 --output docs/fuzz

lint: $(VENV)/dev.stamp ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

lock: $(VENV)/dev.stamp ## Resolve the dependencies anew into both lock files
	$(PIP) install uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --extra s3 --extra otel pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --extra s3 --extra otel --extra dev -c requirements.lock \
		pyproject.toml -o requirements-dev.lock

BENCH_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/slipway-bench
PLOT = $(BIN)/python -m tests.benchmarks.plot docs/benchmarks/latest.json docs/benchmarks/peers.json \
	--environment $(BENCH_CACHE)/plot

bench: $(VENV)/dev.stamp ## Measure a platform of its own (needs wrk) into docs/benchmarks/
	$(BIN)/python -m tests.benchmarks.run
	$(PLOT)

bench-peers: $(VENV)/dev.stamp ## Measure other model servers, in environments of their own
	$(BIN)/python -m tests.benchmarks.peers
	$(PLOT)

bench-security: $(VENV)/dev.stamp ## Measure what identity, limits, headers and validation cost a prediction
	$(BIN)/python -m tests.benchmarks.security

bench-hostile: $(VENV)/dev.stamp ## Measure honest predictions beside slow, endless, lying and smuggling clients (needs nginx)
	$(BIN)/python -m tests.benchmarks.hostile

chaos: $(VENV)/dev.stamp ## Break a platform of its own by dice and check every answer (CHAOS="--seed 7 --seconds 600")
	$(BIN)/python -m tests.chaos $(CHAOS)

chaos-matrix: $(VENV)/dev.stamp ## Each fault alone under 200 predictions a second, five seeds (2 hours; goes on if cut short; needs root and nginx)
	$(BIN)/python -m tests.chaos.matrix $(CHAOS)

chaos-overload: $(VENV)/dev.stamp ## Three times as many predictions as can be answered (needs wrk)
	$(BIN)/python -m tests.chaos.overload $(CHAOS)

fuzz-api: $(VENV)/dev.stamp ## Fuzz the HTTP API as three roles, 50,000 cases and more (counts in docs/fuzz; goes on if cut short)
	$(BIN)/python -m tests.fuzz.api_fuzz --cases 50000 --output docs/fuzz

clean: ## Delete the virtual environment and caches; data in .slipway/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

# A stamp is newer than the lock that it was installed from; it names the interpreter's venv.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is missing: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.lock pyproject.toml | $(VENV)/bin/python
	@test ! -e $(VENV)/dev.stamp -o requirements-dev.lock -nt $(VENV)/dev.stamp || touch $@
	@test -e $@ -a $@ -nt requirements.lock || { \
		echo "installing requirements.lock"; \
		$(PIP) install --require-hashes -r requirements.lock; }
	@$(PIP) install --no-deps --no-build-isolation -e . 2>/dev/null || $(PIP) install --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements-dev.lock"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e . 2>/dev/null || $(PIP) install --no-deps -e .
	@touch $@ $(VENV)/run.stamp
