# Every command a person types. Plain `make` prints them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help setup run test unit contract integration architecture chart e2e browser faults lint fmt types layers check protos protos-check permissions sdk-types sdks bench bench-engine bench-serving chart-policy clean \
	starter-train starter-eval images

PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.set-up
# On a machine with a GPU choose the build that fits it: make setup TORCH='torch==2.13.0 --index-url …'
TORCH ?= torch==2.13.0
ARGS ?=
# Node and npm come in a wheel.
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm
QUIETLY := --silent --no-audit --no-fund --ignore-scripts
PYTEST := $(PY) -m pytest $(ARGS)
# Such as JOBS=2: the whole suite in so many processes, since much of it waits for a server or a browser.
JOBS ?=

##@ Use it

run: setup ## Start the whole platform on port 8000 and draw a first picture (ARGS="--port 0 --data DIR")
	$(PY) -m deploy.local $(ARGS)

setup: $(STAMP) ## Make .venv with everything in it; does nothing where it is up to date

# torch comes first: the packages that need it then keep the build that was chosen.
$(STAMP): pyproject.toml libs/sdks/python/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'
	$(PY) -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]' -e 'libs/sdks/python[pillow]'
	@touch $(STAMP)

##@ Test it

test: setup ## Run every test: unit, contract, integration, architecture, chart, end to end, browser, faults
	$(PYTEST) $(if $(JOBS),--numprocesses $(JOBS)) tests

unit contract integration architecture chart e2e browser faults: setup ## Run one tier of the tests
	$(PYTEST) tests/$@

bench: setup ## Measure speed and memory; prints one JSON object a line
	$(PY) -m tests.bench $(ARGS)

bench-engine: setup ## Measure the engine against the stock pipeline, about ten minutes; lines and plots in .imagineo/bench
	$(PY) -m tests.bench engine engine_images engine_latency

bench-serving: setup ## Measure the platform beside LitServe, BentoML and Ray Serve; lines and plot in .imagineo/bench
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[bench-serving]'
	$(PY) -m tests.bench serving

##@ Change it

check: lint types layers protos-check ## Run every check that is no test

lint: setup ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fmt: setup ## Format the code and the protos
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/buf format -w protos

types: setup ## Check types, strictly
	$(BIN)/mypy

layers: setup ## Check which part may import which
	PYTHONPATH=libs:. $(BIN)/lint-imports

protos: setup ## Generate libs/imagineo/v1 from protos/
	$(PY) -m grpc_tools.protoc -Iprotos --python_out=libs --grpc_python_out=libs --mypy_out=libs --mypy_grpc_out=libs \
		--plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
		protos/imagineo/v1/*.proto

sdk-types: setup ## Write libs/sdks/openapi.json from the gateway's routes, and what both clients derive from it
	$(PY) -m services.gateway.published > libs/sdks/openapi.json
	$(PY) libs/sdks/python/derive.py
	cd libs/sdks/typescript && $(NPM) ci $(QUIETLY) && $(NPM) run --silent generate

sdks: setup ## Build the clients into dist/sdks: a wheel, and an npm tarball
	rm -rf dist/sdks && mkdir -p dist/sdks
	$(PY) -m build --quiet --wheel --no-isolation --outdir dist/sdks libs/sdks/python
	cd libs/sdks/typescript && $(NPM) ci $(QUIETLY) && $(NPM) run --silent build && $(NPM) pack --silent --pack-destination $(CURDIR)/dist/sdks

protos-check: setup ## Check the protos' style, their compatibility, and that the generated code is theirs
	$(PYTEST) tests/architecture/test_protos.py

permissions: setup ## Write services/auth/PERMISSIONS.md from the tables
	$(PY) -m services.gateway.permission_table > services/auth/PERMISSIONS.md

chart-policy: setup ## Check the chart's manifests by checkov, in an environment of its own
	$(PY) -m tests.chart.policy

clean: ## Remove the local platform's data and all caches; .venv stays
	rm -rf .imagineo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

##@ Package it

images: setup ## Build the container images without a container engine (root, Debian's buildah and debootstrap)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PY) -m deploy.docker build $(ARGS)

##@ The embedded model

starter-train: setup ## Train the starter model and its LoRAs anew (hours on a laptop)
	$(PY) -m libs.starter.train $(ARGS)

starter-eval: setup ## Score the starter model and its LoRAs
	$(PY) -m libs.starter.evaluate $(ARGS)

help: ## Print this
	@awk 'BEGIN { FS = ":.*##" } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z][a-z0-9 _-]*:.*##/ { split($$1, names, " "); \
			for (i = 1; names[i] != ""; i++) printf "  make %-14s%s\n", names[i], $$2; delete names }' $(MAKEFILE_LIST)
