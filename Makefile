# The two commands are `make demo` and `make test`; both set up .venv first and reuse it afterwards.
#   make PYTHON=/path/to/python3.12 demo     another interpreter (3.11, 3.12 or 3.13)
#   make her2st HER2ST=/data/her2st          the study's files from a folder instead of a download
#   make CORES=8 demo                        other than all cores

PYTHON ?=
CORES ?= all
HER2ST ?= $(wildcard ../shared/data/her2st)

VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --quiet host reason
# Threads of one job or test come from the configuration; without this each would start as many as there are cores.
export OMP_NUM_THREADS := 1

.PHONY: help setup demo her2st test test-cluster spatial lint audit format lock clean

help:
	@sed -n '1,4s/^# \{0,1\}//p' Makefile
	@echo "Targets: demo test her2st test-cluster spatial lint audit format lock clean"

setup:
	@envs/setup.sh $(VENV) $(PYTHON)

demo: setup
	@$(SNAKEMAKE) --configfile config/demo.yaml
	@$(BIN)/stflow show results/demo

her2st: setup
	@$(SNAKEMAKE) --configfile config/her2st.yaml \
		$(if $(HER2ST),--config 'benchmarks={"her2st": {"pack": "$(HER2ST)"}}')
	@$(BIN)/stflow show results/her2st

test: setup
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

# The workflow on a real SLURM, started and stopped on this machine (docs/clusters.md): as root, on Debian or Ubuntu.
test-cluster: setup
	@command -v slurmctld >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install --yes --quiet --no-install-recommends \
		slurm-wlm slurm-client munge >/dev/null; } || { echo "no SLURM, and it could not be installed (apt-get, as root)"; exit 2; }
	@$(BIN)/python -m pytest tests/cluster

# The extra for exports as SpatialData, into the same environment; `make test` runs its tests where it is installed.
spatial: setup
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --requirement envs/spatial.lock

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml -ll -ii --recursive stflow benchmarks workflow
	$(BIN)/snakemake --lint --configfile config/demo.yaml

# Known weaknesses of the locked packages; asks a service on the net, so it is no part of `lint`. Strict: a package that the
# service does not know, as where a mirror stands in its place, ends the audit; it would count as having none.
audit: setup
	@$(BIN)/python -m pip_audit --strict --requirement envs/requirements.lock --disable-pip --progress-spinner off; code=$$?; \
		[ $$code -eq 0 ] || echo "pip-audit: findings above, or a package was not looked up: nothing is known then." >&2; \
		exit $$code

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow

COMPILE := --universal --python-version 3.11 --fork-strategy fewest --quiet --no-strip-extras --no-emit-index-url \
	--no-header --no-annotate --generate-hashes

# Newest versions that envs/*.in allow, with hashes and without addresses, for all supported Pythons; where both locks have
# a package it is the same version, so that the extra only adds to the environment.
lock: setup
	$(BIN)/python -m venv --clear build/uv
	build/uv/bin/python -m pip install --quiet uv
	build/uv/bin/uv pip compile $(COMPILE) --upgrade --output-file envs/spatial.lock envs/spatial.in
	build/uv/bin/uv pip compile $(COMPILE) --upgrade --constraint envs/spatial.lock \
		--output-file envs/requirements.lock envs/requirements.in

# What can be made again in minutes: the demo's results and the tools' caches. Other results and .venv stay.
clean:
	rm -rf results/demo build .pytest_cache .mypy_cache .ruff_cache .hypothesis
