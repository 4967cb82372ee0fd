# Everything runs in .venv, made on first use from pyproject.toml. PYTHON= chooses the interpreter.
PYTHON ?= python3
PORT ?= 8080
BIN := .venv/bin

.PHONY: run test check demo bench chaos fix clean

run: .venv/run.stamp
	$(BIN)/antiphon serve --port $(PORT)

test: .venv/dev.stamp
	@tests/servers.sh
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: .venv/demo.stamp
	$(BIN)/antiphon demo

bench: .venv/dev.stamp
	$(BIN)/python -m bench $(ARGS)

chaos: .venv/dev.stamp
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

fix: .venv/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Antiphon needs Python 3.11 or newer; try PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	touch $@

.venv/demo.stamp: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[demo]'
	touch $@ .venv/run.stamp

.venv/dev.stamp: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@ .venv/run.stamp .venv/demo.stamp
