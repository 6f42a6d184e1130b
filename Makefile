# Every entry point a person needs; `make help` explains them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo demo test test-all lint fmt sim bench unit lab qemu fuzz lock
PY := .venv/bin/python
ONLY ?=
N ?= 300
SEED ?= 0
JOBS ?= $(shell nproc)
SECONDS ?= 60

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## Install what tests need (Debian packages as root, Python environment)
	@tools/setup.sh test

setup-demo:
	@tools/setup.sh demo

demo: setup-demo ## Two sites, one tunnel, on real packets; stays up until Ctrl-C (ONCE=1: run through and exit)
	@$(PY) -m tests.lab.demo $(if $(ONCE),--once)

test: setup lint unit fuzz sim lab ## Everything that must hold: style, types, layout, unit, property, fuzz, simulation, lab

test-all: test qemu ## The same, the long matrices, guests with another kernel and ten minutes of fuzzing
	@$(PY) -m tests.fuzz --seconds 600 --seed $(SEED)
	@$(PY) -m pytest -q -m "long and not qemu" tests plugins

unit: ## Unit, property, contract and house tests
	@$(PY) -m pytest -q -n $(JOBS) -m "not lab and not long" tests/unit tests/property tests/contract tests/fuzz tests/house plugins

fuzz: ## Hostile bytes for every parser that the network reaches (SECONDS=60 in all, SEED=0)
	@$(PY) -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

sim: ## Simulated networks with real path finding (N=300 SEED=0; LOG=file: an interrupted run goes on)
	@$(PY) -m pytest -q -n $(JOBS) -m "not long" tests/sim
	@$(PY) -m tests.sim --seeds $(SEED)-$$(( $(SEED) + $(N) - 1 )) $(if $(LOG),--log $(LOG))

lab: ## Real packets in network namespaces; needs root
	@$(PY) -m pytest -q -n $(JOBS) --dist loadfile -m "lab and not long" tests/lab

qemu: setup ## The kernel engine, in an emulated machine with a stock Debian kernel; x86-64, root, an hour
	@tools/setup.sh qemu
	@$(PY) -m pytest -q -s -m qemu tests/qemu

lint: ## Style, types and the direction of dependencies
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports

fmt: ## Format the code
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

bench: setup ## Measure against real peers (ONLY=name for one); JSON lines
	@$(PY) -m bench $(ONLY)

lock: ## Renew requirements.lock from pyproject.toml
	@$(PY) -m piptools compile -q --strip-extras --allow-unsafe --extra dev --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --no-header -o requirements.lock pyproject.toml
