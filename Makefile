# `make help` lists the targets. Needed: python3 (3.11 to 3.13) with venv and pip.
PYTHON  ?= python3
STORAGE ?= ./runs
BIN     := .venv/bin
STAMP   := .venv/.stamp

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help .venv quickstart test lint format proof clean

help: ## list the targets
	@awk -F ':.*## ' '/^[.a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv: $(STAMP) ## install the package and its tools, at the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into .venv (a few minutes the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

quickstart: $(STAMP) ## run a small search end to end; STORAGE=DIR says where
	$(BIN)/nas-ray search quickstart --storage "$(STORAGE)"

# Files in their order: by number of tests the long ones, which have few, would come last and alone.
test: lint ## everything that CI checks
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP) ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proof: $(STAMP) ## the long proofs that `make test` leaves out
	$(BIN)/pytest -m proof

clean: ## remove builds and caches; .venv and runs stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
