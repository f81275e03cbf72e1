"""Weights files: read without running what is in them, loaded so that each tensor has its place.

A pickle can call any function while it is read. So only tensors and plain containers are, and what a training
framework leaves beside them, such as callbacks and hyperparameters, becomes an inert stand-in: the framework need not
be installed, and its classes do not run. A file that names anything else is refused.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stflow.errors import WeightsError

if TYPE_CHECKING:
    import torch

#: Names that stand beside the tensors of checkpoints and play no part in them.
_INERT_PREFIXES = (
    "argparse.",
    "lightning.",
    "lightning_fabric.",
    "lightning_utilities.",
    "numpy.",
    "omegaconf.",
    "pathlib.",
    "pytorch_lightning.",
    "torch.optim.",
    "torchmetrics.",
)
_INERT_NAMES = frozenset(
    {"collections.defaultdict", "typing.Any"}
    | {f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "object", "str", "tuple")}
)
#: How torch names the first object that it does not let through; it drops ``builtins.``.
_REFUSED = re.compile(r"GLOBAL ([\w.]+) was not an allowed global|unsupported GLOBAL ([\w.]+) whose module")
#: More stand-ins than any framework needs: a file that asks for more is not a checkpoint.
_MOST_STAND_INS = 200
_SHOWN = 8
#: Counters of batch normalisation. Evaluation does not read them, and files made before 2018 lack them.
_COUNTERS = ".num_batches_tracked"


class _Inert:
    """Stands for an object of a framework that is not needed: takes anything, does nothing."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _InertDict:
    """As `_Inert`, for subclasses of dict: torch fills a plain `OrderedDict` and nothing else."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        return OrderedDict()


def read_state(path: Path, key: str = "") -> dict[str, torch.Tensor]:
    """Tensors of a weights file by name, on the CPU, mapped from the file where its format allows.

    Parameters
    ----------
    path
        ``.safetensors``, or what ``torch.save`` wrote: in the zip format or the one before, with or without a
        training framework's objects beside the tensors.
    key
        Where in the file the tensors are, such as ``state_dict``; empty: they are the whole file.

    Raises
    ------
    WeightsError
        Missing, cut short, no weights file at all, without that key, or it names a function or class that reading it
        would run.
    """
    if not path.is_file():
        raise WeightsError(f"{path} is not there. Download it again.")
    with path.open("rb") as handle:
        head = handle.read(256).lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a git-lfs pointer, not the weights. Run `git lfs pull` in its repository, or download the file "
            "from its page."
        )
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(
            f"{path} is a web page, not the weights: it was downloaded without access. Delete it, get access on the "
            "page of the weights, run `hf auth login`, and download it again."
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if key:
        if not isinstance(content, Mapping) or key not in content:
            raise WeightsError(f"{path} has no {key!r}; it holds {_names(content)}. It is the file of another model.")
        content = content[key]
    import torch

    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds {_names(content)} instead of tensors. It is the file of another model.")
    others = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise WeightsError(
            f"{path}: {len(others)} of {len(content)} entries are no tensors ({_some(others)}). "
            "It is the file of another model."
        )
    return {str(name): value for name, value in content.items()}


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        _refuse_broken(path, error)


def _read_pickle(path: Path) -> Any:
    import torch

    stand_ins: dict[str, tuple[type, str]] = {}
    mapped = zipfile.is_zipfile(path)
    while True:
        try:
            with torch.serialization.safe_globals([*stand_ins.values()]):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except pickle.UnpicklingError as error:
            if (match := _REFUSED.search(str(error))) is None:
                _refuse_broken(path, error)
            name = match[1] or match[2]
            name = name if "." in name else f"builtins.{name}"
            inert = match[1] and (name.startswith(_INERT_PREFIXES) or name in _INERT_NAMES)
            if not inert or name in stand_ins or len(stand_ins) >= _MOST_STAND_INS:
                raise WeightsError(
                    f"{path} names {name}, which reading it would run: refused. Published weights hold tensors alone: "
                    "download the file again from its own page."
                ) from error
            stand_ins[name] = (_InertDict if name.lower().endswith("dict") else _Inert, name)
        except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
            _refuse_broken(path, error)


def _refuse_broken(path: Path, error: Exception) -> NoReturn:
    reason = str(error).strip().partition("\n")[0][:160]
    raise WeightsError(
        f"{path} cannot be read as weights ({type(error).__name__}: {reason}): it is cut short, or no weights file. "
        "Delete it and download it again."
    ) from error


def load_strict(
    network: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    path: Path,
    encoder_name: str,
    rebuild: Callable[[], torch.nn.Module] | None = None,
) -> torch.nn.Module:
    """Give a network its weights: every one that it has, and none that it has not.

    Parameters
    ----------
    network
        Built on the meta device, so that no random weight was ever made; its tensors are replaced.
    state
        Tensors by the network's names. Floating ones become float32.
    path, encoder_name
        For the messages.
    rebuild
        Makes the network on the CPU: called only where it has buffers that no file holds, such as tables of
        positions, and these are taken over.

    Returns
    -------
    The same network, in evaluation mode.

    Raises
    ------
    WeightsError
        Tensors that are missing, left over or of another shape; all are counted and the first of each kind told.
    """
    import torch

    own = network.state_dict()
    state = {**state, **{name: torch.zeros_like(own[name], device="cpu") for name in _counters(own) - state.keys()}}
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    wrong = [
        f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}"
        for name, value in state.items()
        if name in own and value.shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {what} ({_some(names)})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        if names
    ]
    if problems:
        raise WeightsError(
            f"{path} does not fit encoder {encoder_name}: of {len(own)} tensors, {'; '.join(problems)}. It is probably "
            "another model's file, or another release of it: see where this encoder's is with `stflow list encoders`."
        )
    network.load_state_dict(
        # Copied: a network that hangs on a mapped file breaks with it, and lies in memory as the file happens to.
        {
            name: value.to(torch.float32 if value.is_floating_point() else None, copy=True)
            for name, value in state.items()
        },
        strict=True,
        assign=True,
    )
    _take_buffers(network, rebuild)
    empty = [name for name, value in [*network.named_parameters(), *network.named_buffers()] if value.is_meta]
    if empty:
        raise WeightsError(
            f"encoder {encoder_name}: {_some(empty)} got no values from {path}. This is a bug: report it."
        )
    return network.eval()


def _counters(own: Mapping[str, torch.Tensor]) -> set[str]:
    return {name for name in own if name.endswith(_COUNTERS)}


def _take_buffers(network: torch.nn.Module, rebuild: Callable[[], torch.nn.Module] | None) -> None:
    """Fill the buffers that are not part of a file from a network made anew."""
    empty = [name for name, value in network.named_buffers() if value.is_meta]
    if not empty or rebuild is None:
        return
    made = dict(rebuild().named_buffers())
    for name in empty:
        module, _, buffer = name.rpartition(".")
        setattr(network.get_submodule(module), buffer, made[name])


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _names(content: Any) -> str:
    return _some([str(name) for name in content]) if isinstance(content, Mapping) else f"a {type(content).__name__}"
