"""Time and memory of planning against the number of datasets: `snakemake --dry-run` on files that hold nothing.

    python benchmarks/dag_size.py --datasets 17 170 --methods stflow

Each dataset has four slides of four patients in four folds under both protocols, one seed. Prints jobs, CPU seconds
(other work on the machine stretches wall time), the largest resident memory, and both for each thousand jobs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from output import save

SLIDES = 4
ROOT = Path(__file__).resolve().parents[1]


def set_up(folder: Path, datasets: int, methods: list[str]) -> Path:
    """A benchmark in hest-bench's layout, of empty files; its configuration."""
    rows = ["dataset,slide,patient,protocol,fold,role"]
    for number in range(datasets):
        name = f"D{number:03d}"
        slides = [f"{name}S{slide}" for slide in range(SLIDES)]
        for slide in slides:
            for path in (f"adata/{slide}.h5ad", f"patches/{slide}.h5"):
                (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / name / path).touch()
        for fold in range(SLIDES):
            rows += [f"{name},{s},p{s},*,{fold},{'test' if n == fold else 'train'}" for n, s in enumerate(slides)]
    (folder / "splits.csv").write_text("\n".join(rows) + "\n")
    config = {
        "results": str(folder / "results"),
        "benchmarks": {"big": {"root": str(folder), "manifest": str(folder / "splits.csv")}},
        "encoders": ["classical"],
        "methods": methods,
        "method_encoders": {"stnet": ["classical"]},
        "seeds": [0],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


def plan(config: Path) -> tuple[int, float, float]:
    """Jobs, CPU seconds and peak memory (MB) of a dry run."""
    words = [sys.executable, "-m", "snakemake", "all", "--dry-run", "--cores", "1", "--quiet", "all"]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            [*words, "--configfile", str(config)], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        said = out.read()
    if status:
        sys.exit(said[-2000:])
    counts = re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)
    jobs = next((int(number) for name, number in counts if name == "total"), 0)
    return jobs, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--datasets", type=int, nargs="+", default=[17, 170])
    parser.add_argument("--methods", nargs="+", default=["stflow"])
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/dag_size"))
    options = parser.parse_args()
    rows = []
    for datasets in options.datasets:
        with tempfile.TemporaryDirectory() as folder:
            jobs, seconds, megabytes = plan(set_up(Path(folder), datasets, options.methods))
        per = {"s_per_1000": seconds / jobs * 1000, "mb_per_1000": megabytes / jobs * 1000}
        rows.append({"datasets": datasets, "jobs": jobs, "cpu_s": seconds, "peak_mb": megabytes, **per})
    lines = ["| datasets | jobs | CPU, s | memory, MB | s a 1,000 jobs | MB a 1,000 |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        datasets, jobs, *numbers = row.values()
        lines.append(f"| {datasets} | {jobs:,} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
    save(options.out, rows, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
