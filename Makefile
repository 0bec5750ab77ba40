# One command for each thing one does here; `make` lists them. Needs Python 3.10 or newer and nothing else:
# the first target that wants the environment builds it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
CODE   := agentops_local sync benchmarks tests
PROSE  := README.md $(wildcard docs/*.md)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help venv demo test reliability figures soak mutate lint type format bench docs build clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY)  ## Build .venv with the library and the tools of development

# Built anew when pyproject.toml changes. The stamp is written last: an installation cut short is begun again.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY)  ## Record a small run and look at it, offline
	$(BIN)/agentops-local demo

test: $(READY)  ## Run the tests, two at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

reliability: $(READY)  ## Run the battery of faults alone, and keep its scorecard in build/
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/reliability --scorecard build/scorecard.json

figures: $(READY)  ## Take the figures of the last `make reliability` into the docs
	cp build/scorecard.json docs/scorecard.json
	$(BIN)/cog -r docs/guarantees.md

soak: $(READY)  ## The same from ever other seeds, for so long: make soak SECONDS=3600
	$(BIN)/python -m tests.reliability.soak --seconds $(or $(SECONDS),3600)

mutate: $(READY)  ## Prove that the battery can fail: each seeded bug must turn a row red
	$(BIN)/python -m tests.reliability.mutate

lint: $(READY)  ## Check style, format, the direction of imports, secrets, known vulnerabilities
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/python .ci/scan.py
	$(BIN)/python .ci/audit.py

type: $(READY)  ## Check the types
	$(BIN)/mypy

format: $(READY)  ## Put the code into its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## Measure recording, growth, contention, a long conversation and uploading
	$(BIN)/python -m benchmarks.record
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.contention
	$(BIN)/python -m benchmarks.conversation
	$(BIN)/python -m benchmarks.drain
	$(BIN)/python -m benchmarks.beside
	$(BIN)/python -m benchmarks.idle
	$(BIN)/python -m benchmarks.backlog
	$(BIN)/python -m benchmarks.llm_calls
	$(BIN)/python -m benchmarks.ask --small
	$(BIN)/python -m benchmarks.dashboard --small
	$(BIN)/python -m benchmarks.export

docs: $(READY)  ## Write the help texts into the docs anew, then test the docs
	$(BIN)/cog -r $(PROSE)
	$(BIN)/python -m pytest tests/docs

build: $(READY)  ## Build the source archive, and the wheel from it, into dist/
	$(BIN)/python -m build

clean:  ## Remove what these commands made, .venv included
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
