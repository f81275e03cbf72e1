"""The command line's part in a search for settings; the workflow's rules call these."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stflow.cli_options import BySlide, Device, ManifestPath, Out, Results, RunName, Threads

search_app = typer.Typer(no_args_is_help=True, help="Search for a method's settings on select slides.")
Grid = Annotated[str, typer.Option(help="JSON: setting -> values; `one+other` move together.")]
Folds = Annotated[str, typer.Option(help="each or first: the folds that are searched.")]


@search_app.command("trials")
def search_trials(
    results: Results,
    run: RunName,
    manifest: ManifestPath,
    out: Out,
    settings: Annotated[str, typer.Option(help="The method's settings as JSON; candidates replace some.")] = "{}",
    grid: Grid = "",
    ranking: Annotated[Path | None, typer.Option(help="Ranking to take candidates from, in place of a grid.")] = None,
    places: Annotated[str, typer.Option(help="Places of the ranking: first-count, from 0.")] = "0-0",
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; default: the settings'.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file that the method starts from, if any.")] = None,
    threads: Threads = 1,
    device: Device = "auto",
    by_slide: BySlide = False,
) -> None:
    """Train candidates on one fold, and keep the score of each on the select slides."""
    from stflow.search.trial import train_trials

    first, count = map(int, places.split("-"))
    train_trials(
        results,
        run,
        manifest,
        settings,
        out,
        grid=grid,
        ranking=ranking,
        first=first,
        count=count,
        epochs=epochs,
        weights=weights,
        threads=threads,
        device=device,
        by_slide=by_slide,
    )


@search_app.command("rank")
def search_rank(
    trials: Annotated[list[Path], typer.Argument(help="Files of trials of one rung.")],
    out: Out,
    rung: Annotated[int, typer.Option(min=0, help="The rung.")],
    grid: Grid,
    ranking: Annotated[Path | None, typer.Option(help="Ranking of the rung before.")] = None,
) -> None:
    """Put the candidates of one fold in order."""
    import json

    from stflow.search.rank import rank_trials

    rank_trials(trials, out, rung=rung, grid=json.loads(grid), ranking=ranking)


@search_app.command("choose")
def search_choose(
    rankings: Annotated[list[Path], typer.Argument(help="Last ranking of each fold.")],
    out: Out,
    folds: Folds = "each",
    base: Annotated[str, typer.Option(help="JSON of the configuration's own values of what was searched.")] = "{}",
) -> None:
    """Choose settings for each fold, and for the dataset."""
    import json

    from stflow.search.choose import choose

    choose(rankings, out, folds=folds, base=json.loads(base))


@search_app.command("write")
def search_write(
    choices: Annotated[list[Path], typer.Argument(help="The choice of every dataset.")], out: Out, folds: Folds = "each"
) -> None:
    """Gather all choices in the file that `searched` of a configuration names."""
    from stflow.search.choose import write_chosen

    write_chosen(choices, out, folds=folds)


@search_app.command("estimate")
def search_estimate(
    config: Annotated[Path, typer.Option(help="Configuration file.")] = Path("config/config.yaml"),
    workers: Annotated[int, typer.Option(min=1, help="GPUs, or cores where trainings run on the CPU.")] = 8,
) -> None:
    """How many trials a search makes, and how long it takes."""
    from stflow.config import load
    from stflow.search.estimate import estimate
    from stflow.workflow import Plan

    print(estimate(Plan(load(config)), workers))
