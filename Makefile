# Two commands: `make demo` runs the main job on the built-in data, `make test` runs the tests.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-full test soak lint clean

demo: .venv/.user                ## under ten minutes on two cores, leaves runs/demo/report.html
	$(BIN)/vsft --config=configs/demo.py --workdir=runs/demo --job=study

demo-full: .venv/.user           ## policies, remedies, five seeds: docs/study.md; two hours on two cores, resumes
	$(BIN)/vsft --config=configs/demo.py:full --workdir=runs/demo-full --job=study

test: .venv/.test lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

soak: .venv/.test                ## kills, signals, damages, full disks; about half an hour
	$(BIN)/python -m pytest -s tests/soak -m soak

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

.venv/.user: requirements.txt pyproject.toml    ## with the vsft command
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -e .
	touch $@

.venv/.test: requirements.txt requirements-test.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-test.txt -e .
	touch $@

clean:
	rm -rf .venv runs
