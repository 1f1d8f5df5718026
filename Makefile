# Everything is set up by itself: start with `make demo`.
# Settings: ONCE=1 (stop after the jobs), FRESH=1 (forget all earlier runs), BASE_PORT=N, PYTHON=/path/to/python3.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
CODE := $(wildcard include plugins dags lab tests benchmarks docs)
TYPED := $(foreach folder,$(CODE),$(if $(shell find $(folder) -name "*.py" -print -quit),$(folder)))
# What ran out of its time on a busy machine is tried once more, and told; a promise that broke never is. After
# six of these it is no bad luck: a module whose clusters do not come up would else wait for them at each test.
LATE := --reruns 1 --max-suite-reruns 6 --only-rerun "in vain for" --only-rerun "not ended in time" --only-rerun "Timeout"
RUN := PYTHONPATH=include:plugins:. .venv/bin/python

.PHONY: help setup demo down test chaos check doctor benchmarks screenshots requirements clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: ## the virtual environment, from the pinned requirements
	@sh lab/setup.sh

demo: setup ## two Slurm clusters, CycleCloud and Airflow on this machine, and sample jobs on their way
	@$(RUN) -m lab.demo

down: ## stop what a crashed demo left
	@test ! -x .venv/bin/python || $(RUN) -m lab.demo down

test: setup ## every test but the long ones, on the real clusters, too
	@$(RUN) -m pytest -m "not long" $(LATE) -n 3 --dist loadscope --no-loadscope-reorder --durations 30 --durations-min 20

chaos: setup ## the long tests: everything is killed, cut and stalled, on the real clusters
	@$(RUN) -m pytest -m long tests/chaos tests/centre

check: setup ## style, types, imports, whether pins and docker-compose.yaml are current, advisories
	@.venv/bin/ruff check $(CODE)
	@.venv/bin/ruff format --check $(CODE)
	@.venv/bin/mypy $(TYPED)
	@PYTHONPATH=include:plugins:. .venv/bin/lint-imports --no-logo
	@$(RUN) -m lab.requirements --check
	@$(RUN) -m lab.audit
	@$(RUN) -m lab.compose --check

doctor: setup ## look at the clusters of a running demo as a site's administrator would
	@$(RUN) -m lab doctor

benchmarks: setup ## measure the ratios of docs/benchmarks.md anew, twenty minutes
	@missed=0; for name in decisions reconcile usage_rows page_speed job_overhead waiting_jobs scale_out centre; do \
		$(RUN) benchmarks/$$name.py || missed=1; echo; done; exit $$missed

screenshots: setup ## take the pictures in docs/images anew; needs chromium
	@$(RUN) -m docs.screenshots

requirements: setup ## compile requirements*.in to the pins with their hashes, keeping those that still fit
	@$(RUN) -m lab.requirements

clean: down ## remove all that was made
	rm -rf .venv .lab .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
