"""Memory and time of one large slide: an epoch of training and a prediction, each in a process of its own.

    python benchmarks/large_slide.py                                     # STFlow, 100,000 spots, 1,000 genes
    python benchmarks/large_slide.py --spots 20000 --region-spots 2000 --methods stflow triplex

The slide is made in memory: spots on a hexagonal grid 100 um apart, features at random, counts follow some.
``held`` is the most that the process held; docs/resources.md says what the workflow asks a scheduler for.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from output import save
from scipy import sparse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["stflow"])
    parser.add_argument("--spots", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=1000)
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--region-spots", type=int, default=20_000, help="setting region_spots; 0: no limit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/large_slide"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(**json.loads(options.worker))
        return
    rows = []
    for method in options.methods:
        with tempfile.TemporaryDirectory(prefix="large-") as folder:
            job = {
                "method": method, "spots": options.spots, "genes": options.genes, "features": options.features,
                "region_spots": options.region_spots, "threads": options.threads, "folder": folder,
            }  # fmt: skip
            for what in ("train", "predict"):
                rows.append({"what": what, **job, **in_a_process({**job, "what": what}, options.threads)})
                del rows[-1]["folder"]
    lines = [
        "| method | | spots | genes | most spots a region | held, MB | s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        most = f"{row['region_spots']:,}" if row["region_spots"] else "all"
        lines.append(
            f"| {row['method']} | {'an epoch' if row['what'] == 'train' else row['what']} | {row['spots']:,} "
            f"| {row['genes']:,} | {most} | {row['held_mb']:,.0f} | {row['s']:.0f} |"
        )
    save(options.out, rows, "\n".join(lines) + "\n")


def in_a_process(job: dict[str, Any], threads: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps(job)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)}, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{job['what']} of {job['method']} ended with {done.returncode}: no memory, or see above")
    return json.loads(done.stdout.splitlines()[-1])


# -- in a worker ---------------------------------------------------------------------------------------------


def work(what: str, folder: str, method: str, region_spots: int, threads: int, **size: int) -> None:
    """Train and keep the model, or read it and predict."""
    from stflow.device import set_threads
    from stflow.models import METHODS
    from stflow.models.base import Task

    set_threads(threads)
    slide = made_slide(**size)
    cls, path = METHODS.get(method), Path(folder) / "model.safetensors"
    begun = time.perf_counter()
    if what == "train":
        values = {"epochs": 1, "region_spots": region_spots or None}
        known = cls.Settings.model_fields
        settings = cls.Settings.model_validate({name: value for name, value in values.items() if name in known})
        model = cls(settings, Task(slide.genes, "made", ("large", method)))
        model.fit([slide], [], seed=0)
        model.save(path)
    else:
        found = cls.load(path).predict(slide, seed=0)
        assert found.shape == (size["spots"], size["genes"])
    seconds = time.perf_counter() - begun
    print(json.dumps({"held_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "s": seconds}))


def made_slide(spots: int, genes: int, features: int) -> Any:
    from stflow.data.slide import Slide

    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(spots)))
    row, column = np.divmod(np.arange(spots), side)
    centres = np.stack([(column + 0.5 * (row % 2)) * 200.0, row * 200.0 * np.sqrt(0.75)], axis=1)
    values = rng.standard_normal((spots, features), dtype=np.float32)
    columns = []
    for gene in range(genes):  # one gene after the other, so that making it needs no more than what is measured
        seen = rng.poisson(np.exp(0.5 * values[:, gene % features] - 1.0)).astype(np.float32)
        columns.append(sparse.csc_matrix(seen[:, None]))
    names = np.array([f"b{spot}" for spot in range(spots)], dtype=object)
    return Slide(
        name="L", patient="P", barcodes=names, centres_px=centres, mpp=0.5, genes=tuple(f"G{g}" for g in range(genes)),
        counts=sparse.hstack(columns, format="csc"), features={"made": values},
    )  # fmt: skip


if __name__ == "__main__":
    main()
