"""A process that has imported all and forks for each stage: a job costs its work, not its start.

It reads one JSON object a line: stage, results, and one fault or none: kill_after (s; counted
from when a file of the pattern once_there is there, if that is given), limit (bytes a file may have).
It answers with one: code (negative: the signal), output, seconds.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import constants

from stflow.data.hub.download import download_file
from stflow.data.hub.lock import make_lock
from stflow.data.hub.request import read_request
from stflow.data.slide import write_slide
from stflow.embedding.extract import make_features
from stflow.errors import StflowError
from stflow.evaluation.aggregate import read_metrics, run_scores
from stflow.evaluation.evaluate import evaluate_group
from stflow.io import write_json, write_text
from stflow.layout import Layout
from stflow.training import fit
from stflow.training.predict import predict_run
from stflow.training.train import train_run

SLIDES = ("S1", "S2", "S3")
GENES = tuple(f"G{index}" for index in range(6))
GROUP = "B/D/classical/stflow/default/clean"
RUN = f"{GROUP}/fold0/seed0"
SETTINGS = {
    "hidden": 16, "edge_hidden": 8, "layers": 2, "heads": 2, "neighbours": 6, "epochs": 6, "regions_per_slide": 2,
    "learning_rate": 2e-3, "steps": 2,
}  # fmt: skip


def make(results: Path) -> None:
    """Three slides of 36 spots, their images, two folds, one gene list."""
    from stflow.wsi.pyramid import write_pyramid

    rows, columns = np.mgrid[:6, :6]
    centres = np.column_stack([columns.ravel(), rows.ravel()]) * 100.0 + 50.25
    lines = ["dataset,slide,patient,protocol,fold,role"]
    for seed, name in enumerate(SLIDES):
        rng = np.random.default_rng(seed)
        image = np.clip(rng.normal((190, 110, 170), 25, (600, 600, 3)), 0, 255).astype(np.uint8)
        target = results / "source" / "wsis" / f"{name}.tif"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_pyramid(target, image, 1.0)
        write_slide(
            Layout(results).slide("B", name), name=name, patient=f"P{seed}", barcodes=[f"b{i}" for i in range(36)],
            centres_px=centres, mpp=1.0, spot_diameter_um=55, genes=GENES,
            counts=rng.poisson(2.0, (36, len(GENES))).astype(np.float32),
        )  # fmt: skip
        for fold, tested in enumerate(("S3", "S1")):
            lines.append(f"D,{name},P{seed},*,{fold},{'test' if name == tested else 'train'}")
    write_text(results / "B.csv", "\n".join(lines) + "\n")
    folds = {fold: list(GENES) for fold in ("0", "1")}
    write_json(Layout(results).genes("B", "D", "clean"), {"schema": 1, "source": "made", "folds": folds})


def tile(results: Path) -> None:
    from stflow.wsi.tiles import make_tiles

    layout = Layout(results)
    for name in SLIDES:
        if not layout.tiles("B", name).exists():  # the workflow asks for missing files only
            make_tiles(
                "hest", results / "source", "D", name, layout.slide("B", name), layout.tiles("B", name),
                tile_um=112.0, tile_px=224, min_tissue=0.0,
            )  # fmt: skip


def embed(results: Path) -> None:
    make_features(
        results, "B", SLIDES, "classical", weights=None, code="c0de", batch_size=8, precision="fp32", threads=1,
        workers=0, device="cpu",
    )  # fmt: skip


def train(results: Path) -> None:
    fit.CHECKPOINT_EVERY_S = 0.0
    train_run(results, RUN, results / "B.csv", json.dumps(SETTINGS), threads=1, device="cpu")


def _keep_checkpoint(results: Path, run: str = RUN, **settings: object) -> None:
    """Train another run; its last checkpoint is then `checkpoint.safetensors` of the results folder."""
    save = fit.save_checkpoint

    def save_and_copy(path: Path, *rest: object) -> None:
        save(path, *rest)  # type: ignore[arg-type]
        shutil.copy(path, results / path.name)

    fit.save_checkpoint = save_and_copy
    fit.CHECKPOINT_EVERY_S = 0.0
    text = json.dumps({**SETTINGS, **settings})
    train_run(results, run, results / "B.csv", text, threads=1, device="cpu")


def other_seed(results: Path) -> None:
    _keep_checkpoint(results, f"{GROUP}/fold0/seed1")


def other_fold(results: Path) -> None:
    _keep_checkpoint(results, f"{GROUP}/fold1/seed0")


def other_settings(results: Path) -> None:
    _keep_checkpoint(results, learning_rate=1e-3)


def same(results: Path) -> None:
    _keep_checkpoint(results)


def predict(results: Path) -> None:
    predict_run(results, RUN, results / "B.csv", threads=1, device="cpu")


def evaluate(results: Path) -> None:
    evaluate_group(results, GROUP, [0], [0], results / "metrics.parquet")


def aggregate(results: Path) -> None:
    scores = run_scores(read_metrics([results / "metrics.parquet"]))
    write_text(results / "scores.csv", scores.to_csv(index=False))


def _use_hub(results: Path) -> None:
    """Point the client at the address in a file. It reads its environment at import, so that comes too late."""
    address = (results / "hub.address").read_text(encoding="utf-8")
    constants.ENDPOINT = address
    constants.HUGGINGFACE_CO_URL_TEMPLATE = address + "/{repo_id}/resolve/{revision}/{filename}"


def lock(results: Path) -> None:
    _use_hub(results)
    make_lock(results / "hub.json", results / "data")


def download(results: Path) -> None:
    _use_hub(results)
    (wanted,) = read_request(results / "hub.json")
    for file in wanted.files:
        if not (wanted.root / file).exists():  # the workflow asks for missing files only
            download_file(wanted.repository, wanted.root, file)


OTHERS = (other_seed, other_fold, other_settings, same)
RESULTS = (make, tile, embed, train, predict, evaluate, aggregate)
STAGES = {function.__name__: function for function in (*RESULTS, lock, download, *OTHERS)}


def child(stage: str, results: Path, limit: int | None, out: int) -> None:
    """Run a stage and end the process, as the command line does: 1 and more for errors, with their message."""
    os.dup2(out, 1)
    os.dup2(out, 2)
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    code = 0
    try:
        STAGES[stage](results)
    except StflowError as error:
        code = error.exit_code
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    except BaseException:  # noqa: BLE001 - the process ends here, and the test fails on 99
        code = 99
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def warm_up(results: Path) -> None:
    """Run what compiles or imports at its first call, before the first fork. Images are left to the children."""
    for stage in ("make", "tile"):
        if os.fork() == 0:
            child(stage, results, None, 2)
        os.wait()
    for function in (embed, train, predict, evaluate, aggregate):
        function(results)
    print("ready", flush=True)


def wait_for_file(pid: int, results: Path, mark: str) -> None:
    """Wait until there is a file of this pattern, or the child has ended."""
    while not any(results.glob(mark)) and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.001)


def main() -> None:
    torch.set_num_threads(1)
    warm_up(Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        begun = time.monotonic()
        reading, writing = os.pipe()  # not a file: a limit on files must not meet the messages
        pid = os.fork()
        if pid == 0:
            child(asked["stage"], Path(asked["results"]), asked.get("limit"), writing)
        os.close(writing)
        if (after := asked.get("kill_after")) is not None:
            if mark := asked.get("once_there"):
                wait_for_file(pid, Path(asked["results"]), mark)
            time.sleep(after)
            os.kill(pid, signal.SIGKILL)  # a child that has ended is not yet waited for: its number is still its own
        with os.fdopen(reading, errors="replace") as stream:
            output = stream.read()
        _, status = os.waitpid(pid, 0)
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "output": output,
            "seconds": time.monotonic() - begun,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
