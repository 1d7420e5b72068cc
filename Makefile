# The front door. Every target sets up what it needs into .venv/ and .local/ by itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup up down test lint format bench chaos docs screenshots lock
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# Passed on: make test ARGS="-k redemption -x"
ARGS ?=
# Test files run side by side, each worker with a broker and a database of its own; three keep two cores busy, for much is
# waiting. make test JOBS=0 for one after another.
JOBS ?= 3
# make up DETACH=1 returns as soon as everything is ready.
DETACH ?=

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install everything into .venv/ (the others do this by themselves)
	@deploy/local/set-up.sh

up: setup ## start broker, database, both services, inbox and a demo cabinet (DETACH=1: in the background)
	@exec $(BIN)/python -m deploy.local up $(if $(DETACH),--detach)

down: ## stop what `make up` started
	@if [ -x $(BIN)/python ]; then exec $(BIN)/python -m deploy.local down; else echo "Nothing is running."; fi

test: setup ## run the test suite on a real broker and database (ARGS="-k name" for a part)
	@$(BIN)/python -m deploy.local programs
	exec $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## static checks
	@exec deploy/local/lint.sh

format: setup ## put the code into shape
	@$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: setup ## benchmarks
	@$(BIN)/python -m deploy.local programs
	exec $(BIN)/python -m tests.bench $(ARGS)

chaos: setup ## the long fault run
	@$(BIN)/python -m deploy.local programs
	exec $(BIN)/python -m tests.chaos $(ARGS)

docs: setup ## write the pages of docs/ anew that are made from the code
	@exec $(BIN)/python -m deploy.docs

screenshots: setup ## take the pictures of docs/pictures anew
	@$(BIN)/python -m deploy.local programs
	exec $(BIN)/python -m tests.journey.pictures

lock: setup ## resolve the requirements anew (ARGS=--upgrade for the newest releases)
	@exec deploy/local/lock.sh $(ARGS)
