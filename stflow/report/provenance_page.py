"""What the results come from: versions, code, seeds, hardware, hashes of data and weights, time and energy, settings.

Nothing names a machine, an account or a path outside the results folder. Energy is an estimate, see
`stflow.report.energy`. The CSV holds time and energy by stage and method.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stflow.io import read_json, reading, write_text
from stflow.layout import Layout
from stflow.report.columns import encoder_label
from stflow.report.energy import COLUMNS, read_jobs, rows, totals
from stflow.report.hardware import commit, hardware, packages
from stflow.report.render import MISSING, format_table, to_csv
from stflow.report.scrub import scrub
from stflow.report.style import method_label

ROOT = Path(__file__).resolve().parents[2]

SEEDS_TOLD = (
    "Every random generator is named after a seed and the benchmark, dataset, encoder, method, variant, protocol and "
    "fold that it serves, so runs do not share random numbers and none depends on the order of the jobs."
)


@dataclass(slots=True)
class Recorded:
    """What the records of all runs say: counts of versions and devices, and hashes of what was read."""

    n_runs: int = 0
    versions: dict[str, Counter[str]] = field(default_factory=dict)
    devices: Counter[str] = field(default_factory=Counter)
    inputs: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    weights: dict[str, set[str]] = field(default_factory=dict)


def make_provenance(results: Path, csv_path: Path, md_path: Path, cpu_watts: float, gpu_watts: float) -> None:
    """Write time and energy as CSV, and the whole page.

    Parameters
    ----------
    results
        Results folder.
    csv_path, md_path
        Files to write.
    cpu_watts, gpu_watts
        Power of a busy core and of a GPU in use, W, for the estimate of energy.
    """
    layout = Layout(Path(results))
    lines = rows(totals(read_jobs(layout.results)), cpu_watts, gpu_watts)
    write_text(csv_path, to_csv(COLUMNS, lines))
    write_text(md_path, to_markdown(layout, lines, cpu_watts, gpu_watts))


def to_markdown(layout: Layout, lines: Iterable[Mapping[str, Any]], cpu_watts: float, gpu_watts: float) -> str:
    """The whole page."""
    found = read_records(layout)
    config = layout.results / "config.yaml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    values = yaml.safe_load(text) or {}
    parts = [
        "# Provenance",
        "What the results come from, and what they took. Hashes are SHA-256.",
        "## Code",
        _list(code(layout)),
        "## Seeds",
        f"{', '.join(map(str, values.get('seeds', []))) or MISSING}. {SEEDS_TOLD}",
        "## Hardware",
        "Of the machine that wrote this page; on a cluster, jobs may have run on others.",
        _list({**hardware(), "devices of the trainings": _counted(found.devices)}),
        "## Time and energy",
        _energy_told(cpu_watts, gpu_watts),
        _costs(lines),
        "## Data and weights",
        _list(hashes(layout, found)),
        "## Libraries",
        "As installed where this page was written, and as the trainings recorded them.",
        _versions(found),
        "## Configuration",
        "Complete, as it was run; paths outside the working folder are cut to their last part.",
        f"```yaml\n{scrub(text).rstrip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def read_records(layout: Layout) -> Recorded:
    """What the records of all runs below the results folder say."""
    found = Recorded()
    for path in sorted((layout.results / "runs").rglob("run.json")):
        facts = read_json(path)
        benchmark, _, encoder = path.relative_to(layout.results / "runs").parts[:3]
        found.n_runs += 1
        found.devices[str(facts.get("device", "unknown"))] += 1
        with reading(path, "Train the run again."):
            for name, value in facts.get("versions", {}).items():
                found.versions.setdefault(name, Counter())[str(value)] += 1
            for slide, value in facts.get("inputs_sha256", {}).items():
                found.inputs.setdefault((encoder, benchmark, slide), set()).add(str(value))
        if value := facts.get("weights_sha256"):
            found.weights.setdefault(str(facts.get("method", "")), set()).add(str(value))
    return found


def code(layout: Layout) -> dict[str, str]:
    """The tree's commit, and one hash of the code of all stages."""
    stamps = sorted((layout.results / "code").glob("*.sha256"))
    told = _hash_of(f"{path.name}={path.read_text(encoding='utf-8').strip()}" for path in stamps)
    facts = {"commit": commit(ROOT) or "not known: no git here", f"code of {len(stamps)} stages": f"`{told}`"}
    return {name: value for name, value in facts.items() if stamps or name == "commit"}


def hashes(layout: Layout, found: Recorded) -> dict[str, str]:
    """What was downloaded, the weights of every encoder, and what the trainings read."""
    from stflow.data.hub.lock import read_lock
    from stflow.data.hub.request import read_request

    told: dict[str, str] = {}
    wanted = read_request(layout.hub_request) if layout.hub_request.is_file() else []
    for item in wanted:
        lock = read_lock(item.root)
        if lock is not None:
            whole = _hash_of(f"{name}={e.sha256 or e.git_sha1}" for name, e in sorted(lock.files.items()))
            told[item.repository] = f"commit `{lock.revision}`, {len(lock.files)} files: `{whole}`"
    for encoder, value in _encoder_weights(layout).items():
        told[f"weights of {encoder_label(encoder)}"] = f"`{value}`"
    for method, values in sorted(found.weights.items()):
        told[f"weights that {method_label(method)} starts from"] = ", ".join(f"`{value}`" for value in sorted(values))
    for encoder, benchmark in dict.fromkeys(key[:2] for key in sorted(found.inputs)):
        slides = {key[2]: values for key, values in found.inputs.items() if key[:2] == (encoder, benchmark)}
        whole = _hash_of(f"{slide}={','.join(sorted(values))}" for slide, values in sorted(slides.items()))
        told[f"read of {benchmark} with {encoder_label(encoder)}"] = f"{len(slides)} slides: `{whole}`"
    return told or {"data": "no training has been recorded"}


def _encoder_weights(layout: Layout) -> dict[str, str]:
    """encoder -> hash of its weights, by the first features file of each."""
    from stflow.io import open_h5

    found = {}
    for folder in sorted((layout.results / "features").glob("*")):
        for path in sorted(folder.glob("*/*.h5"))[:1]:
            with open_h5(path) as handle, reading(path):
                found[folder.name] = str(handle.attrs.get("weights_sha256", "")) or "none"
    return found


def _versions(found: Recorded) -> str:
    """Versions of this environment beside those that the trainings recorded."""
    here = packages()
    names = dict.fromkeys([*here, *found.versions])
    body = [[name, here.get(name, MISSING), _counted(found.versions.get(name, Counter()))] for name in names]
    return format_table(["library", "here", f"{found.n_runs:,} trainings"], body, 3)


def _counted(values: Counter[str]) -> str:
    """``2.1``, or where they differ ``2.1 (30), 2.2 (4)``."""
    if len(values) <= 1:
        return next(iter(values), MISSING)
    return ", ".join(f"{value} ({count:,})" for value, count in values.most_common())


def _energy_told(cpu_watts: float, gpu_watts: float) -> str:
    return (
        "Sums over the jobs that the workflow times, as they last ran; those of scores, tables and figures are short "
        "and not timed. **Energy is an estimate**, nothing was metered: CPU "
        f"time x {cpu_watts:g} W a core, and wall time of jobs on a GPU x {gpu_watts:g} W (`report.cpu_watts` and "
        "`report.gpu_watts`); memory, disks, cooling and idle time are not in it."
    )


def _costs(lines: Iterable[Mapping[str, Any]]) -> str:
    body = [
        [
            line["stage"],
            _label(line["stage"], line["of"]),
            f"{line['jobs']:,}",
            *(_hours(line[name]) for name in ("wall_h", "cpu_h", "gpu_h")),
            f"{line['energy_wh_estimate']:,.1f}",
        ]
        for line in lines
    ]
    header = ["stage", "of", "jobs", "wall (h)", "CPU (h)", "GPU (h)", "energy, estimate (Wh)"]
    return format_table(header, body, 2)


def _label(stage: str, of: str) -> str:
    return (encoder_label(of) if stage == "embed" else method_label(of)) if of else MISSING


def _hours(value: float) -> str:
    return f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def _list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _hash_of(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
