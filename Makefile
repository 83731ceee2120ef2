# Every target sets up what it needs: uv when it is missing, then the locked environment in .venv or .venv-serve.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3.11
UV := $(or $(shell command -v uv),.uv/bin/uv)
BIN := .venv/bin
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile
CONTAINERS := $(CURDIR)/.kubeflow-test
FLINK ?= 1.19.3
FLINK_JOB_SERVER_JAR ?= $(CURDIR)/.flink-test/job-server.jar
CONFIG ?= demo
COMPILE = $(UV) pip compile --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate --no-header --quiet
ARGS ?=

export TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_USE_LEGACY_KERAS ?= 0

.PHONY: help
help: ## List every target.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/ready ## Train, evaluate and push both models (CONFIG=demo or full, ARGS='--set key=value').
	@$(BIN)/emotion-pipeline run --config $(CONFIG) $(ARGS)

.PHONY: test
test: .venv/ready .venv-serve/ready ## Run every test, whole runs included.
	@$(BIN)/pytest $(SIDE_BY_SIDE)

.PHONY: test-fast
test-fast: .venv/ready .venv-serve/ready ## Run the tests that need no whole run: two or three minutes.
	@$(BIN)/pytest $(SIDE_BY_SIDE) -m 'not e2e'

.PHONY: test-kubeflow
test-kubeflow: .venv/ready ## Run the compiled pipeline in containers (Debian: apt install podman runc crun debootstrap).
	@mkdir -p $(CONTAINERS)
	@$(BIN)/emotion-pipeline kubeflow compile --config tests/e2e/tiny.yaml --output $(CONTAINERS)/pipeline.yaml \
		--set kubeflow.image=localhost/emotion-pipeline:test \
		--set kubeflow.data.path=$(CONTAINERS)/pipeline-root/data \
		--set kubeflow.serving.path=$(CONTAINERS)/pipeline-root/serving \
		--set kubeflow.state.path=$(CONTAINERS)/pipeline-root/state
	@kubeflow/test/run $(CONTAINERS)/pipeline.yaml

.PHONY: test-flink
test-flink: .venv/ready .flink-test/ready ## Run the pipeline on a Flink cluster (takes Java, Maven and 600 MB in .flink-test).
	@FLINK_HOME=$(CURDIR)/.flink-test/lib/python3.11/site-packages/pyflink \
		FLINK_JOB_SERVER_JAR=$(FLINK_JOB_SERVER_JAR) $(BIN)/pytest tests/flink

.PHONY: bench
bench: .venv/ready ## Train the original's networks and ours for the same minutes: ten in all.
	@$(BIN)/python -W ignore -m tests.benchmarks.rivals $(ARGS)

.PHONY: bench-full
bench-full: .venv/ready ## The same in two hours.
	@$(BIN)/python -W ignore -m tests.benchmarks.rivals --full $(ARGS)

.PHONY: bench-serving
bench-serving: .venv/ready .venv-serve/ready ## What a request costs, against TensorFlow in the same server.
	@$(BIN)/python -W ignore -m tests.benchmarks.serving $(ARGS)

.PHONY: bench-scale
bench-scale: .venv/ready ## How each step grows from 10,000 to 1,000,000 faces (ARGS='--rows 10000 100000').
	@$(BIN)/python -W ignore -m tests.benchmarks.scale $(ARGS)

.PHONY: serve
serve: .venv-serve/ready ## Serve what was pushed, and a page, on http://localhost:8501 (ARGS='--http-port 8600').
	@.venv-serve/bin/python -m components.serve $(ARGS)

.PHONY: lint
lint: .venv/ready ## Check style (ruff) and types (mypy).
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: format
format: .venv/ready ## Rewrite the code in the house style.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: setup
setup: .venv/ready ## Make the environment in .venv, from the lock.

.PHONY: lock
lock: $(UV) ## Resolve the dependencies of setup.py anew, and those of the images.
	@$(COMPILE) --upgrade setup.py --extra dev --output-file requirements/development.lock
	@$(COMPILE) --constraints requirements/development.lock --no-emit-package tensorflow setup.py kubeflow/cpu.in \
		--output-file kubeflow/cpu.lock
	@$(COMPILE) --constraints requirements/development.lock setup.py kubeflow/gpu.in --output-file kubeflow/gpu.lock
	@$(COMPILE) --upgrade kubeflow/build.in --output-file kubeflow/build.lock
	@$(COMPILE) --upgrade --group pyproject.toml:serve --output-file requirements/serve.lock

.PHONY: clean
clean: ## Remove the environments; runs and served models stay.
	@rm -rf .venv .venv-serve .uv .flink-test

.venv/ready: requirements/development.lock setup.py | $(UV)
	@$(UV) venv --quiet --allow-existing --python 3.11 .venv
	@echo 'Installing the locked environment into .venv (about 3 GB, a few minutes the first time).'
	@VIRTUAL_ENV=.venv $(UV) pip sync --require-hashes requirements/development.lock
	@VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv-serve/ready: requirements/serve.lock setup.py | $(UV)
	@$(UV) venv --quiet --allow-existing --python 3.11 .venv-serve
	@echo 'Installing the locked environment of the server into .venv-serve (about half a gigabyte).'
	@VIRTUAL_ENV=.venv-serve $(UV) pip sync --quiet --require-hashes requirements/serve.lock
	@VIRTUAL_ENV=.venv-serve $(UV) pip install --quiet --no-deps --editable .
	@touch $@

.flink-test/ready: tests/flink/pom.xml | $(UV)
	@$(UV) venv --quiet --allow-existing --python 3.11 .flink-test
	@VIRTUAL_ENV=.flink-test $(UV) pip install --quiet --no-deps apache-flink==$(FLINK) apache-flink-libraries==$(FLINK)
	@[ -f $(FLINK_JOB_SERVER_JAR) ] || tests/flink/job_server $(FLINK_JOB_SERVER_JAR)
	@[ ! -f $(FLINK_JOB_SERVER_JAR) ] || touch $@

.uv/bin/uv:
	@echo 'uv is missing: installing it into .uv'
	@$(PYTHON) -m venv .uv || { echo 'Python 3.11 with its venv module is needed (Debian: apt install python3-venv).'; exit 1; }
	@.uv/bin/pip install --quiet 'uv>=0.5'
