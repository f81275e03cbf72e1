"""Stages `search choose` and `search write`: from the rankings of folds to one choice a fold and one a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stflow.errors import IntegrityError
from stflow.io import SCHEMA_VERSION, read_json, write_json, write_text
from stflow.layout import Run
from stflow.search.chosen import to_yaml
from stflow.search.rank import ordered
from stflow.search.space import differs, key


def choose(rankings: Sequence[Path], out: Path, *, folds: str, base: Mapping[str, object]) -> None:
    """Choose for each fold the candidate that leads its ranking, and for the dataset the one with the best mean place.

    Equals stand in the grid's order, the configuration's own settings before the others.

    Parameters
    ----------
    rankings
        Last rankings of the folds.
    out
        JSON file: ``folds`` (fold -> settings), ``all_folds`` (settings), and every candidate with its mean place, best
        first, its place and score in each fold, and the epochs behind that score.
    folds
        ``each`` or ``first``: which folds these are.
    base
        The configuration's own values of the settings that are searched.

    Raises
    ------
    IntegrityError
        The folds have ranked different candidates.
    """
    files = {Run.parse(file["run"]): file for file in map(read_json, rankings)}
    trials = {run: ordered(file["trials"], base) for run, file in files.items()}
    rows: dict[str, dict[str, Any]] = {}
    for run, ranked in trials.items():
        for place, trial in enumerate(ranked, start=1):
            new = {"settings": trial["settings"], "order": trial["order"], "mean_place": 0.0, "folds": {}}
            told = {name: trial[name] for name in ("score", "best_epoch", "epochs", "rung", "reason")}
            rows.setdefault(key(trial["settings"]), new)["folds"][str(run.fold)] = {"place": place, **told}
    for row in rows.values():
        if len(row["folds"]) != len(files):
            where = out.with_suffix("")
            raise IntegrityError(f"{row['settings']} is not in the rankings of all folds: delete {where}, run again.")
        row["mean_place"] = sum(fold["place"] for fold in row["folds"].values()) / len(files)
    candidates = sorted(
        rows.values(), key=lambda row: (row["mean_place"], differs(row["settings"], base), row["order"])
    )
    group = next(iter(files)).group
    write_json(
        out,
        {
            "schema": SCHEMA_VERSION,
            "benchmark": group.benchmark,
            "dataset": group.dataset,
            "encoder": group.encoder,
            "method": group.method,
            "folds_searched": folds,
            "select_slides": {str(run.fold): file["slides"]["select"] for run, file in files.items()},
            "all_folds": candidates[0]["settings"],
            "folds": {str(run.fold): ranked[0]["settings"] for run, ranked in trials.items()},
            "candidates": candidates,
        },
    )


def write_chosen(choices: Sequence[Path], out: Path, *, folds: str) -> None:
    """Gather the choices of all datasets into the file that `searched` of a configuration names."""
    chosen: dict[str, Any] = {}
    for file in map(read_json, choices):
        entry = {"all_folds": file["all_folds"]}
        if folds == "each":
            entry["folds"] = {int(fold): settings for fold, settings in file["folds"].items()}
        by_encoder = chosen.setdefault(file["method"], {}).setdefault(file["encoder"], {})
        by_encoder[f"{file['benchmark']}/{file['dataset']}"] = entry
    write_text(out, to_yaml(folds, chosen))
