# Two commands are all a newcomer needs: `make run` and `make test`.
# Plain enough for the make 3.81 of macOS; every path is relative, so that spaces do no harm.

PYTHON = .venv/bin/python

PARALLEL = -n auto --maxprocesses 4 --dist worksteal --durations=25
# Without programs of others and what takes minutes; `slow` marks it, or its folder does.
QUICK = tests -m 'not slow' --ignore=tests/browser --ignore=tests/gateways --ignore=tests/clients

.PHONY: help run test test-all bench prove lint format clean run-environment dev-environment client-environment

help:
	@echo 'make run      set up, then serve on http://localhost:8000 with a database of its own'
	@echo 'make test     set up, then lint, types, import contract and the quick tests (ARGS="-k name")'
	@echo 'make test-all the same with all tests: browser, gateways, fuzzing, packages, short proof'
	@echo 'make bench    measure against the limits of this machine (docs/performance.md)'
	@echo 'make prove    every fault, seeded; adds to docs/proof.md (ARGS="--share 0.1 --minutes 60")'
	@echo 'make lint     everything of the above but the tests'
	@echo 'make format   let ruff format and repair'
	@echo 'make clean    remove .venv and caches; data and keys stay'

run: run-environment
	@exec $(PYTHON) -m authsvc serve

test: lint client-environment
	@echo '== tests'
	@$(PYTHON) -m pytest $(PARALLEL) $(QUICK) $(ARGS)

test-all: lint client-environment
	@echo '== all tests'
	@$(PYTHON) -m pytest $(PARALLEL) $(ARGS)

bench: dev-environment
	@exec $(PYTHON) -m bench $(ARGS)

prove: client-environment
	@exec $(PYTHON) -m proof $(ARGS)

lint: dev-environment
	@echo '== ruff check'
	@$(PYTHON) -m ruff check .
	@echo '== ruff format'
	@$(PYTHON) -m ruff format --check .
	@echo '== mypy'
	@$(PYTHON) -m mypy
	@echo '== import contract'
	@$(PYTHON) -c 'from importlinter.cli import lint_imports_command as run; run()'

format: dev-environment
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix .

clean:
	rm -rf .venv .npm-cache tests/clients/node_modules clients/js/node_modules clients/js/dist build dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

run-environment:
	@sh scripts/environment.sh requirements.lock

dev-environment:
	@sh scripts/environment.sh requirements-dev.lock

client-environment:
	@sh scripts/clients.sh
