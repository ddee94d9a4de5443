# The commands of Tidemark; README.md explains them. Everything else is in deploy/local.
PYTHON ?= python3
RUN := .venv/bin/python -m

.PHONY: up down test check demo bench bootstrap
.DEFAULT_GOAL := demo

bootstrap:
	@$(PYTHON) deploy/local/bootstrap.py

up: bootstrap
	@SIMULATORS=$(SIMULATORS) $(RUN) deploy.local.stack up

down: bootstrap
	@$(RUN) deploy.local.stack down $(if $(filter-out 0,$(WIPE)),--wipe)

test: bootstrap
	@$(RUN) deploy.local.setup --for test
	@$(RUN) pytest $(ARGS)

check: bootstrap
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy .
	@$(RUN) pytest -q tests/unit/test_architecture.py tests/unit/test_docs.py

demo: bootstrap
	@PROVIDER=$(PROVIDER) $(RUN) deploy.local.demo

bench: bootstrap
	@$(RUN) deploy.bench
