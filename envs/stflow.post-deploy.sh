#!/usr/bin/env bash
# Snakemake runs this inside the new conda environment, from the folder that it was started in: the repository.
set -euo pipefail
python -m pip install --quiet --requirement envs/requirements.lock
python -m pip install --quiet --no-deps --no-build-isolation .
