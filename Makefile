# make demo, make test: each sets up .venv from the lock file by itself, and again only when the lock changes.
SHELL := /bin/sh
PYTHON ?= python3
WORKSPACE ?= ./workspace
TEST_JOBS ?= 2
HEAVY_JOBS ?= 2
SECONDS ?= 600
SEED ?= 1
HEAVY = ray or s3 or slow
export RAY_USAGE_STATS_ENABLED = 0
# Tests start hundreds of Pythons: one that may not keep what it compiles takes a sixth longer to import all this.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test quick heavy fuzz chaos lint docs audit hooks setup lock clean
.DEFAULT_GOAL := help

help:  ## these lines
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

setup: .venv/.ready  ## virtual environment with pinned dependencies

.venv/.ready: requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sppnet needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' || { echo "$(PYTHON) can't make virtual environments: apt-get install python3-venv" >&2; exit 2; }
	"$(PYTHON)" -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch .venv/.ready

demo: setup  ## the whole detection chain on a drawn data set, into ./workspace
	.venv/bin/python -m jobs demo --workspace "$(WORKSPACE)"

test: quick heavy  ## all tests: the quick ones, then the heavy ones

quick: setup  ## the tests that start no server and no cluster, in TEST_JOBS processes
	.venv/bin/python -m pytest -n $(TEST_JOBS) --dist loadfile -m "not ($(HEAVY))"

heavy: setup  ## the tests that start servers and clusters or take long: in HEAVY_JOBS processes
	.venv/bin/python -m pytest -n $(HEAVY_JOBS) --dist loadfile --no-loadscope-reorder -m "$(HEAVY)"

FUZZ ?= 2000
fuzz: setup  ## FUZZ generated inputs of all kinds through ingest and score; SPPNET_FUZZ_SEED chooses others
	SPPNET_FUZZ=$(FUZZ) .venv/bin/python -m pytest --timeout 0 tests/jobs/apply/test_fuzz_inputs.py

chaos: setup  ## runs that are disturbed in every known way, for SECONDS, from SEED; see docs/reliability.md
	.venv/bin/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED)

lint: setup  ## format, lint and strict types
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

docs: .venv-docs/.ready  ## the documentation as a site, into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --quiet

.venv-docs/.ready: requirements-docs.lock
	"$(PYTHON)" -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch .venv-docs/.ready

audit: setup  ## known vulnerabilities of the lock file's packages (skipped without an index), and their bill of materials, in build/
	PYTHON=.venv/bin/python .ci/audit

hooks: setup  ## the checks of `make lint` at every commit
	.venv/bin/python -m pre_commit install

LOCK = uv pip compile --python-version 3.11 --no-annotate --no-header --generate-hashes --no-emit-index-url --no-emit-find-links

lock:  ## resolve pyproject.toml's ranges into the lock files, keeping what is locked (needs uv)
	$(LOCK) --extra pipeline --extra dev pyproject.toml -o requirements.lock
	$(LOCK) --extra pipeline --constraint requirements.lock pyproject.toml -o requirements-runtime.lock
	$(LOCK) --group docs -o requirements-docs.lock

clean:  ## remove the virtual environment and the demo's workspace
	rm -rf .venv .venv-docs workspace
