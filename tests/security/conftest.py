"""pytest imports tests by their path alone, so the module beside them is loaded the same way."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if "security_spoil" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("security_spoil", Path(__file__).with_name("spoil.py"))
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["security_spoil"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["security_spoil"])
