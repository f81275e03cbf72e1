"""How many tiles go into a batch: what was asked for, the encoder's own choice on a CPU, or what fits a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from stflow.device import is_out_of_memory

#: On a CPU, unless the encoder says another (attribute ``cpu_batch``): a constant, so that bits do not hang on memory.
CPU_BATCH = 64
#: More than this no encoder is faster for.
MOST = 512
#: Share of the free memory that a batch may take.
SHARE = 0.8
_FEW, _MORE = 4, 16  # sizes of the two trials


class Memory(Protocol):
    """Memory of a device, bytes."""

    def free(self) -> int:
        """What can still be taken."""

    def peak(self, work: Callable[[], object]) -> int:
        """What ``work`` held at most beyond what was held before."""

    def release(self) -> None:
        """Give back what nothing holds any more."""


class CudaMemory:
    """Memory of the current GPU."""

    def free(self) -> int:
        """What the driver has left, and what torch has taken without using it."""
        import torch

        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()

    def peak(self, work: Callable[[], object]) -> int:
        """See `Memory.peak`."""
        import torch

        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def release(self) -> None:
        """See `Memory.release`."""
        import torch

        torch.cuda.empty_cache()


class HostMemory:
    """Memory of the machine: nothing is measured, as batches are constant there."""

    def free(self) -> int:
        """Not known."""
        return 0

    def peak(self, work: Callable[[], object]) -> int:
        """Not known."""
        work()
        return 0

    def release(self) -> None:
        """The interpreter does it."""


def fitting(encode: Callable[[int], object], memory: Memory) -> int:
    """Largest power of two of at most `MOST` tiles whose batch takes no more than `SHARE` of the free memory.

    Parameters
    ----------
    encode
        Encodes a batch of so many tiles.
    memory
        The device's.

    Returns
    -------
    At least 1: whether one tile fits is seen when it is encoded.
    """
    try:
        encode(1)  # loads the weights; what stays is no part of a batch
        few, more = (memory.peak(lambda size=size: encode(size)) for size in (_FEW, _MORE))  # type: ignore[misc]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        memory.release()
        return 1
    a_tile = max((more - few) / (_MORE - _FEW), 1.0)
    constant = max(few - _FEW * a_tile, 0.0)
    memory.release()
    room, size = SHARE * memory.free() - constant, 1
    while size < MOST and 2 * size * a_tile <= room:
        size *= 2
    return size
