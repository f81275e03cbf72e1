"""The command line's questions: what there is, whether it works here, what was made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stflow.cli_options import Results

about_app = typer.Typer()


@about_app.command()
def show(
    results: Annotated[Path, typer.Argument(help="Results folder.")] = Path("results"),
    tables: Annotated[
        list[str] | None, typer.Argument(help="Tables to print, e.g. table5; default: the main ones.")
    ] = None,
) -> None:
    """Print a results folder's main tables, and where the others, its figures and its report are."""
    from stflow.report.show import print_results

    print_results(results, tables or ())


@about_app.command()
def plan(
    targets: Annotated[list[str] | None, typer.Argument(help="Targets as Snakemake takes them; default: all.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file; default: config/config.yaml.")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs there are.")] = 0,
    cores: Annotated[int, typer.Option(min=1, help="CPU cores there are.")] = 8,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What a run would take, told before it starts: jobs, core-hours, GPU-hours, disk, download.

    Call it where Snakemake is called.
    """
    from stflow.plan_text import print_plan

    print_plan(config, targets or (), gpus, cores, json)


@about_app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(help="datasets, encoders, methods, variants or formats.")],
) -> None:
    """What there is: datasets, encoders, methods, variants, formats."""
    from stflow.inventory import print_inventory

    print_inventory(kind)


@about_app.command()
def doctor(results: Results = Path("results")) -> None:
    """Check this machine: Python, torch, GPUs, disk, hub access; each with the remedy."""
    from stflow.doctor import examine

    raise typer.Exit(examine(results))


@about_app.command()
def verify(
    results: Annotated[Path, typer.Argument(help="Results folder.")] = Path("results"),
    update: Annotated[bool, typer.Option("--update", help="Take the present state as right.")] = False,
) -> None:
    """Hash everything that was downloaded or made, and name what changed."""
    from stflow.verify import verify as verify_results

    raise typer.Exit(verify_results(results, update=update))


@about_app.command()
def params(
    features: Annotated[int, typer.Option(help="Feature size.")] = 1024,
    n_genes: Annotated[int, typer.Option(help="Genes.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the trainable parameters of every method, and of the variants that have another number of them."""
    from stflow.inventory import print_params

    print_params(features, n_genes, json)


@about_app.command("check-method")
def check_method(
    name: Annotated[str, typer.Argument(help="Method, built in or of a plug-in.")],
    settings: Annotated[str, typer.Option(help="Settings that differ from the defaults, as JSON.")] = "{}",
) -> None:
    """Try on made slides what every method must keep: shapes, seeds, its model file, order of spots, odd slides."""
    from stflow.models.check import print_checks

    raise typer.Exit(print_checks(name, settings))
