"""The command line. Its subcommands are the workflow's rules: they parse, call one function, and log one line.

Nothing heavy is imported at the top: ``stflow --help`` answers at once.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

import stflow.cli_exports
import stflow.cli_scores
import stflow.cli_statistics
from stflow.cli_about import about_app
from stflow.cli_maps import maps_app
from stflow.cli_options import BySlide, Device, Format, ManifestPath, Out, Results, Root, RunName, Threads, words
from stflow.cli_report import figure_app, table_app
from stflow.cli_search import search_app
from stflow.errors import StflowError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
source_app = typer.Typer(no_args_is_help=True, help="Make or fetch a benchmark's files in their official format.")
hub_app = typer.Typer(no_args_is_help=True, help="Files of Hugging Face: lock them, download them.")
app.add_typer(source_app, name="source")
app.add_typer(hub_app, name="hub")
app.add_typer(table_app, name="table")
app.add_typer(figure_app, name="figure")
app.add_typer(about_app)
app.add_typer(stflow.cli_exports.export_app)
app.add_typer(maps_app)
app.add_typer(search_app, name="search")


@app.callback()
def job(
    context: typer.Context,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs to lease for this job; it sees no others.")] = 0,
    timing: Annotated[Path | None, typer.Option(help="File for what the job took, written if it succeeds.")] = None,
) -> None:
    """Predict spatial gene expression from H&E slides, and compare the methods that do so."""
    if gpus or timing:
        from stflow.job import surrounded

        context.with_resource(surrounded(gpus, timing))


@source_app.command("demo-slide")
def source_demo_slide(
    benchmark: Annotated[str, typer.Option(help="demo_hest or demo_stimage.")],
    slide: Annotated[str, typer.Option(help="Slide name.")],
    root: Root,
) -> None:
    """Make one demo slide: image and counts."""
    from stflow.data.demo import make_slide

    make_slide(benchmark, slide, root)


@source_app.command("demo-task")
def source_demo_task(benchmark: Annotated[str, typer.Option(help="demo_hest or demo_stimage.")], root: Root) -> None:
    """Make what belongs to a whole demo dataset: folds, gene list, metadata, planted truth."""
    from stflow.data.demo import make_task

    make_task(benchmark, root)


@source_app.command("her2st")
def source_her2st(
    section: Annotated[str, typer.Option(help="Section, e.g. B4.")],
    root: Root,
    pack: Annotated[Path | None, typer.Option(help="Folder with the study's files; default: download.")] = None,
) -> None:
    """Turn one her2st section into HEST-1k's layout."""
    from stflow.data.her2st import make_section

    make_section(section, root, pack)


@hub_app.command("lock")
def hub_lock(
    request: Annotated[Path, typer.Option(help="The files that are needed (<results>/hub.json).")],
    root: Annotated[Path, typer.Option(help="Folder to lock; all repositories are asked whether they are open.")],
) -> None:
    """Check that every repository is open; record commit, size and hash of the files that are needed."""
    from stflow.data.hub.lock import make_lock

    make_lock(request, root)


@hub_app.command("download")
def hub_download(
    repository: Annotated[str, typer.Option(help="Repository of resources/hub.json.")],
    root: Root,
    file: Annotated[str, typer.Option(help="Path in the repository.")],
) -> None:
    """Download one locked file, and check it."""
    from stflow.data.hub.download import download_file

    download_file(repository, root, file)


@app.command()
def counts(
    format: Format,
    root: Root,
    dataset: Annotated[str, typer.Option(help="Dataset of the slide.")],
    slide: Annotated[str, typer.Option(help="Slide name.")],
    patient: Annotated[str, typer.Option(help="Patient of the slide.")],
    out: Out,
    mpp: Annotated[float | None, typer.Option(help="um/px of slides that do not tell it.")] = None,
) -> None:
    """Read a slide's counts and spot centres into the slide file."""
    from stflow.data.counts import make_counts

    make_counts(format, root, dataset, slide, patient, out, mpp)


@app.command()
def splits(
    manifest: ManifestPath,
    datasets: Annotated[str, typer.Option(help="Datasets, comma between.")],
    protocols: Annotated[str, typer.Option(help="Protocols, comma between.")],
    out: Out,
    by_slide: BySlide = False,
) -> None:
    """Write the folds as they are run, and what chooses the epoch of each."""
    from stflow.data.split_record import record_splits

    record_splits(manifest, words(datasets), words(protocols), out, by_slide=by_slide)


@app.command()
def tile(
    format: Format,
    root: Root,
    dataset: Annotated[str, typer.Option(help="Dataset of the slide.")],
    slide: Annotated[str, typer.Option(help="Slide name.")],
    slide_file: Annotated[Path, typer.Option("--slide-file", help="The slide file (counts and spot centres).")],
    out: Out,
    tile_um: Annotated[float, typer.Option(help="Side of a tile on the tissue, um.")] = 112.0,
    tile_px: Annotated[int, typer.Option(help="Side of a tile as the encoder sees it, px.")] = 224,
    min_tissue: Annotated[float, typer.Option(help="Share of a tile that must be tissue.")] = 0.15,
    crop: Annotated[str, typer.Option(help="Where a tile is its spot: spot (its width) or pixels (tile-px).")] = "spot",
    max_unreadable: Annotated[float, typer.Option(help="Share of tiles that may be damaged.")] = 0.01,
) -> None:
    """Cut the tile of every spot, by um per pixel."""
    from stflow.wsi.tiles import make_tiles

    make_tiles(
        format,
        root,
        dataset,
        slide,
        slide_file,
        out,
        tile_um=tile_um,
        tile_px=tile_px,
        min_tissue=min_tissue,
        crop=crop,
        max_unreadable=max_unreadable,
    )


@app.command("compare-patches")
def compare_patches(
    ours: Annotated[Path, typer.Option(help="Tiles file.")],
    theirs: Annotated[Path, typer.Option(help="Tiles or hest-bench patches of the same slide.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How two sets of patches of a slide differ: spots, places, pixels."""
    from stflow.wsi.compare import print_comparison

    print_comparison(ours, theirs, json)


@app.command()
def embed(
    results: Results,
    benchmark: Annotated[str, typer.Option(help="Benchmark.")],
    slide: Annotated[list[str], typer.Option(help="Slide name; give the option once a slide.")],
    encoder: Annotated[str, typer.Option(help="Encoder and variants, e.g. uni+macenko (stflow list encoders).")],
    weights: Annotated[Path | None, typer.Option(help="The encoder's weights file, if it needs one.")] = None,
    code_stamp: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File with the hash of the code, to be recorded.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=0, help="Tiles a batch; 0: chosen for the device.")] = 0,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    threads: Threads = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read tiles; 0: a thread does.")] = 0,
    device: Device = "auto",
    only_keep: Annotated[bool, typer.Option("--only-keep", help="Leave the files in .kept for a later job.")] = False,
    image: Annotated[
        list[Path] | None, typer.Option(help="Image of a slide, once a slide, for an encoder with +around.")
    ] = None,
) -> None:
    """Turn the tiles of some slides into features; what an earlier, killed run has done is not done again."""
    from stflow.embedding.extract import make_features

    make_features(
        results,
        benchmark,
        slide,
        encoder,
        weights=weights,
        code=code_stamp.read_text(encoding="utf-8").strip() if code_stamp else "",
        batch_size=batch_size or None,
        precision=precision,
        threads=threads,
        workers=workers,
        device=device,
        only_keep=only_keep,
        images=image or [],
    )


@app.command()
def genes(
    results: Results,
    benchmark: Annotated[str, typer.Option(help="Benchmark.")],
    dataset: Annotated[str, typer.Option(help="Dataset.")],
    protocol: Annotated[str, typer.Option(help="paper or clean.")],
    manifest: ManifestPath,
    out: Out,
    choice: Annotated[str, typer.Option(help="official, all, train or list.")],
    n_genes: Annotated[int, typer.Option(min=1, help="Genes to choose.")] = 50,
    recipe: Annotated[str, typer.Option(help="How to choose: hest or stimage.")] = "hest",
    gene_list: Annotated[Path | None, typer.Option(help="The dataset's own list, or yours (choice list).")] = None,
    by_slide: BySlide = False,
) -> None:
    """Choose the genes of every fold."""
    from stflow.data.genes import make_genes

    make_genes(
        results,
        benchmark,
        dataset,
        protocol,
        manifest,
        out,
        choice=choice,
        n_genes=n_genes,
        recipe=recipe,
        gene_list=gene_list,
        by_slide=by_slide,
    )


@app.command()
def audit(
    config: Annotated[Path, typer.Option(help="Configuration file.")] = Path("config/config.yaml"),
    results: Annotated[Path | None, typer.Option(help="Results folder; default: the configuration's.")] = None,
) -> None:
    """Check every fold for leaks: patients, tissue, doubled slides, genes, epoch. Fails if a clean fold leaks."""
    from stflow.config import load
    from stflow.report.audit import print_audit

    loaded = load(config)
    print_audit(loaded if results is None else loaded.model_copy(update={"results": results}))


@app.command("audit-dataset")
def audit_dataset(
    results: Results,
    benchmark: Annotated[str, typer.Option(help="Benchmark.")],
    dataset: Annotated[str, typer.Option(help="Dataset.")],
    protocol: Annotated[str, typer.Option(help="paper or clean.")],
    manifest: ManifestPath,
    out: Out,
) -> None:
    """Check the folds of one dataset for leaks, and write what was found; clean folds that leak are refused."""
    from stflow.data.audit import make_audit

    make_audit(results, benchmark, dataset, protocol, manifest, out)


@app.command()
def train(
    results: Results,
    run: RunName,
    manifest: ManifestPath,
    settings: Annotated[str, typer.Option(help="The method's settings as JSON.")] = "{}",
    weights: Annotated[Path | None, typer.Option(help="Weights file that the method starts from, if any.")] = None,
    threads: Threads = 1,
    device: Device = "auto",
    by_slide: BySlide = False,
) -> None:
    """Fit one method on one fold with one seed."""
    from stflow.training.train import train_run

    train_run(results, run, manifest, settings, weights=weights, threads=threads, device=device, by_slide=by_slide)


@app.command()
def predict(
    results: Results,
    run: RunName,
    manifest: ManifestPath,
    settings: Annotated[str, typer.Option(help="Settings of sampling to use in place of the model's, as JSON.")] = "{}",
    trained_as: Annotated[str, typer.Option(help="Variant whose model predicts; default: the run's own.")] = "",
    threads: Threads = 1,
    device: Device = "auto",
    by_slide: BySlide = False,
) -> None:
    """Predict the test slides of one run."""
    from stflow.training.predict import predict_run

    predict_run(results, run, manifest, settings, trained_as, threads=threads, device=device, by_slide=by_slide)


@app.command()
def evaluate(
    results: Results,
    group: Annotated[str, typer.Option(help="benchmark/dataset/encoder/method/variant/protocol.")],
    folds: Annotated[str, typer.Option(help="Fold numbers, comma between.")],
    seeds: Annotated[str, typer.Option(help="Seeds, comma between.")],
    out: Out,
) -> None:
    """Score all folds and seeds of one method on one dataset."""
    from stflow.evaluation.evaluate import evaluate_group

    evaluate_group(results, group, _numbers(folds), _numbers(seeds), out)


@app.command("publish-genes")
def publish_genes(results: Annotated[Path, typer.Argument(help="Results folder.")] = Path("results")) -> None:
    """Copy the gene lists of the paper's datasets to resources/genes, where there is none yet."""
    from stflow.data.publish import publish_genes

    print("\n".join(map(str, publish_genes(results))))


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _command(arguments: list[str]) -> str:
    """The first word that is neither an option of every job nor its value."""
    rest = iter(arguments)
    return next((word for word in rest if word not in ("--gpus", "--timing") or not next(rest, "")), "")


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; an expected error prints its message and exits with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    start = time.monotonic()
    try:
        status = app(arguments, standalone_mode=False, prog_name="stflow")
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except StflowError as error:
        if debug:
            raise
        print(f"stflow: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        # A usage error of the command-line library, whose own class has no public name: it can show itself.
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):
            raise
        error.show()
        sys.exit(error.exit_code)
    if isinstance(status, int) and status:  # of a command that ends with `typer.Exit`, as doctor and verify
        sys.exit(status)
    if arguments and not {"--help", "list", "plan", "doctor", "params", "verify", "check-method"} & set(arguments):
        print(f"stflow {_command(arguments)}: done in {time.monotonic() - start:.1f} s", file=sys.stderr)
