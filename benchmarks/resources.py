"""Memory and time that jobs asked for beside what they took: of a finished results folder, by rule and method.

    python benchmarks/resources.py results/demo

Run it where the workflow is (it reads the rules), with the configuration that made the folder (``config.yaml`` there).
Only jobs with a timing are seen: sources, tiles, features, trainings, predictions. A row's numbers are of the job that
came nearest to its limit. Marked are rules that ask for less than 1.2 or more than 10 times what they used; requests up
to 1 GB and 30 minutes are small, and never too much.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from output import save

from stflow.config import load
from stflow.job import read_timing
from stflow.job_resources import JobResources
from stflow.layout import Run
from stflow.workflow import Plan

RULES = Path(__file__).resolve().parents[1] / "workflow" / "rules"
#: A request below the first times what was used is too small, above the second too large.
LEAST, MOST = 1.2, 10.0
#: Requests up to these are not called too large: MB, minutes.
SMALL_MB, SMALL_MIN = 1000.0, 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """What one job asked for and used; MB, minutes of wall time, busy cores on average."""

    rule: str
    of: str
    asked_mb: float
    used_mb: float
    asked_min: float
    used_min: float
    cores: float


@dataclass(frozen=True, slots=True)
class Row:
    """Jobs of a rule and method: of memory and of time the job that used the largest share of what it asked for."""

    rule: str
    of: str
    jobs: int
    asked_mb: float
    used_mb: float
    mb_ratio: float
    asked_min: float
    used_min: float
    min_ratio: float
    cores: float
    remark: str


def jobs(results: Path) -> Iterator[Job]:
    """Every timed job of a results folder whose configuration still has it."""
    plan = Plan(load(results / "config.yaml").model_copy(update={"results": results}))
    needs, root = JobResources(plan), results / "timings"
    for path in sorted(root.rglob("*.tsv")):
        stage, *parts = path.relative_to(root).with_suffix("").parts
        took = read_timing(path)
        asked = _asked(plan, needs, stage, parts) if "max_rss" in took else None
        if asked is not None:
            of, asked_mb, asked_min = asked
            yield Job(stage, of, asked_mb, took["max_rss"], asked_min, took["s"] / 60, took["cpu_time"] / took["s"])


def _asked(plan: Plan, needs: JobResources, stage: str, parts: list[str]) -> tuple[str, float, float] | None:
    """Method, encoder or benchmark of a job, and memory and minutes of its first attempt; None if it is not known."""
    if stage in ("train", "predict"):
        run = Run.parse("/".join(parts))
        group = run.group
        if (group.benchmark, group.dataset, group.protocol) not in plan.folds or group not in plan.groups():
            return None
        of = group.method if group.variant == "default" else f"{group.method}/{group.variant}"
        ask_mb, ask_min = (
            (needs.train_mb, needs.train_min) if stage == "train" else (needs.predict_mb, needs.predict_min)
        )
        return of, ask_mb(run), ask_min(run)
    if stage == "embed" and parts[0] in plan.encoders.names:
        encoder, benchmark, slide = parts
        slides = plan.encoders.parts(encoder, benchmark).get(slide.removeprefix("part"), [slide])
        return encoder, plan.encoders.mem_mb(encoder), needs.embed_min(encoder, benchmark, slides)
    if stage == "tile":
        benchmark, slide = parts
        return benchmark, _in_the_rule("rule tile:", "mem_mb"), needs.tile_min(benchmark, slide)
    if stage == "source":
        source = plan.config.benchmarks[parts[0]].source
        rule = f"source {'demo-slide' if source == 'demo' else source}"
        return parts[0], _in_the_rule(rule, "mem_mb"), _in_the_rule(rule, "runtime")
    return None


def _in_the_rule(marker: str, resource: str) -> float:
    """The number of a resource that stands in the rule whose text has the words of ``marker``."""
    for path in sorted(RULES.glob("*.smk")):
        for text in re.split(r"^(?= *rule\b)", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            if marker in text and (found := re.search(rf"{resource}=growing\((\d+)\)", text)):
                return float(found[1])
    raise SystemExit(f"no rule below {RULES} has {marker!r} with {resource}=growing(number)")


def rows(every: list[Job]) -> list[Row]:
    """A row for each rule and method, in the order in which they come."""
    kinds: dict[tuple[str, str], list[Job]] = {}
    for job in every:
        kinds.setdefault((job.rule, job.of), []).append(job)
    return [_row(*kind, found) for kind, found in kinds.items()]


def _row(rule: str, of: str, found: list[Job]) -> Row:
    by_mb = min(found, key=lambda job: job.asked_mb / job.used_mb)
    by_min = min(found, key=lambda job: job.asked_min / job.used_min)
    mb_ratio, min_ratio = by_mb.asked_mb / by_mb.used_mb, by_min.asked_min / by_min.used_min
    remarks = [
        _remark("memory", mb_ratio, by_mb.asked_mb, SMALL_MB),
        _remark("time", min_ratio, by_min.asked_min, SMALL_MIN),
    ]
    memory = (by_mb.asked_mb, by_mb.used_mb, mb_ratio)
    cores = sum(job.cores for job in found) / len(found)
    remark = ", ".join(filter(None, remarks))
    return Row(rule, of, len(found), *memory, by_min.asked_min, by_min.used_min, min_ratio, cores, remark)


def _remark(what: str, ratio: float, asked: float, small: float) -> str:
    if ratio < LEAST:
        return f"too little {what}"
    return f"too much {what}" if ratio > MOST and asked > small else ""


def table(found: list[Row]) -> str:
    """The rows as markdown."""
    lines = ["| rule | of | jobs | asked, MB | used | ratio | asked, min | used | ratio | busy cores | |"]
    lines.append("| --- | --- |" + " ---: |" * 8 + " --- |")
    for row in found:
        memory = f"{row.asked_mb:,.0f} | {row.used_mb:,.0f} | {row.mb_ratio:.1f}"
        time = f"{row.asked_min:,.0f} | {row.used_min:,.2f} | {row.min_ratio:,.0f}"
        lines.append(f"| {row.rule} | {row.of} | {row.jobs} | {memory} | {time} | {row.cores:.1f} | {row.remark} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/resources"))
    options = parser.parse_args()
    found = rows(list(jobs(options.results)))
    if not found:
        sys.exit(f"{options.results} holds no timing of a job that its configuration has")
    save(options.out, [asdict(row) for row in found], table(found))


if __name__ == "__main__":
    main()
