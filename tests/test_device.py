"""Devices resolve, or say why not; running out of memory is told from a bug."""

from __future__ import annotations

import os

import pytest
import torch

from stflow.device import get_threads, is_out_of_memory, resolve, set_threads
from stflow.errors import ResourceError


def test_cpu_and_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve("cpu") == resolve("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve("auto") == resolve("cuda") == "cuda"
    assert resolve("cpu") == "cpu"


def test_cuda_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(ResourceError, match=r"device cuda was asked for.*CUDA_VISIBLE_DEVICES=3.*auto or cpu"):
        resolve("cuda")
    with pytest.raises(ResourceError, match="no device 'gpu'; choose auto, cpu or cuda"):
        resolve("gpu")


def test_threads_reach_loaded_and_later_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    set_threads(2)
    assert torch.get_num_threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "2"
    set_threads(before)


@pytest.mark.parametrize(("said", "expected"), [("3", 3), ("4,2", 4), ("", os.cpu_count()), (None, os.cpu_count())])
def test_threads_are_the_environments_or_all(said: str | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert get_threads() == expected


def test_idle_threads_do_not_spin_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    set_threads(before)
    assert os.environ["GOMP_SPINCOUNT"] == "0"
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    set_threads(before)
    assert os.environ["GOMP_SPINCOUNT"] == "1000"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError("Unable to allocate"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA out of memory"), False),
    ],
)
def test_out_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
