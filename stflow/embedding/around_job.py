"""Features of the 5 x 5 patches around the tiles of one slide after the other, read from the slides' images.

All patches of a slide are read in the order that is fastest for its image, block by block, ahead of the encoder; a
patch that several fields share in full is read and encoded once. Memory holds a few blocks and the features.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stflow.embedding.batch_size import CPU_BATCH
from stflow.embedding.batches import AHEAD, Block, ahead, filled_up, hash_tiles, pinned_like
from stflow.embedding.blocks import BlockFile
from stflow.embedding.made_from import require_finite
from stflow.embedding.tile_job import TileJob
from stflow.encoders.around import CENTRE, N_CELLS, corners_around
from stflow.errors import IntegrityError
from stflow.io import open_h5, reading, sha256_array
from stflow.wsi.ready import mask_of
from stflow.wsi.slide_image import UnreadableRegion, open_slide
from stflow.wsi.tile_store import tiles_digest
from stflow.wsi.tissue import tissue_share

#: What a tiles file must say for patches to be cut as its tiles were.
_NEEDED = ("tile_px", "min_tissue", "image_sha256")


@dataclass(frozen=True, eq=False)
class Patches:
    """The patches of a slide that are read, each once.

    Attributes
    ----------
    corners
        (K, 2) int64 top-left corners, level-0 px.
    side_px, tile_px
        Their side in the image, and as the encoder sees it.
    place
        (N, 25) int64 which of them lies in each cell of a field, K where there is none.
    """

    corners: np.ndarray
    side_px: int
    tile_px: int
    place: np.ndarray

    @classmethod
    def of(cls, tiles: Path, size: tuple[int, int]) -> Patches:
        """Those of a tiles file, of an image of ``size`` (width, height): they lie on the slide and on tissue.

        Raises
        ------
        IntegrityError
            The tiles file does not say how its tiles were cut.
        """
        with open_h5(tiles) as handle, reading(tiles):
            _require_cut(handle, tiles)
            coords, side = handle["coords"][:].astype(np.int64), int(handle["coords"].attrs["patch_size_src"])
            mask, downsample = mask_of(handle)
            tile_px, min_tissue = int(handle.attrs["tile_px"]), float(handle.attrs["min_tissue"])
        corners = corners_around(coords, side).reshape(-1, 2)
        there = ((corners + side > 0) & (corners < np.asarray(size))).all(axis=1)
        there &= tissue_share(mask, corners / downsample, side / downsample) >= min_tissue
        there |= np.arange(len(corners)) % N_CELLS == CENTRE  # the tile was cut, whatever is thought of it now
        taken, number = np.unique(corners[there], axis=0, return_inverse=True)
        place = np.full(len(corners), len(taken), dtype=np.int64)
        place[there] = number.reshape(-1)
        return cls(taken, side, tile_px, place.reshape(-1, N_CELLS))

    def ordered(self, order: np.ndarray) -> Patches:
        """The same patches in another order."""
        new = np.append(np.argsort(order), len(order))
        return Patches(self.corners[order], self.side_px, self.tile_px, new[self.place])


@dataclass
class AroundJob(TileJob):
    """Features of the patches around tiles, slide by slide; ``model`` is the encoder of one patch."""

    images: Mapping[str, Path] = field(default_factory=dict)
    _image: Path = field(init=False)
    _damaged: set[int] = field(init=False)

    def run(self, slide: str, what: str) -> None:
        """Write one slide's features file."""
        self._image, self._damaged = self.images[slide], set()
        super().run(slide, what)

    def identity(self, tiles: Path) -> dict[str, Any]:
        """With a hash of the image and of what is tissue in it."""
        with open_h5(tiles) as handle, reading(tiles):
            _require_cut(handle, tiles)
            image = np.array([str(handle.attrs["image_sha256"])], dtype=object)
            source = sha256_array(image, handle["mask"][:], np.array([float(handle.attrs["min_tissue"])]))
        return {**asdict(self.made), "source_sha256": source}

    def require_whole(self, features: np.ndarray, what: str, tiles: Path) -> None:
        """Check that all that was encoded are numbers: a patch has all of its features or none, the tile all."""
        cells = features.reshape(len(features), N_CELLS, -1)
        absent = np.isnan(cells).all(axis=-1, keepdims=True)
        absent[:, CENTRE] = False
        require_finite(np.where(absent, np.float32(0), cells).reshape(features.shape), what, tiles)

    def encode_in(
        self, batch_size: int, identity: dict[str, Any], path: Path, tiles: Path, n: int, what: str
    ) -> tuple[np.ndarray, str]:
        """(N, 25 D) float32 features, NaN where there is no patch, and the tiles' hash."""
        digest = hashlib.sha256()
        hash_tiles(tiles, n, CPU_BATCH, digest)
        with open_slide(self._image) as image:
            patches = Patches.of(tiles, image.size)
            order = image.reading_order(patches.corners, patches.side_px / patches.tile_px)
        patches = patches.ordered(order)
        k = len(patches.corners)
        found = np.full((k + 1, self.model.dim), np.nan, dtype=np.float32)
        with BlockFile(path, identity, k, self.model.dim, batch_size) as blocks:
            self.encode_blocks(ahead(self._read(patches, blocks), AHEAD), blocks, found, what)
        if self._damaged:
            print(f"embed {what}: {len(self._damaged)} of {k} patches are damaged and left out", file=sys.stderr)
        return found[patches.place].reshape(n, -1), digest.hexdigest()

    def finished(self, features: np.ndarray, block: Block) -> np.ndarray:
        """NaN for the patches that could not be read."""
        lost = [index for index in range(block.count) if block.start + index in self._damaged]
        features[lost] = np.nan
        return features

    def _read(self, patches: Patches, blocks: BlockFile) -> Generator[Block, None, None]:
        """Blocks of patches, as `read_blocks` gives those of tiles."""
        digest, shape = hashlib.sha256(), (patches.tile_px, patches.tile_px, 3)
        with open_slide(self._image) as image:
            for start in range(0, len(patches.corners), blocks.batch_size):
                corners = patches.corners[start : start + blocks.batch_size].tolist()
                raw = np.zeros((len(corners), *shape), dtype=np.uint8)
                for index, (x, y) in enumerate(corners):
                    try:
                        raw[index] = image.tile(x, y, patches.side_px, patches.tile_px)
                    except UnreadableRegion:
                        self._damaged.add(start + index)
                tiles_digest(digest, raw)
                sha256 = digest.digest()
                features = blocks.take(sha256)
                tiles: Any = None
                if features is None:
                    tiles = self.model.prepare(raw)
                    if self.cuda:
                        tiles = filled_up(pinned_like(tiles, blocks.batch_size), tiles)
                yield Block(start, len(corners), sha256, tiles, features)


def _require_cut(handle: Any, tiles: Path) -> None:
    missing = [name for name in _NEEDED if name not in handle.attrs]
    missing += [] if "mask" in handle else ["mask"]
    if missing:
        raise IntegrityError(
            f"{tiles} lacks {', '.join(missing)}: patches around its tiles cannot be cut as these were. Make it again "
            "from the slide's image."
        )
