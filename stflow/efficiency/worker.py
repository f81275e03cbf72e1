"""One measurement, to be made in a process of its own.

``predict`` is the whole slide, from features in memory to numbers in memory; ``train`` one step, forward and backward,
on a region of all spots, the most that a step can cost. Both run once on a small slide first, so that kernels are
compiled and libraries loaded.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stflow.data.slide import Slide
from stflow.device import is_out_of_memory, resolve, set_threads
from stflow.efficiency.memory import forget_peak, held_mb, limit_memory
from stflow.efficiency.slide import made_slide
from stflow.layout import TILES
from stflow.models import METHODS
from stflow.models.base import Method, SettingsBase, Task

#: Spots of the slide that everything runs on once before it is measured.
SMALL_SPOTS = 100
OUT_OF_MEMORY = "out of memory"


def measure(
    method: str,
    what: str,
    n: int,
    *,
    features: int,
    genes: int,
    repeats: int,
    threads: int,
    device: str,
    limit_gb: float,
) -> dict[str, Any]:
    """What one measurement gives: how it ended, seconds (the median and the least), MB held before and at most."""
    import torch

    set_threads(threads)
    where = resolve(device)
    facts = {
        "device": where,
        "processor": torch.cuda.get_device_name() if where == "cuda" else cpu_name(),
        "torch": torch.__version__,
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = prepared(method, what, n, features, genes, where, Path(folder))
            if where == "cpu":
                limit_memory(limit_gb)
            forget_peak(where)
            idle = held_mb(where, peak=False)
            seconds = [timed(run, where) for _ in range(repeats)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return {"ended": OUT_OF_MEMORY, **facts}
    return {
        "ended": "ok",
        "seconds": round(statistics.median(seconds), 5),
        "least_seconds": round(min(seconds), 5),
        "idle_mb": round(idle, 1),
        "peak_mb": round(held_mb(where, peak=True), 1),
        **facts,
    }


def timed(run: Callable[[], object], device: str) -> float:
    """Seconds of a call, with all that it gave the GPU to do."""
    import torch

    begun = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def cpu_name() -> str:
    """The processor's own name, or its architecture where the system does not tell."""
    import platform

    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def default_settings(cls: type[Method], variant: str, **changes: object) -> SettingsBase:
    """A method's default settings with a built-in variant's differences, and those ``changes`` that it knows."""
    known = {name: value for name, value in changes.items() if name in cls.Settings.model_fields}
    return cls.Settings.model_validate({**cls.variants.get(variant, {}), **known})


def prepared(
    name: str, what: str, n: int, features: int, genes: int, device: str, folder: Path
) -> Callable[[], object]:
    """What is timed, after it ran once on few spots."""
    import numpy as np

    method_name, _, variant = name.partition("/")
    cls: type[Method] = METHODS.get(method_name)
    settings = default_settings(cls, variant, epochs=1, regions_per_slide=1)
    encoder = (*cls.own_encoders(settings), "random")[0]
    tiles = cls.reads_tiles(settings) or encoder == TILES
    slide = made_slide(n, encoder, features, genes, folder, tiles=tiles)
    method = cls(settings, Task(slide.genes, encoder, ("efficiency", name)))
    small = slide.subset(np.arange(min(n, SMALL_SPOTS)))
    if what == "predict":
        method.fit([small], [], seed=0, device=device)
        method.predict(small, seed=0, device=device)
        return lambda: method.predict(slide, seed=0, device=device)
    problem, batch = one_step(method, small, device)
    problem.loss(batch).backward()
    problem, batch = one_step(method, slide, device)

    def step() -> None:
        problem.loss(batch).backward()

    return step


def one_step(method: Any, slide: Slide, device: str) -> tuple[Any, Any]:
    """A method's training problem, and a sample of it that is the whole slide; of those trained on regions alone."""
    import torch

    if hasattr(method, "one_step"):
        return method.one_step(slide, device)
    n_features = max((values.shape[1] for values in slide.features.values()), default=0)
    generator = torch.Generator().manual_seed(0)
    learner = method.learner(n_features, 0)
    learner.module.to(device).train()
    problem = learner.problem([slide], [], generator, device)
    return problem, [(section.region(torch.arange(len(slide))), y) for section, y in problem.train]
