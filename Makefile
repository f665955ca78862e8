# Two commands are all a newcomer needs: `make run` and `make test`.
# Plain enough for the make 3.81 of macOS; every path is relative, so that spaces do no harm.

PYTHON = .venv/bin/python

.PHONY: help run test bench prove lint format clean run-environment dev-environment client-environment

help:
	@echo 'make run      set up, then serve on http://localhost:8000 with a database of its own'
	@echo 'make test     set up, then lint, types, import contract and all tests (ARGS="-k name")'
	@echo 'make bench    measure against the limits of this machine (docs/performance.md)'
	@echo 'make prove    every fault, seeded; adds to docs/proof.md (ARGS="--share 0.1 --minutes 60")'
	@echo 'make lint     everything of the above but the tests'
	@echo 'make format   let ruff format and repair'
	@echo 'make clean    remove .venv and caches; data and keys stay'

run: run-environment
	@exec $(PYTHON) -m authsvc serve

test: lint client-environment
	@echo '== tests'
	@$(PYTHON) -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

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
