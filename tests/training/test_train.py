"""train_run and predict_run: whatever the method, the same files; expected failures are written, bugs are raised."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors import safe_open

from stflow.cli import main
from stflow.data.slide import Slide
from stflow.errors import ConfigError, IntegrityError
from stflow.evaluation.predictions import read_predictions
from stflow.io import read_json, sha256_file
from stflow.layout import TILES, Layout
from stflow.models.base import Fit, Method
from stflow.models.stflow import STFlow
from stflow.training.predict import predict_run
from stflow.training.train import CHECKPOINT, train_run


def predictions(results: Path, run: str):
    import anndata

    return anndata.read_h5ad(Layout(results).predictions(run))


@pytest.fixture
def train(results: Path, manifest: Path) -> Callable[..., dict]:
    """Train a run on one thread of the CPU; gives run.json."""

    def go(run: str, settings: str = "{}") -> dict:
        train_run(results, run, manifest, settings, threads=1, device="cpu")
        return read_json(Layout(results).run_json(run))

    return go


@pytest.fixture
def predict(results: Path, manifest: Path) -> Callable[..., None]:
    return lambda run, *how: predict_run(results, run, manifest, *how, threads=1, device="cpu")


def test_any_method_gets_development_slides_and_leaves_the_files(
    fake: type, results: Path, run_name: Callable[..., str], train: Callable[..., dict], predict: Callable[..., None],
    slides: dict[str, Slide],
) -> None:  # fmt: skip
    run = run_name("fake")
    record = train(run, '{"shift": 0.5}')
    predict(run)
    assert record["status"] == "ok"
    assert record["reason"] == ""
    assert record["select_by"] is None
    assert sorted(record["fit"]["train"]) == ["A1", "A2", "B1"]
    assert record["fit"]["select"] == []
    assert record["settings"] == {"shift": 0.5, "fail": ""}
    assert record["slides"]["test"] == ["C1"]
    assert set(record["inputs_sha256"]) == {"A1", "A2", "B1"}
    assert record["versions"]["numpy"] == np.__version__
    assert record["peak_memory"]["host_mb"] > 10
    layout = Layout(results)
    assert sorted(p.name for p in layout.run_dir(run).iterdir()) == [
        "history.csv",
        "model.safetensors",
        "predictions.h5ad",
        "run.json",
    ]
    assert layout.history(run).read_text() == "epoch,loss,score,learning_rate\n"

    found = predictions(results, run)
    genes = [f"G{index}" for index in range(5)]
    assert list(found.var_names) == genes
    assert found.X.dtype == np.float32
    expected = np.concatenate([slides[name].expression(genes) for name in ("A1", "A2", "B1")]).mean(axis=0) + 0.5
    np.testing.assert_allclose(found.X, np.tile(expected, (64, 1)), rtol=1e-5)
    np.testing.assert_array_equal(found.layers["measured"], slides["C1"].expression(genes))
    np.testing.assert_array_equal(found.obsm["spatial"], slides["C1"].centres_px)
    assert found.obs_names[3] == "C1_C1-3"
    assert list(found.obs.iloc[3]) == ["C1", "P3", "C1-3"]
    facts = found.uns["stflow"]
    assert (facts["run"], facts["status"], facts["reason"], facts["n_spots"]) == (run, "ok", "", 64)


def test_weights_to_start_from_reach_the_method_and_the_record(
    fake: type, results: Path, manifest: Path, run_name: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, given, plain = results / "weights.safetensors", [], fake.fit
    path.write_bytes(b"3 1 4")

    def fit(self: Method, *slides: object, **how: object) -> Fit:
        given.append(self.task.weights)
        return plain(self, *slides, **how)

    monkeypatch.setattr(fake, "fit", fit)
    run = run_name("fake")
    words = ["train", "--results", results, "--run", run, "--manifest", manifest, "--device", "cpu"]
    main([str(word) for word in (*words, "--weights", path)])
    assert given == [path]
    assert read_json(Layout(results).run_json(run))["weights_sha256"] == sha256_file(path)


@pytest.mark.parametrize(("fail", "reason"), [("diverged", "the loss became nan"), ("memory", "out of memory")])
def test_an_expected_failure_is_written_and_predicted_as_failed(
    fail: str, reason: str, fake: type, results: Path, run_name: Callable[..., str], train: Callable[..., dict],
    predict: Callable[..., None],
) -> None:  # fmt: skip
    run = run_name("fake")
    record = train(run, json.dumps({"fail": fail}))
    predict(run)
    assert record["status"] == "failed"
    assert reason in record["reason"]
    with safe_open(Layout(results).model(run), framework="numpy") as handle:
        assert list(handle.keys()) == []
        assert reason in json.loads(handle.metadata()["stflow"])["failed"]
    with pytest.raises(IntegrityError, match=reason):
        fake.load(Layout(results).model(run))
    found = predictions(results, run)
    assert found.uns["stflow"]["status"] == "failed"
    assert reason in found.uns["stflow"]["reason"]
    assert np.isnan(found.X).all()
    assert np.isfinite(found.layers["measured"]).all()


def test_predictions_that_are_not_finite_are_a_failure(
    fake: type, results: Path, run_name: Callable[..., str], train: Callable[..., dict], predict: Callable[..., None]
) -> None:
    run = run_name("fake")
    train(run, '{"fail": "predicts nan"}')
    predict(run)
    assert predictions(results, run).uns["stflow"]["reason"] == "the predictions are not finite: the model diverged."


def test_a_bug_is_raised_and_leaves_no_outputs(
    fake: type, results: Path, run_name: Callable[..., str], train: Callable[..., dict]
) -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(run_name("fake"), '{"fail": "bug"}')
    assert not Layout(results).run_json(run_name("fake")).exists()


def test_settings_of_another_method_are_refused(
    fake: type, run_name: Callable[..., str], train: Callable[..., dict]
) -> None:
    with pytest.raises(ConfigError, match=r"settings of fake cannot be used(.|\n)*hidden"):
        train(run_name("fake"), '{"hidden": 3}')


def test_predicting_an_untrained_run_says_so(run_name: Callable[..., str], predict: Callable[..., None]) -> None:
    with pytest.raises(IntegrityError, match="the run is not trained"):
        predict(run_name("stflow", seed=7))


def test_a_method_without_torch_does_not_import_it(results: Path, manifest: Path, run_name: Callable[..., str]) -> None:
    """Training the mean must not wait three seconds for torch."""
    import subprocess
    import sys

    run = run_name("mean")
    code = (
        "import sys\nfrom pathlib import Path\nfrom stflow.training.train import train_run\n"
        f"train_run(Path({str(results)!r}), {run!r}, Path({str(manifest)!r}), '{{}}')\n"
        "assert not {'torch', 'pandas', 'anndata', 'sklearn'} & set(sys.modules), 'heavy import'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("protocol", "fold", "select_by"), [("clean", 0, "patient"), ("paper", 0, "test")])
def test_stflow_run(
    protocol: str, fold: int, select_by: str, results: Path, run_name: Callable[..., str], tiny: str,
    train: Callable[..., dict], predict: Callable[..., None],
) -> None:  # fmt: skip
    run = run_name(protocol=protocol, fold=fold)
    longer = json.dumps({**json.loads(tiny), "epochs": 15})
    record = train(run, longer)
    predict(run)
    layout = Layout(results)
    assert record["status"] == "ok"
    assert record["select_by"] == select_by
    assert record["fit"]["n_params"] == STFlow.n_params(STFlow.Settings.model_validate_json(tiny), 10, 5)
    rows = list(csv.DictReader(layout.history(run).open()))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 16)]
    scores = [float(row["score"]) for row in rows]
    assert record["fit"]["best_epoch"] == 1 + int(np.argmax(scores))
    assert not (layout.run_dir(run) / CHECKPOINT).exists()
    found = predictions(results, run)
    assert found.uns["stflow"]["status"] == "ok"
    r = np.mean([np.corrcoef(found.X[:, g], found.layers["measured"][:, g])[0, 1] for g in range(5)])
    assert r > 0.15, "fifteen short epochs learn something"


def test_a_single_training_slide_is_selected_on_its_side(
    run_name: Callable[..., str], tiny: str, train: Callable[..., dict]
) -> None:
    record = train(run_name(fold=1), tiny)
    assert record["select_by"] == "region"
    assert record["spots"] == {"train": 51, "select": 13}
    assert set(record["inputs_sha256"]) == {"A1", "A1 (second part)"}


def test_same_seed_same_bytes_other_seed_others(
    results: Path, run_name: Callable[..., str], tiny: str, train: Callable[..., dict], predict: Callable[..., None]
) -> None:
    layout = Layout(results)
    made = []
    for seed in (0, 0, 1):
        run = run_name(seed=seed)
        train(run, tiny)
        predict(run)
        made.append(
            [layout.model(run).read_bytes(), layout.history(run).read_bytes(), predictions(results, run).X.tobytes()]
        )
    assert made[0] == made[1]
    assert all(a != b for a, b in zip(made[0], made[2], strict=True))


def test_a_variant_of_sampling_is_predicted_from_the_other_s_model(
    results: Path, run_name: Callable[..., str], tiny: str, train: Callable[..., dict], predict: Callable[..., None]
) -> None:
    """Two steps are what was trained, so they are the same bits; one step is another prediction from the same noise."""
    run = run_name()
    train(run, tiny)
    predict(run)
    made = {1: run_name(variant="one"), 2: run_name(variant="two")}
    for steps, name in made.items():
        predict(name, json.dumps({"steps": steps}), "default")
        assert not Layout(results).model(name).exists()
    own, two, one = (predictions(results, name) for name in (run, made[2], made[1]))
    np.testing.assert_array_equal(own.X, two.X)
    assert np.abs(one.X - own.X).max() > 0
    assert (two.uns["stflow"]["run"], two.uns["stflow"]["trained_as"]) == (made[2], "default")


def test_several_samples_are_predicted_as_mean_spread_and_interval(
    results: Path, run_name: Callable[..., str], tiny: str, train: Callable[..., dict], predict: Callable[..., None],
    slides: dict[str, Slide],
) -> None:  # fmt: skip
    run = run_name()
    train(run, tiny)
    predict(run)
    predict(run_name(variant="many"), '{"samples": 9, "interval": 0.8}', "default")
    method = STFlow.load(Layout(results).model(run))
    draws = np.stack(list(method.sample(slides["C1"], samples=9, seed=0)))
    single, many = predictions(results, run), predictions(results, run_name(variant="many"))
    np.testing.assert_array_equal(draws[0], single.X)
    np.testing.assert_allclose(many.X, draws.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(many.layers["std"], draws.std(axis=0, ddof=1), atol=1e-5)
    np.testing.assert_array_equal(many.layers["lower"], draws.min(axis=0))  # nine samples reach 0.8 just so
    np.testing.assert_array_equal(many.layers["upper"], draws.max(axis=0))
    assert np.ptp(draws, axis=0).max() > 0
    assert set(many.layers) == {"measured", "std", "lower", "upper", "crps"}
    assert set(single.layers) == {"measured"}
    facts = many.uns["stflow"]
    assert (facts["samples"], facts["interval"], single.uns["stflow"]["samples"]) == (9, 0.8, 1)


def test_several_samples_of_a_failed_training_have_empty_layers(
    results: Path, run_name: Callable[..., str], tiny: str, train: Callable[..., dict], predict: Callable[..., None]
) -> None:
    train(run_name(), json.dumps({**json.loads(tiny), "learning_rate": 1e30}))
    predict(run_name(), '{"samples": 20}')
    found = predictions(results, run_name())
    assert np.isnan(found.layers["crps"]).all()
    assert read_predictions(Layout(results).predictions(run_name())).failed


def test_a_variant_of_a_failed_training_fails_for_the_same_reason(
    results: Path, run_name: Callable[..., str], tiny: str, train: Callable[..., dict], predict: Callable[..., None]
) -> None:
    record = train(run_name(), json.dumps({**json.loads(tiny), "learning_rate": 1e30}))
    one = run_name(variant="wo_fm")
    predict(one, '{"steps": 1}', "default")
    found = predictions(results, one).uns["stflow"]
    assert (found["status"], found["reason"]) == ("failed", record["reason"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"layers": 1}', "cannot change layers: train a variant of its own.*interval, samples, steps, times"),
        ('{"steps": 0}', "settings of stflow cannot be used"),
        ("[1]", "not a JSON object"),
        ("steps=2", "are not JSON"),
    ],
)
def test_what_a_trained_model_cannot_change_is_refused(
    settings: str, message: str, run_name: Callable[..., str], tiny: str, train: Callable[..., dict],
    predict: Callable[..., None],
) -> None:  # fmt: skip
    train(run_name(), tiny)
    with pytest.raises(ConfigError, match=message):
        predict(run_name(), settings)


def test_a_loss_that_diverges_fails_the_run(
    results: Path, run_name: Callable[..., str], tiny: str, train: Callable[..., dict], predict: Callable[..., None]
) -> None:
    run = run_name()
    record = train(run, json.dumps({**json.loads(tiny), "learning_rate": 1e30}))
    predict(run)
    assert record["status"] == "failed"
    assert "Lower learning_rate" in record["reason"]
    assert predictions(results, run).uns["stflow"]["status"] == "failed"


def test_a_network_that_is_trained_on_tiles_needs_no_features(
    results: Path, manifest: Path, run_name: Callable[..., str], train: Callable[..., dict],
    predict: Callable[..., None], slides: dict[str, Slide],
) -> None:  # fmt: skip
    layout = Layout(results)
    for name, slide in slides.items():
        path = layout.tiles("made", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as handle:
            handle["img"] = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
            handle["barcode"] = [[barcode] for barcode in slide.barcodes[::8]]  # a spot without a tile is left out
    run = run_name("stnet", variant="finetuned").replace("/enc/", f"/{TILES}/")
    settings = {"backbone": "finetuned", "initial": "random", "epochs": 1, "batch_spots": 4}
    record = train(run, json.dumps(settings))
    predict(run)
    assert record["status"] == "ok"
    assert record["weights_sha256"] is None
    assert record["fit"]["steps"] == 2
    found = predictions(results, run)
    assert found.uns["stflow"]["status"] == "ok"
    assert found.X.shape == (8, 5)
