# Everything from a clean clone: `make study` trains the card's seven models, `make test` tests. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RESULTS ?= results
ifndef STUDY  # a study file says itself which seeds
SEEDS ?= 5
endif

study: $(VENV)/.ready  ## train the seven models with five seeds each and write the report. Options: EPOCHS=1 SEEDS=3 PROTOCOL=card RECIPE=best LR=… BATCH_SIZE=… STUDY=file RESULTS=folder RESTART=1
	$(BIN)/modelflow run $(STUDY) --results $(RESULTS) $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $(PROTOCOL),--protocol $(PROTOCOL)) \
	  $(if $(RECIPE),--recipe $(RECIPE)) $(if $(LR),--lr $(LR)) $(if $(BATCH_SIZE),--batch-size $(BATCH_SIZE)) $(if $(RESTART),--restart)

setup: $(VENV)/.ready  ## set up .venv only. Then: . .venv/bin/activate

test: $(VENV)/.ready-dev  ## run the quick tests, on the real Fashion-MNIST (a bit over three minutes on two idle cores)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not more and not slow"

test-more: $(VENV)/.ready-dev  ## run the other tests: browser, Ray, processes, kills, fuzzing, exports, notebooks (half an hour or more)
	$(BIN)/python -m pytest -n auto --dist worksteal -m more

test-slow: $(VENV)/.ready-dev  ## run the slowest tests: lost machines, long kills, tutorials (nightly, and before a release)
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

test-arm: $(VENV)/.ready-dev  ## run the tests of the compiled step on ARM, elsewhere under qemu's emulation (some two minutes)
	tests/kernels/on_arm.sh

test-m4: $(VENV)/.ready-dev  ## run exported C on an emulated Cortex-M4, where its compiler and qemu are installed
	tests/export/on_m4.sh $(BIN)/python

lint: $(VENV)/.ready-dev  ## style (ruff) and types (mypy strict on src)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.ready-docs  ## write the reference of commands, build the site into site/
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --clean --strict

bench: $(VENV)-bench/.ready  ## measure beside seven other ways to train, every promise, the statistics (three hours, idle machine). Options: PARTS='epochs' ROUNDS=1 IMAGES=4000 STUDIES=100, SINCE=REVISION to compare with a revision
	$(VENV)-bench/bin/python benchmarks/bench_peers.py $(or $(PARTS),check epochs accuracy study) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(IMAGES),--images $(IMAGES)) \
	  $(if $(ROUNDS_STUDY),--rounds-study $(ROUNDS_STUDY))
	$(if $(PARTS),,$(VENV)-bench/bin/python benchmarks/bench_promises.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(IMAGES),--images $(IMAGES)))
	$(if $(PARTS),,$(VENV)-bench/bin/python benchmarks/simulate_statistics.py $(if $(STUDIES),--studies $(STUDIES)))
	$(if $(SINCE),$(VENV)-bench/bin/python benchmarks/against_revision.py $(SINCE) $(if $(ROUNDS),--rounds $(ROUNDS)))
	cat benchmarks/results/peers.md $(if $(PARTS),,benchmarks/results/promises.md)

card: $(VENV)/.ready  ## train the card five times and --recipe best three times (an hour), then write the table of docs/explanation/card.md
	$(BIN)/modelflow run --protocol card --seeds 5 --results results-card
	$(BIN)/modelflow run --protocol card --recipe best --seeds 3 --results results-best
	$(BIN)/python benchmarks/card_repeated.py keep results-card results-best
	$(BIN)/python benchmarks/card_revisited.py keep card results-card

pictures: $(VENV)/.ready-dev results-pictures/report.html  ## draw the pictures of README.md and docs anew, light and dark, from results-pictures (trained once, some three minutes) and benchmarks/results
	$(BIN)/python benchmarks/pictures.py results-pictures
	$(BIN)/python benchmarks/card_revisited.py

results-pictures/report.html: | $(VENV)/.ready
	$(BIN)/modelflow run benchmarks/pictures.yaml --results results-pictures

fuzz: $(VENV)/.ready-fuzz  ## 100,000 hostile inputs for each parser, 20,000 changed bytes, 300 random specs beside PyTorch (two hours or more). Options: COUNT=2000 TARGETS='idx where'
	MODELFLOW_SPECS=300 $(BIN)/python -m pytest -q tests/kernels -k random_specs
	$(BIN)/python tests/fuzz/run.py $(TARGETS) $(if $(COUNT),--count $(COUNT))

torture: $(VENV)/.ready-dev  ## 500 SIGKILLs, every failing system call, full disks, 300 studies in a row (about 70 minutes). Options: KILLS=50 FAULTS=20 STUDIES=10
	$(BIN)/python tests/torture/run.py $(if $(KILLS),--kills $(KILLS)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(STUDIES),--studies $(STUDIES))

audit: $(VENV)/.ready-fuzz  ## check the pinned packages for known vulnerabilities, where a network allows
	$(BIN)/python benchmarks/audit.py

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /make \1\t/' | expand -t 16

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev
	touch $@

$(VENV)/.ready-fuzz: $(VENV)/.ready-dev
	$(BIN)/python -m pip install --quiet -c constraints.txt --group fuzz
	touch $@

$(VENV)/.ready-docs: $(VENV)/.ready-dev
	$(BIN)/python -m pip install --quiet -c constraints.txt --group docs
	touch $@

# fastai asks for torchvision and spacy, which its Learner does not use: it comes alone, what it needs is in peers.txt.
$(VENV)-bench/.ready: pyproject.toml constraints.txt benchmarks/peers.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet -c constraints.txt -e . -r benchmarks/peers.txt
	$(VENV)-bench/bin/python -m pip install --quiet --no-deps fastai==2.8.12
	touch $@

.PHONY: study setup test test-more test-slow test-arm test-m4 lint docs bench card pictures fuzz torture audit help
.DEFAULT_GOAL := help
