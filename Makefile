# make help | setup | demo | test | lint | format
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup demo test lint format

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup:  ## .venv with the tested packages, Horovod and a Java; quick when nothing changed
	@setup/venv.sh

demo: setup  ## the whole chain on the embedded sample: lists -> labels -> pictures -> data set -> ResNet-101 -> report
	@./demo.sh

test: lint  ## lint, then all tests: those that start engines in one process, beside them the plain ones in another
	python -m pytest -n 2 --dist loadgroup

lint: setup  ## format check, lint, import contracts, types
	ruff format --check .
	ruff check .
	lint-imports
	mypy

format: setup  ## rewrite the code in the one format
	ruff format .
	ruff check --fix .
