"""Table 6: parameters of the five methods beside the printed ones, and time and memory at every size measured.

The CSV has a line a number: ``row`` the method, ``column`` what was counted, ``mean`` ours, ``printed_mean`` the
paper's, their difference, and a verdict with its reason. A verdict is *agrees*, *higher*, *lower*, or *not comparable*
where the two are of different things: another size of features, settings or machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stflow.efficiency.measure import Measurement, read_measurements
from stflow.efficiency.printed import GPU, NAMES, READ_MB, READ_S, REPEATS, printed_curve, printed_millions
from stflow.io import write_text
from stflow.models import METHODS
from stflow.models.base import Method
from stflow.report.render import MISSING, format_table, to_csv
from stflow.report.style import method_label

COLUMNS = ("row", "column", "mean", "printed_mean", "difference", "verdict", "reason")
AGREES, HIGHER, LOWER, NOT_COMPARABLE = "agrees", "higher", "lower", "not comparable"
#: The paper gives millions to three decimals, cut or rounded.
ROUNDED = 0.001
#: Why a printed number of parameters is what it is, of the methods whose number needs words.
DOUBTS: Mapping[str, str] = {
    "stnet": "the printed number is the linear layer from 1024 features to 50 genes alone, all that is trained",
    "bleep": "the printed number is that of the two projection heads with 2048 features",
    "histogene": "misprinted: the printed number fits no setting that is stated",
}
#: Methods whose printed number says nothing of their size.
MISPRINTED = ("histogene",)
#: Size of the features that BLEEP's printed number belongs to.
BLEEP_FEATURES = 2048

HOW_TO_READ = (
    "Trainable parameters, in millions, and time and memory of methods at the package's default settings, the paper's; "
    "a line *as configured* stands where the configuration's settings make a network of another size. "
    f"Time is that of {REPEATS} predictions of the whole slide from features that are there: {REPEATS} times the "
    "median of those measured. Memory is the peak on the GPU, or on a CPU the peak of the process less what it held "
    "before. "
    f"The printed times and memory are read off the paper's figure 5 (±{READ_S:g} s, ±{READ_MB:g} MB) and are of an "
    f"{GPU}."
)


def make_table6(
    measured: Sequence[Path], csv_path: Path, md_path: Path, settings: str, n_features: int, n_genes: int
) -> None:
    """Write table 6 as CSV and markdown.

    Parameters
    ----------
    measured
        Files of `stflow.efficiency.measure`.
    csv_path, md_path
        Files to write.
    settings
        JSON: method -> its settings in the configuration; a method that is not there has its defaults.
    n_features, n_genes
        Sizes that parameters are counted for.

    Raises
    ------
    IntegrityError
        A measurements file that is missing or is not one.
    """
    configured = json.loads(settings)
    parameters = [
        row for method in NAMES for row in parameter_rows(method, configured.get(method, {}), n_features, n_genes)
    ]
    measurements = [row for path in measured for row in read_measurements(path)]
    costs = [row for measurement in measurements for row in cost_rows(measurement)]
    write_text(csv_path, to_csv(COLUMNS, [*parameters, *costs]))
    write_text(md_path, to_markdown(parameters, costs, measurements))


def parameter_rows(
    method: str, configured: Mapping[str, object], n_features: int, n_genes: int
) -> Iterator[dict[str, Any]]:
    """A method's parameters at its defaults, and at the configuration's settings where these make another network."""
    cls = METHODS.get(method)
    printed, reason, defaults = printed_millions(method), DOUBTS.get(method, ""), cls.Settings()
    count = cls.n_params(defaults, n_features, n_genes)
    where = f"{n_features} features, {n_genes} genes"
    bleep = method == "bleep" and n_features != BLEEP_FEATURES
    same = not bleep and method not in MISPRINTED
    yield _row(method, f"parameters (M), {where}", _millions(count), printed, ROUNDED, reason, comparable=same)
    if bleep:
        own = cls.n_params(defaults, BLEEP_FEATURES, n_genes)
        column = f"parameters (M), {BLEEP_FEATURES} features, {n_genes} genes"
        yield _row(method, column, _millions(own), printed, ROUNDED, reason)
    mine = cls.Settings.model_validate(configured)
    changed = [name for name, value in mine.model_dump().items() if value != getattr(defaults, name)]
    here = cls.n_params(mine, n_features, n_genes)
    if here != count:
        matter = [name for name in changed if _alone(cls, name, getattr(mine, name), n_features, n_genes) != count]
        told = f"the configuration sets {', '.join(matter or changed)}"
        column = f"parameters (M), {where}, as configured"
        yield _row(method, column, _millions(here), printed, ROUNDED, told, comparable=False)


def _alone(cls: type[Method], name: str, value: object, n_features: int, n_genes: int) -> int | None:
    """Parameters with one setting changed; None where it does not fit the other defaults."""
    try:
        return cls.n_params(cls.Settings.model_validate({name: value}), n_features, n_genes)
    except ValidationError:
        return None


def cost_rows(measured: Measurement) -> Iterator[dict[str, Any]]:
    """Time and memory of one measurement."""
    label = f"{measured.method}/{measured.variant}"
    predicts, spots = measured.what == "predict", f"at {measured.spots:,} spots"
    curve = printed_curve(measured.method) if predicts and measured.variant == "default" else None
    seconds, mb = (curve.at(measured.spots) if curve else None) or (None, None)
    time = None if measured.seconds is None else measured.seconds * (REPEATS if predicts else 1)
    machine = f"ours is of {measured.processor or measured.device}, the printed of an {GPU}"
    on_gpu = measured.device == "cuda"
    ran_out = curve is not None and curve.out_of_memory_at == measured.spots
    failed = "" if measured.ended == "ok" else f"ours: {measured.ended}"
    unprinted = "the paper ran out of memory" if ran_out else "nothing is printed"
    of_time = f"time of {REPEATS} predictions {spots} (s)" if predicts else f"time of a training step {spots} (s)"
    of_memory = f"memory of {'a prediction' if predicts else 'a training step'} {spots} (MB)"
    for column, ours, printed, within, same, why in (
        (of_time, time, seconds, READ_S, on_gpu and GPU in measured.processor, machine),
        (of_memory, measured.memory_mb, mb, READ_MB, on_gpu, f"{machine}; a process's memory is not a GPU's"),
    ):
        reason = failed or ("" if same and printed is not None else why if printed is not None else unprinted)
        yield _row(label, column, ours, printed, within, reason, comparable=same)


def _row(
    method: str,
    column: str,
    ours: float | None,
    printed: float | None,
    within: float,
    reason: str,
    *,
    comparable: bool = True,
) -> dict[str, Any]:
    """A line of the CSV; two numbers agree where they differ by less than ``within``."""
    difference = None if ours is None or printed is None else ours - printed
    verdict = NOT_COMPARABLE
    if difference is not None and comparable:
        verdict = AGREES if abs(difference) < within else HIGHER if difference > 0 else LOWER
    if verdict == AGREES and not reason:
        reason = f"within {within:g}, as far as the printed number is known"
    name, _, variant = method.partition("/")
    return {
        "row": method_label(name, variant or "default"),
        "column": column,
        "mean": ours,
        "printed_mean": printed,
        "difference": difference,
        "verdict": verdict,
        "reason": reason,
    }


def to_markdown(
    parameters: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]], measured: Sequence[Measurement]
) -> str:
    """The whole page."""
    parts = ["# Table 6: parameters, time and memory", HOW_TO_READ, "## Parameters", _block(parameters, 3)]
    if costs:
        machines = dict.fromkeys(
            f"{row.processor or row.device}"
            + ("" if row.device == "cuda" else f", {row.threads} thread{'s' * (row.threads > 1)}")
            for row in measured
        )
        parts += ["## Time and memory", f"Measured on {'; '.join(machines)}.", _block(costs)]
    else:
        parts.append("Time and memory were not measured (`efficiency.methods` is empty).")
    return "\n\n".join(parts) + "\n"


def _block(rows: Sequence[Mapping[str, Any]], decimals: int | None = None) -> str:
    body = [
        [
            row["row"],
            row["column"],
            _shown(row["mean"], decimals),
            _shown(row["printed_mean"], decimals),
            _shown(row["difference"], decimals, "+"),
            row["verdict"],
            row["reason"] or MISSING,
        ]
        for row in rows
    ]
    return format_table(["method", "what", "ours", "printed", "difference", "verdict", "reason"], body, 2)


def _shown(value: float | None, decimals: int | None = None, sign: str = "") -> str:
    """A number with so many decimals; where none are named, two below 10 and none above."""
    if value is None:
        return MISSING
    wanted = (2 if abs(value) < 10 else 0) if decimals is None else decimals
    return f"{round(value, wanted) + 0.0:{sign},.{wanted}f}"


def _millions(count: int | None) -> float | None:
    return None if count is None else count / 1e6
