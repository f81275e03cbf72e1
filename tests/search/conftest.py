"""The made results folder of tests/training, for trials."""

from ..training.conftest import made, manifest, results, run_name

__all__ = ["made", "manifest", "results", "run_name"]
