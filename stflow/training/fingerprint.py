"""What makes a training this one: a checkpoint of any other is of no use to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stflow.data.slide import Slide
from stflow.io import sha256_file, sha256_json
from stflow.models.base import Method
from stflow.provenance import code_hash
from stflow.training.inputs import sha256_slide


def fingerprint(method: Method, train: Sequence[Slide], select: Sequence[Slide], seed: int, device: str) -> str:
    """SHA-256 of settings, genes, names, seed, initial weights, machine, code, and all that it sees of its slides."""
    task = method.task
    return sha256_json(
        {
            "settings": method.settings.model_dump(mode="json"),
            "genes": task.genes,
            "names": task.names,
            "seed": seed,
            "weights": task.weights and sha256_file(task.weights),
            "device": device,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "code": code_hash(type(method).__module__),
            "train": [sha256_slide(slide, task) for slide in train],
            "select": [sha256_slide(slide, task) for slide in select],
        }
    )
