"""Features of one slide after the other by a slide encoder, from those that its tile encoder has made."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

import numpy as np

from stflow.device import is_out_of_memory
from stflow.embedding.features import read_features
from stflow.embedding.kept import Kept
from stflow.embedding.made_from import Made, Place, about, require_finite, require_shape, table_of
from stflow.encoders.base import SlideEncoder
from stflow.errors import ResourceError
from stflow.io import sha256_array
from stflow.layout import Layout
from stflow.wsi.tiles import Spots


@dataclass
class SlideJob:
    """Features of a slide encoder, from those of its tile encoder."""

    layout: Layout
    benchmark: str
    model: SlideEncoder
    made: Made
    tiles_name: str
    only_keep: bool = False

    def run(self, slide: str, what: str) -> None:
        """Write one slide's features file."""
        path = self.layout.features(self.tiles_name, self.benchmark, slide)
        source = read_features(path)
        mpp = Spots.read(self.layout.slide(self.benchmark, slide)).mpp
        place = Place(source.barcodes, source.coords, source.centres)
        source_sha256 = sha256_array(source.features, source.coords, np.array([mpp]))
        kept = Kept(self.layout.features(self.made.encoder, self.benchmark, slide), self.only_keep)
        table = kept.find({**asdict(self.made), "source_sha256": source_sha256, "tiles_sha256": source.tiles_sha256})
        if table is not None and place.agrees(table):
            kept.place()
            print(f"embed {what}: from an earlier run", file=sys.stderr, flush=True)
            return
        try:
            with about(what):
                features = self.model.encode_slide(source.features, source.coords, mpp)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ResourceError(
                f"{what}: the slide's {len(source.features):,} tiles do not fit in the memory of {self.model.device} "
                "at once. Use precision bf16, or a device with more free memory."
            ) from error
        require_shape(features, len(source.features), self.model)
        require_finite(features, what, path)
        kept.write(table_of(features, place, self.made, tiles_sha256=source.tiles_sha256, source_sha256=source_sha256))
        print(f"embed {what}: {len(features):,} tiles", file=sys.stderr, flush=True)
