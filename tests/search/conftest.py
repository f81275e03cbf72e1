"""The made results folder of tests/training, for trials."""

import importlib.util
import sys
from pathlib import Path

if "training_fixtures" not in sys.modules:
    _path = Path(__file__).parents[1] / "training" / "conftest.py"
    _spec = importlib.util.spec_from_file_location("training_fixtures", _path)
    sys.modules["training_fixtures"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["training_fixtures"])

_training = sys.modules["training_fixtures"]
made, results, manifest, run_name = _training.made, _training.results, _training.manifest, _training.run_name
