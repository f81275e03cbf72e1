"""The stage ``embed``: from the tiles files of some slides to their features files, one load of the weights for all.

Features depend on the tiles, the encoder, the precision, the size of a batch and the machine (processor, threads of a
CPU, torch), and on nothing else: batches are cut from a slide's first tile on, and on a GPU the last one is filled up.
So work of an earlier run that agrees in these is taken over and gives the same bytes: whole slides
(`stflow.embedding.kept`) and the blocks of one that was under way (`stflow.embedding.blocks`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stflow.embedding.around_job import AroundJob
from stflow.embedding.batch_size import CPU_BATCH
from stflow.embedding.made_from import Made, machine, on_gpu
from stflow.embedding.slide_job import SlideJob
from stflow.embedding.tile_job import TileJob
from stflow.encoders.around import Around
from stflow.encoders.base import Encoder, SlideEncoder
from stflow.encoders.create import create
from stflow.encoders.names import EncoderName
from stflow.errors import ConfigError, DataError
from stflow.layout import Layout


def make_features(
    results: Path,
    benchmark: str,
    slides: Sequence[str],
    encoder: str,
    *,
    weights: Path | None,
    code: str,
    batch_size: int | None,
    precision: str,
    threads: int,
    workers: int,
    device: str,
    only_keep: bool = False,
    images: Sequence[Path] = (),
) -> None:
    """Encode the tiles of some slides and write ``features/<encoder>/<benchmark>/<slide>.h5`` for each.

    Parameters
    ----------
    results
        Results folder; slide files and tiles files lie below it, and for a slide encoder its tile encoder's features.
    benchmark, slides
        Names.
    encoder
        Name of a registered encoder, with its variants.
    weights
        The weights file; None where the encoder needs none.
    code
        Hash of the code, recorded; features of other code are not taken over.
    batch_size
        Tiles a batch; None: a constant on the CPU, what fits on a GPU. One that does not fit is halved until it does.
    precision
        fp32, bf16 or fp16.
    threads
        CPU threads.
    workers
        Processes that read tiles; 0: a thread does it. An encoder without torch has none.
    device
        auto, cpu or cuda.
    only_keep
        Leave the features files in ``.kept``, from where a later job puts each in its place.
    images
        The slides' images, one a slide, for an encoder with the variant ``around``; others read none.

    Raises
    ------
    ConfigError
        Such an encoder, and not an image a slide.
    DataError
        Slides that cannot be encoded, all of them named; `IntegrityError` if it is only one whose tiles are cut short,
        changed, or of other counts. The other slides are done all the same.
    WeightsError
        The encoder's weights are missing or of another model.
    ResourceError
        No such device; not even one tile fits in its memory; the disk is full.
    """
    from stflow.device import set_threads

    set_threads(threads)
    name, layout = EncoderName.parse(encoder), Layout(results)
    model = create(encoder, device, precision, weights)
    batch = asked(model, batch_size)
    made = Made(encoder, model.weights_sha256, model.transform, precision, batch, machine(model, threads), code)
    job: SlideJob | TileJob
    if isinstance(model, SlideEncoder):
        job = SlideJob(layout, benchmark, model, made, name.tiles, only_keep)
    elif isinstance(model, Around):
        if len(images) != len(slides):
            raise ConfigError(
                f"encoder {encoder} reads the slides' images: {len(images)} are given for {len(slides)} slides. Give "
                "--image once a slide, in their order."
            )
        pictures = dict(zip(slides, images, strict=True))
        job = AroundJob(layout, benchmark, model.inner, made, 0, on_gpu(model), only_keep, images=pictures)
    else:
        job = TileJob(layout, benchmark, model, made, workers if model.uses_torch else 0, on_gpu(model), only_keep)
    failures: list[DataError] = []
    for number, slide in enumerate(slides, 1):
        try:
            job.run(slide, f"{encoder} {slide} ({number} of {len(slides)})")
        except DataError as error:
            failures.append(error)
            print(f"embed {encoder} {slide} ({number} of {len(slides)}): failed, see below", file=sys.stderr)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        listed = "\n".join(f"  - {error}" for error in failures)
        raise DataError(f"{len(failures)} of {len(slides)} slides have no features from {encoder}:\n{listed}")


def asked(model: Encoder, batch_size: int | None) -> int:
    """Tiles a batch that are asked for; 0: to be found on the GPU, or a slide encoder's."""
    if isinstance(model, SlideEncoder):
        return 0
    if batch_size is not None:
        return batch_size
    return 0 if on_gpu(model) else getattr(model, "cpu_batch", None) or CPU_BATCH
