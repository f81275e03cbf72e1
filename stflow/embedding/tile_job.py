"""Features of the tiles of one slide after the other, by one encoder, in batches that fit the device."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stflow.device import is_out_of_memory
from stflow.embedding.batch_size import CPU_BATCH, CudaMemory, HostMemory, Memory, fitting
from stflow.embedding.batches import Block, hash_tiles, read_blocks, read_tiles, worker_died
from stflow.embedding.blocks import BlockFile, recorded_batch
from stflow.embedding.kept import Kept
from stflow.embedding.made_from import (
    Made,
    Place,
    about,
    require_finite,
    require_places,
    require_shape,
    table_of,
)
from stflow.embedding.progress import Progress
from stflow.encoders.base import Encoder
from stflow.errors import IntegrityError, ResourceError
from stflow.io import open_h5, reading
from stflow.layout import Layout
from stflow.wsi.ready import barcodes, require_known, require_tiles, tile_centres
from stflow.wsi.tiles import Spots

#: Tiles, spread evenly over a slide, that an encoder sees of it beforehand.
FIT_TILES = 64


@dataclass
class TileJob:
    """Features of tiles, slide by slide."""

    layout: Layout
    benchmark: str
    model: Encoder
    made: Made
    workers: int
    cuda: bool
    only_keep: bool = False
    memory: Memory = field(init=False)
    batch_size: int | None = field(init=False)  # None: not chosen yet

    def __post_init__(self) -> None:
        self.memory = CudaMemory() if self.cuda else HostMemory()
        self.batch_size = self.made.batch_asked or None

    def run(self, slide: str, what: str) -> None:
        """Write one slide's features file."""
        tiles = self.layout.tiles(self.benchmark, slide)
        kept = Kept(self.layout.features(self.made.encoder, self.benchmark, slide), self.only_keep)
        place, recorded = _open(tiles, self.layout.slide(self.benchmark, slide))
        if self._take_kept(kept, tiles, place):
            print(f"embed {what}: {len(place.barcodes):,} tiles from an earlier run", file=sys.stderr, flush=True)
            return
        if type(self.model).fit_slide is not Encoder.fit_slide:
            with about(what):
                self.model.fit_slide(_sample(tiles, FIT_TILES))
        features, digest, batch_size = self._encode(kept, tiles, len(place.barcodes), what)
        source = str(self.identity(tiles).get("source_sha256", ""))
        if recorded and recorded != digest:
            kept.blocks.unlink(missing_ok=True)
            raise IntegrityError(f"{tiles}: the tiles' hash is not the one recorded. Delete it and run `tile` again.")
        try:
            self.require_whole(features, what, tiles)
        except IntegrityError:
            kept.blocks.unlink(missing_ok=True)  # they would be taken for good the next time
            raise
        kept.write(
            table_of(features, place, self.made, tiles_sha256=digest, batch_size=batch_size, source_sha256=source)
        )

    def identity(self, tiles: Path) -> dict[str, Any]:
        """What a slide's features depend on beside its tiles: attributes of `Features`."""
        del tiles
        return asdict(self.made)

    def require_whole(self, features: np.ndarray, what: str, tiles: Path) -> None:
        """Check a slide's features; see `require_finite`."""
        require_finite(features, what, tiles)

    def _take_kept(self, kept: Kept, tiles: Path, place: Place) -> bool:
        """Put the features of an earlier run in their place, if they are of these tiles."""
        table = kept.find(self.identity(tiles))
        if table is None:
            return False
        digest = hashlib.sha256()
        if place.agrees(table):
            hash_tiles(tiles, len(place.barcodes), CPU_BATCH, digest)
        if table.tiles_sha256 != digest.hexdigest():
            kept.drop("it is of other tiles")
            return False
        kept.place()
        self.batch_size = table.batch_size  # as in a run that was not interrupted
        return True

    def _encode(self, kept: Kept, tiles: Path, n: int, what: str) -> tuple[np.ndarray, str, int]:
        """(N, D) float32 features, the tiles' hash, and the size of the batches; halved while they do not fit."""
        identity = self.identity(tiles)
        batch_size = recorded_batch(kept.blocks, identity) or self.batch_size or self._choose(tiles)
        while True:
            try:
                features, digest = self.encode_in(batch_size, identity, kept.blocks, tiles, n, what)
            except (RuntimeError, MemoryError) as error:
                if worker_died(error):
                    raise ResourceError(
                        f"{what}: a process that reads {tiles} died ({error}). Give it more shared memory (/dev/shm), "
                        "or run with --workers 0."
                    ) from error
                if not is_out_of_memory(error):
                    raise
                if batch_size == 1:
                    raise ResourceError(
                        f"{what}: not even one tile fits in the memory of {self.model.device}. Use precision bf16, a "
                        "smaller encoder, or a device with more free memory."
                    ) from error
            else:
                self.batch_size = batch_size
                return features, digest, batch_size
            # Outside the handler: the error holds on to the frames, and these to the memory, as long as it lasts.
            self.memory.release()
            batch_size //= 2
            print(f"embed {what}: out of memory, starts anew with {batch_size} tiles a batch", file=sys.stderr)

    def encode_in(
        self, batch_size: int, identity: dict[str, Any], path: Path, tiles: Path, n: int, what: str
    ) -> tuple[np.ndarray, str]:
        """(N, D) float32 features and the tiles' hash, in batches of one size."""
        features = np.empty((n, self.model.dim), dtype=np.float32)
        digest = hashlib.sha256()
        with BlockFile(path, identity, n, self.model.dim, batch_size) as blocks:
            source = read_blocks(tiles, self.model.prepare, blocks, digest, workers=self.workers, cuda=self.cuda)
            self.encode_blocks(source, blocks, features, what)
        return features, digest.hexdigest()

    def encode_blocks(
        self, source: Generator[Block, None, None], blocks: BlockFile, out: np.ndarray, what: str
    ) -> None:
        """Encode what ``source`` gives, record it, and put it into (blocks.n, D) ``out``."""
        progress = Progress(what, blocks.n)
        recording: Future[None] | None = None
        with (
            ThreadPoolExecutor(1, "stflow-record") as recorder,  # the device does not wait for the disk
            contextlib.closing(source),
        ):
            for block in source:
                made = block.features
                if made is None:
                    made = self.model.encode(block.tiles)[: block.count]
                    require_shape(made, block.count, self.model)
                    made = self.finished(made, block)
                    if recording:
                        recording.result()
                    recording = recorder.submit(blocks.add, block.tiles_sha256, made)
                out[block.start : block.start + block.count] = made
                progress.add(block.count, earlier=block.features is not None)
            if recording:
                recording.result()
        progress.finish()

    def finished(self, features: np.ndarray, block: Block) -> np.ndarray:
        """(count, D) features of a block, as they are recorded."""
        del block
        return features

    def _choose(self, tiles: Path) -> int:
        tile = self.model.prepare(_sample(tiles, 1))
        return fitting(lambda size: self.model.encode(np.repeat(tile, size, axis=0)), self.memory)


def _open(tiles: Path, slide_file: Path) -> tuple[Place, str]:
    """Check a tiles file against the slide file; the tiles' places, and their hash as recorded (empty: it is not)."""
    spots = Spots.read(slide_file)
    with open_h5(tiles) as handle, reading(tiles):
        require_tiles(handle, tiles)
        centres = tile_centres(handle)
        assert centres is not None  # require_tiles has seen it
        place = Place(barcodes(handle), handle["coords"][:].astype(np.int64), centres)
        recorded = str(handle.attrs.get("img_sha256", ""))
    require_known(place.barcodes, spots, tiles)
    require_places(spots, place, tiles)
    return place, recorded


def _sample(tiles: Path, count: int) -> np.ndarray:
    """(n, px, px, 3) tiles, spread evenly over the slide, at most ``count``."""
    with open_h5(tiles) as handle, reading(tiles):
        images = handle["img"]
        rows = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
        return np.concatenate([read_tiles(images, row, 1, tiles) for row in rows])
