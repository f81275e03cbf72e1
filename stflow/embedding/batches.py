"""Tiles of a slide, block by block, read ahead of the encoder: reading, hashing and `Encoder.prepare` cost it no time.

One thread does the three, a few blocks ahead; with worker processes these read (and unpack) and prepare, and the thread
hashes. Memory holds a few blocks, whatever the size of the slide.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stflow.embedding.blocks import BlockFile
from stflow.errors import DataError, IntegrityError
from stflow.io import open_h5
from stflow.wsi.tile_store import tiles_digest

T = TypeVar("T")
_Pair = tuple[np.ndarray, np.ndarray | None]

#: Blocks that wait for the encoder, and blocks that wait in each worker.
AHEAD = 2
_POLL_S = 0.1


@dataclass(frozen=True, eq=False)
class Block:
    """Some tiles in a row.

    Attributes
    ----------
    start, count
        First tile and number of tiles.
    tiles_sha256
        SHA-256 of all tiles up to the block's end.
    tiles
        (B, ...) as `Encoder.prepare` leaves them, B >= count; None if the features are there.
    features
        (count, D) float32 of an earlier run, or None.
    """

    start: int
    count: int
    tiles_sha256: bytes
    tiles: Any
    features: np.ndarray | None


def read_blocks(
    path: Path,
    prepare: Callable[[np.ndarray], np.ndarray],
    blocks: BlockFile,
    digest: Any,
    *,
    workers: int,
    cuda: bool,
) -> Generator[Block, None, None]:
    """The blocks of a slide, in order.

    Parameters
    ----------
    path
        Tiles file.
    prepare
        What is done to (B, px, px, 3) uint8 tiles before they are encoded.
    blocks
        The slide's working file; what it holds is not prepared again.
    digest
        Running SHA-256, to which all tiles are added.
    workers
        Processes that read; 0: none.
    cuda
        Whether the encoder is on a GPU: tiles are then pinned, and the last block is filled up, so that all batches
        have one shape and a tile's features do not depend on how many tiles the slide has.

    Raises
    ------
    IntegrityError
        The file is cut short.
    RuntimeError
        A worker died, see `worker_died`; raised wherever the main thread is.
    """
    reader = _Reader(path, prepare, blocks)
    # Workers are started here and not in the thread that uses them: a fork copies the thread that calls it.
    source = _in_workers(reader, workers) if workers else _in_this_process(reader)
    return ahead(_hashed(source, reader, digest, cuda), AHEAD)


def worker_died(error: BaseException) -> bool:
    """Whether ``error`` says that a process of `read_blocks` is gone, mostly for want of shared memory."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def hash_tiles(path: Path, n: int, batch_size: int, digest: Any) -> None:
    """Add all ``n`` tiles of a tiles file to a running SHA-256.

    Raises
    ------
    IntegrityError
        The file is cut short.
    """
    with open_h5(path) as handle:
        for start in range(0, n, batch_size):
            tiles_digest(digest, read_tiles(handle["img"], start, batch_size, path))


def ahead(source: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """What ``source`` gives, taken from it in a thread of its own, up to ``depth`` items early.

    What it raises is raised here, in its turn. Close the iterator to end the thread early.
    """
    ready: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(items: list[T], error: BaseException | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((items, error), timeout=_POLL_S)
                return

    def run() -> None:
        try:
            with contextlib.closing(source):
                for item in source:
                    put([item], None)
                    if stopped.is_set():
                        return
            put([], None)
        except BaseException as error:  # noqa: BLE001 (it is raised in the thread that waits)
            put([], error)

    thread = threading.Thread(target=run, name="stflow-read", daemon=True)
    thread.start()
    try:
        while True:
            items, error = ready.get()
            if error is not None:
                raise error
            if not items:
                return
            yield from items
    finally:
        stopped.set()
        thread.join()


class _Reader:
    """Reads and prepares a block by number."""

    def __init__(self, path: Path, prepare: Callable[[np.ndarray], np.ndarray], blocks: BlockFile) -> None:
        self.path, self.prepare, self.blocks = path, prepare, blocks
        self.n, self.batch_size, self.recorded = blocks.n, blocks.batch_size, blocks.recorded
        self._open, self._images = contextlib.ExitStack(), None  # a worker's own, open until it ends

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def read(self, images: Any, index: int) -> _Pair:
        """Tiles of a block as they are, and prepared; the latter None where features seem to be recorded."""
        raw = read_tiles(images, index * self.batch_size, self.batch_size, self.path)
        return raw, self.prepare(raw) if index >= self.recorded else None

    def __getitem__(self, index: int) -> tuple[Any, Any, DataError | None]:
        """For a worker: raw and prepared tiles as tensors, or an error, which torch would bury in a traceback."""
        import torch

        try:
            if self._images is None:
                self._images = self._open.enter_context(open_h5(self.path))["img"]
            raw, prepared = self.read(self._images, index)
        except DataError as error:
            return None, None, error
        # What is not prepared at all crosses to the other process once.
        ready = None if prepared is None or prepared is raw else torch.from_numpy(np.ascontiguousarray(prepared))
        return torch.from_numpy(raw), ready, None


def read_tiles(images: Any, start: int, count: int, path: Path) -> np.ndarray:
    """(n, px, px, 3) uint8 tiles of an open tiles file's images, at most ``count`` from ``start`` on.

    Raises
    ------
    IntegrityError
        ``path``, which is that file, is cut short.
    """
    try:
        return images[start : start + count]
    except OSError as error:
        raise IntegrityError(f"{path} is cut short ({error}): delete it and run `tile` again.") from error


def _in_this_process(reader: _Reader) -> Generator[_Pair, None, None]:
    with open_h5(reader.path) as handle:
        images = handle["img"]
        for index in range(len(reader)):
            yield reader.read(images, index)


def _in_workers(reader: _Reader, workers: int) -> Generator[_Pair, None, None]:
    from torch.utils.data import DataLoader

    loader: DataLoader = DataLoader(
        reader,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        multiprocessing_context="fork",  # the encoder, which prepares, is there without being sent
    )
    return _arrays(iter(loader), reader)


def _as_it_is(item: T) -> T:
    return item


def _arrays(items: Iterator[Any], reader: _Reader) -> Generator[_Pair, None, None]:
    for index, (raw, prepared, problem) in enumerate(items):
        if problem is not None:
            raise problem
        tiles = raw.numpy()
        known = index < reader.recorded
        yield tiles, None if known else tiles if prepared is None else prepared.numpy()


def _hashed(
    source: Generator[_Pair, None, None], reader: _Reader, digest: Any, cuda: bool
) -> Generator[Block, None, None]:
    """Hash the tiles, look up what is recorded, prepare what seemed recorded and is not."""
    for index, (raw, prepared) in enumerate(source):
        tiles_digest(digest, raw)
        sha256, start = digest.digest(), index * reader.batch_size
        features = reader.blocks.take(sha256)
        if features is not None:
            yield Block(start, len(raw), sha256, None, features)
            continue
        tiles: Any = reader.prepare(raw) if prepared is None else prepared
        if cuda:
            tiles = filled_up(pinned_like(tiles, reader.batch_size), tiles)
        yield Block(start, len(raw), sha256, tiles, None)


def pinned_like(tiles: np.ndarray, size: int) -> Any:
    """(size, ...) uint8 tensor for ``size`` tiles, in memory that a GPU reads from directly."""
    import torch

    return torch.empty((size, *tiles.shape[1:]), dtype=torch.uint8, pin_memory=True)


def filled_up(out: Any, tiles: np.ndarray) -> Any:
    """Tiles (b, ...) copied into a tensor (B, ...), B >= b, whose last rows repeat the last tile."""
    import torch

    out[: len(tiles)] = torch.from_numpy(np.ascontiguousarray(tiles))
    out[len(tiles) :] = out[len(tiles) - 1].clone()
    return out
