# Everything from a clean clone: `make study` trains the card's seven models, `make test` tests. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RESULTS ?= results

study: $(VENV)/.ready  ## train the seven models; EPOCHS=1 SEEDS=3 LR=… BATCH_SIZE=… STUDY=file RESULTS=folder RESTART=1
	$(BIN)/modelflow run $(STUDY) --results $(RESULTS) $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $(LR),--lr $(LR)) $(if $(BATCH_SIZE),--batch-size $(BATCH_SIZE)) $(if $(RESTART),--restart)

test: $(VENV)/.ready-dev  ## run the tests on the real Fashion-MNIST
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.ready-dev  ## style (ruff) and types (mypy strict on src)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.ready-dev  ## measure the training step against PyTorch; ROUNDS=7 BATCHES='16 64'
	$(BIN)/python benchmarks/bench_step.py --rounds $(or $(ROUNDS),7) --batches $(or $(BATCHES),16 64)

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /make \1\t/' | expand -t 14

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

.PHONY: study test lint bench help
.DEFAULT_GOAL := help
