# make demo, make test: each sets up .venv from the lock file by itself, and again only when the lock changes.
SHELL := /bin/sh
PYTHON ?= python3
WORKSPACE ?= ./workspace
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: demo test quick lint setup lock clean
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

demo: setup  ## the whole detection chain on the embedded data set, into ./workspace
	.venv/bin/python -m jobs demo --workspace "$(WORKSPACE)"

test: setup  ## all tests, fast ones first
	.venv/bin/python -m pytest

quick: setup  ## the tests that start no server and no cluster
	.venv/bin/python -m pytest -m "not ray and not s3 and not slow"

lint: setup  ## format, lint and strict types
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

lock:  ## resolve pyproject.toml's ranges into requirements.lock, keeping what is locked (needs uv)
	uv pip compile --python-version 3.11 --no-annotate --no-header --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --extra pipeline --extra dev pyproject.toml -o requirements.lock

clean:  ## remove the virtual environment and the demo's workspace
	rm -rf .venv workspace
