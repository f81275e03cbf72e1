"""What every network encoder does alike: the official transform, the same bits in any form, no silent TF32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from stflow.encoders.base import Weights
from stflow.encoders.network import IMAGENET_MEAN, IMAGENET_STD, NetworkEncoder
from stflow.errors import DataError, WeightsError

BILINEAR, BICUBIC = transforms.InterpolationMode.BILINEAR, transforms.InterpolationMode.BICUBIC
TILES = np.random.RandomState(0).randint(0, 256, (21, 224, 224, 3)).astype(np.uint8)


class Tiny(NetworkEncoder):
    """Four numbers a tile."""

    name: ClassVar[str] = "tiny"
    dim = 4
    transform = "none"
    licence: ClassVar[str] = "MIT"
    weights: ClassVar[Weights] = Weights("MahmoodLab/UNI")
    variants: ClassVar = {"half": {"mean": (0.5,) * 3, "std": (0.5,) * 3}}

    @classmethod
    def build(cls) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class TinyLast(Tiny):
    channels_last: ClassVar[bool] = True


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "pytorch_model.bin"
    torch.save(Tiny.build().state_dict(), path)
    return path


def official(steps: list[Any], mean: tuple[float, ...], std: tuple[float, ...], tiles: np.ndarray) -> torch.Tensor:
    whole = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])
    return torch.stack([whole(Image.fromarray(tile)) for tile in tiles])


@pytest.mark.parametrize("px", [224, 256, 300, 150])
@pytest.mark.parametrize(
    ("resize", "input_px", "how"),
    [
        (224, 224, "bilinear"),
        (224, 224, "bicubic"),
        (256, 224, "bicubic"),
        (448, 448, "bilinear"),
        (231, 224, "bilinear"),
        (None, 224, "bilinear"),
    ],
)
def test_the_transform_is_torchvision_s_on_pictures(px: int, resize: int | None, input_px: int, how: str) -> None:
    tiles = np.random.RandomState(px).randint(0, 256, (2, px, px, 3)).astype(np.uint8)
    encoder = Tiny()
    encoder.resize, encoder.interpolation = resize, how  # type: ignore[assignment]
    encoder.input_px = input_px  # type: ignore[misc]
    mode = {"bilinear": BILINEAR, "bicubic": BICUBIC}[how]
    if resize is None and px < input_px:
        with pytest.raises(DataError):
            encoder.prepare(tiles)
        return
    steps = [transforms.Resize(resize, interpolation=mode)] if resize else []
    wanted = official([*steps, transforms.CenterCrop(input_px)], IMAGENET_MEAN, IMAGENET_STD, tiles)
    prepared = encoder.prepare(tiles)
    assert prepared.shape == (2, input_px, input_px, 3)
    assert prepared.dtype == np.uint8
    images = torch.from_numpy(np.ascontiguousarray(prepared)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(encoder.normalise(images), wanted, rtol=0, atol=1e-6)


def test_tiles_that_fit_are_not_copied() -> None:
    encoder = Tiny()
    assert encoder.prepare(TILES) is TILES
    encoder.resize = 224
    assert encoder.prepare(TILES) is TILES


def test_tiles_that_are_too_small_are_refused() -> None:
    with pytest.raises(DataError, match="tiny takes tiles of 224 px or more: got 200 px"):
        Tiny().prepare(TILES[:, :200, :200])


@pytest.mark.parametrize("kind", [Tiny, TinyLast])
def test_features_are_those_of_the_network(kind: type[Tiny], path: Path) -> None:
    network = Tiny.build().eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    images = official([], IMAGENET_MEAN, IMAGENET_STD, TILES)
    with torch.inference_mode():
        wanted = network(images).numpy()
    features = kind(weights=path)(TILES)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, wanted, rtol=0, atol=1e-5)


def test_a_variant_changes_the_normalisation(path: Path) -> None:
    network = Tiny.build().eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    with torch.inference_mode():
        wanted = network(official([], (0.5,) * 3, (0.5,) * 3, TILES[:2])).numpy()
    np.testing.assert_allclose(Tiny(weights=path, variants=["half"])(TILES[:2]), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [Tiny, TinyLast])
def test_arrays_and_tensors_give_the_same_bits(kind: type[Tiny], path: Path) -> None:
    encoder = kind(weights=path)
    assert (encoder.encode(TILES) == encoder.encode(torch.from_numpy(TILES))).all()
    strided = np.asfortranarray(TILES)
    locked = TILES.copy()
    locked.flags.writeable = False
    for other in (strided, locked):
        assert (encoder.encode(TILES) == encoder.encode(other)).all()


@pytest.mark.parametrize("kind", [Tiny, TinyLast])
def test_how_many_come_at_once_does_not_change_the_bits(kind: type[Tiny], path: Path) -> None:
    encoder = kind(weights=path)
    assert encoder.cpu_batch == 8
    whole = encoder.encode(TILES)
    parts = [encoder.encode(TILES[start : start + 16]) for start in (0, 16)]
    assert (whole == np.concatenate(parts)).all()
    np.testing.assert_allclose(np.concatenate([encoder.encode(TILES[i : i + 1]) for i in range(21)]), whole, atol=1e-5)


def test_the_network_never_sees_more_than_its_batch(path: Path) -> None:
    encoder = Tiny(weights=path)
    sizes: list[int] = []
    encoder.network.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    encoder.encode(TILES)
    assert sizes == [8, 8, 5]


def test_no_tiles_give_no_features(path: Path) -> None:
    assert Tiny(weights=path).encode(TILES[:0]).shape == (0, 4)


def test_bfloat16_is_close_and_comes_back_as_float32(path: Path) -> None:
    full, half = (Tiny(precision=precision, weights=path).encode(TILES) for precision in ("fp32", "bf16"))
    assert half.dtype == np.float32
    assert (half != full).any()
    np.testing.assert_allclose(half, full, rtol=0.05, atol=0.05)


def test_float32_is_not_shortened_and_the_setting_comes_back(path: Path) -> None:
    encoder = Tiny(weights=path)
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    seen: list[list[bool]] = []
    encoder.network.register_forward_hook(lambda *_: seen.append([place.allow_tf32 for place in places]))
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = True
        encoder.encode(TILES[:1])
        assert seen == [[False, False]]
        assert [place.allow_tf32 for place in places] == [True, True]
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def test_missing_weights_are_told_with_the_way_to_them(tmp_path: Path) -> None:
    for path, where in ((None, "no file was given"), (tmp_path / "w.bin", "w.bin is not there")):
        with pytest.raises(WeightsError) as raised:
            Tiny(weights=path).encode(TILES[:1])
        told = str(raised.value)
        assert told.startswith("encoder tiny: its weights are missing: ")
        for words in (
            where,
            "pytorch_model.bin",
            "https://huggingface.co/MahmoodLab/UNI",
            "hf auth login",
            "snakemake",
        ):
            assert words in told


def test_another_file_than_the_published_one_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stflow.data.hub import manifest

    place = manifest.repository("MahmoodLab/UNI")
    for sha256, right in (("0" * 64, False), (Tiny(weights=path).weights_sha256, True)):
        known = {"pytorch_model.bin": manifest.Known(sha256=sha256)}
        monkeypatch.setattr(manifest, "repository", lambda _, known=known: place.model_copy(update={"known": known}))
        if right:
            assert len(Tiny(weights=path).encode(TILES[:1])) == 1
        else:
            with pytest.raises(WeightsError, match=r"is not the published file.*Delete it\..*MahmoodLab/UNI"):
                Tiny(weights=path).encode(TILES[:1])
