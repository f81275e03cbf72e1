"""Refinement: the guesses of a trained STFlow at its sampling steps, of which the last is the prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

from stflow.errors import DataError, GeneError, IntegrityError
from stflow.evaluation.refinement import read_refinement
from stflow.io import write_json
from stflow.layout import Layout
from stflow.training.predict import predict_run
from stflow.training.refine import refine_run
from stflow.training.train import train_run

KEPT = ["G3", "G1"]


@pytest.fixture
def trained(results: Path, manifest: Path, run_name: Callable[..., str], tiny: str) -> str:
    """A trained run of two epochs."""
    run = run_name()
    train_run(results, run, manifest, json.dumps({**json.loads(tiny), "epochs": 2}), device="cpu")
    return run


def refine(results: Path, manifest: Path, run: str, **changes: object) -> Path:
    out = results / "refinement.h5"
    wanted = {"slide": "C1", "genes": KEPT, "out": out, "settings": '{"steps": 4}', "device": "cpu", **changes}
    refine_run(results, run, manifest, **wanted)  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize("times", ["paper", "released"])
def test_the_last_guess_is_the_prediction_to_the_bit(results: Path, manifest: Path, trained: str, times: str) -> None:
    sampling = json.dumps({"steps": 4, "times": times})
    found = read_refinement(refine(results, manifest, trained, settings=sampling))
    predict_run(results, trained, manifest, sampling, device="cpu")
    predicted = anndata.read_h5ad(Layout(results).predictions(trained))
    spots = predicted.obs["slide"] == "C1"
    np.testing.assert_array_equal(found.guesses[-1], predicted[spots, KEPT].X)
    np.testing.assert_array_equal(found.measured, predicted[spots, KEPT].layers["measured"])
    np.testing.assert_array_equal(found.centres_px, predicted[spots].obsm["spatial"])
    assert (str(found.run), found.slide, list(found.genes), found.status) == (trained, "C1", KEPT, "ok")
    expected = [0.0, 0.25, 0.5, 0.75] if times == "paper" else [0.01, 0.34, 0.67]
    np.testing.assert_allclose(found.times, expected)
    assert len(found.guesses) == len(expected)
    assert not np.array_equal(found.guesses[0], found.guesses[-1])


def test_the_first_guess_is_that_of_one_step(results: Path, manifest: Path, trained: str) -> None:
    """From the same noise, so what the steps add is seen and nothing else."""
    found = read_refinement(refine(results, manifest, trained))
    alone = read_refinement(refine(results, manifest, trained, settings='{"steps": 1}'))
    np.testing.assert_array_equal(alone.guesses[0], found.guesses[0])


def test_of_several_samples_the_first_is_followed(results: Path, manifest: Path, trained: str) -> None:
    several = read_refinement(refine(results, manifest, trained, settings='{"steps": 4, "samples": 20}'))
    np.testing.assert_array_equal(several.guesses, read_refinement(refine(results, manifest, trained)).guesses)


def test_a_failed_training_leaves_a_file_that_says_so(results: Path, manifest: Path, trained: str) -> None:
    path = Layout(results).run_json(trained)
    record = json.loads(path.read_text())
    path.unlink()
    write_json(path, {**record, "status": "failed", "reason": "the loss became nan"})
    found = read_refinement(refine(results, manifest, trained))
    assert (found.status, found.reason, len(found.guesses)) == ("failed", "the loss became nan", 0)


def test_what_cannot_be_refined_is_told(
    results: Path, manifest: Path, trained: str, run_name: Callable[..., str]
) -> None:
    with pytest.raises(GeneError, match=r"does not predict NOPE\. Name other genes under figures\.figure6"):
        refine(results, manifest, trained, genes=["G1", "NOPE"])
    with pytest.raises(DataError, match="tests C1, not A1"):
        refine(results, manifest, trained, slide="A1")
    with pytest.raises(DataError, match="only stflow refines"):
        refine(results, manifest, run_name("ridge"))
    with pytest.raises(IntegrityError, match="the run is not trained"):
        refine(results, manifest, run_name(seed=7))


def test_a_file_that_is_not_whole_is_refused(results: Path, manifest: Path, trained: str) -> None:
    path = refine(results, manifest, trained)
    with h5py.File(path, "r+") as handle:
        handle.attrs["n_spots"] = 3
    with pytest.raises(IntegrityError, match=r"of \(3, 2\) were promised.*run `refine` again"):
        read_refinement(path)
    with h5py.File(path, "r+") as handle:
        del handle["times"]
    with pytest.raises(IntegrityError, match="lacks times"):
        read_refinement(path)
