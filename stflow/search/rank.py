"""Stage `search rank`: the candidates of one fold in order, after a rung; the best of them go on to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stflow.errors import RunFailed
from stflow.io import SCHEMA_VERSION, read_json, write_json
from stflow.search.space import Grid, Space, differs, key


def rank_trials(trials: Sequence[Path], out: Path, *, rung: int, grid: Grid, ranking: Path | None = None) -> None:
    """Order all candidates by the last rung that they reached, and there by their score.

    Equal scores stand in the grid's order. Candidates that failed come last, whatever rung they reached. What the
    configuration's own settings are has no part in it, so that changing them tries nothing again.

    Parameters
    ----------
    trials
        Files of the rung's trials.
    out
        JSON file: ``trials`` in order, best first; no times, so that trials made again leave the same file.
    rung
        The rung, from 0.
    grid
        The whole grid.
    ranking
        The ranking of the rung before.

    Raises
    ------
    RunFailed
        No candidate has a score.
    """
    place = {key(candidate): number for number, candidate in enumerate(Space(grid).candidates())}
    found: dict[str, dict[str, Any]] = {}
    if ranking is not None:
        found = {key(trial["settings"]): trial for trial in read_json(ranking)["trials"]}
    files = [read_json(path) for path in trials]
    for file in files:
        for trial in file["trials"]:
            row = {name: value for name, value in trial.items() if name != "seconds"}
            found[key(trial["settings"])] = {**row, "rung": rung, "order": place[key(trial["settings"])]}
    ranked = ordered(found.values())
    if not ranked or ranked[0]["status"] == "failed":
        reasons = list(dict.fromkeys(trial["reason"] for trial in ranked))
        raise RunFailed(
            f"{files[0]['run'] if files else out}: none of {len(ranked)} candidates could be trained: "
            f"{'; '.join(reasons[:3])}. Mend the settings or narrow search.grids."
        )
    shared = {name: files[0][name] for name in ("run", "select_by", "slides")}
    write_json(out, {"schema": SCHEMA_VERSION, **shared, "rung": rung, "trials": ranked})


def ordered(trials: Iterable[dict[str, Any]], base: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
    """Trials, best first; see `rank_trials`. With ``base`` its settings stand before their equals."""

    def merit(trial: dict[str, Any]) -> tuple[bool, int, float, bool, int]:
        other = base is not None and differs(trial["settings"], base)
        return trial["status"] == "failed", -trial["rung"], -(trial["score"] or 0.0), other, trial["order"]

    return sorted(trials, key=merit)
