"""A checkpoint: everything a killed training needs to go on to the same bits, in one file, without pickles.

One safetensors file holds the tensors; its metadata holds JSON: what the training is (a fingerprint of settings, data,
seed and code), where it stands, the states of its random generators in hex, and a hash of the tensors. A file that is
cut short, altered, or of another training is never trusted: it is dropped with a line that says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from stflow.io import SCHEMA_VERSION, atomic_path, sha256_array


def save_checkpoint(path: Path, fingerprint: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint, atomically; ``state`` is anything JSON holds."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    meta = {"schema": SCHEMA_VERSION, "fingerprint": fingerprint, "sha256": _sha256(arrays), "state": dict(state)}
    with atomic_path(path) as partial:
        partial.write_bytes(save(arrays, metadata={"stflow": json.dumps(meta)}))


def load_checkpoint(path: Path, fingerprint: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and state of a checkpoint, or None where there is none to go on from.

    One that is broken or of another training is removed, and the reason is logged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as handle:
            meta = json.loads((handle.metadata() or {})["stflow"])
            arrays = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        problem = _problem(meta, arrays, fingerprint)
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, RecursionError) as error:
        problem = f"it cannot be read ({error})"
    if problem:
        print(f"stflow: checkpoint {path} is not used: {problem}. Training starts anew.", file=sys.stderr)
        path.unlink(missing_ok=True)
        return None
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, meta["state"]


def _problem(meta: Any, arrays: Mapping[str, np.ndarray], fingerprint: str) -> str:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        return "it does not say where it stands"
    if meta.get("schema") != SCHEMA_VERSION:
        return f"it is of schema {meta.get('schema')}, this program writes {SCHEMA_VERSION}"
    if meta.get("fingerprint") != fingerprint:
        return "it is of other settings, data, seed or code"
    if meta.get("sha256") != _sha256(arrays):
        return "its tensors do not match their hash"
    return ""


def _sha256(arrays: Mapping[str, np.ndarray]) -> str:
    return sha256_array(*(arrays[name] for name in sorted(arrays)))


def generator_states(generators: Mapping[str, torch.Generator]) -> dict[str, str]:
    """Name -> state in hex."""
    return {name: generator.get_state().numpy().tobytes().hex() for name, generator in generators.items()}


def restore_generators(generators: Mapping[str, torch.Generator], states: Mapping[str, str]) -> None:
    """Inverse of `generator_states`."""
    for name, generator in generators.items():
        generator.set_state(torch.frombuffer(bytearray.fromhex(states[name]), dtype=torch.uint8))
