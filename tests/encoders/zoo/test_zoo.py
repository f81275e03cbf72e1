"""Each published encoder is the published network: its sizes, its file, its transform, and what it computes.

Answers to compare with come from the libraries that the official code itself calls, on weights made by rule. Where
the official code is no library, its answers are in ``golden``:

- ``ctranspath.npz``: the repository's network on its own fork of timm 0.5.4, at full size;
- ``conch_v1_5.npz``: the published vision tower at width 128 and depth 2, on files with 14 x 14 and 28 x 28 positions;
- ``hibou_l_257.npz``, ``hibou_l_785.npz``: the repository's network at width 128 and depth 2, on files with 16 x 16
  and 28 x 28 positions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from torch import nn
from torchvision import transforms

from stflow.data.hub.manifest import repository
from stflow.encoders import ENCODERS
from stflow.encoders.network import IMAGENET_MEAN, IMAGENET_STD, NetworkEncoder

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = [name for name in ENCODERS.names() if name not in ("classical", "efficientnet_lite0", "gigapath_slide")]
BILINEAR, BICUBIC = transforms.InterpolationMode.BILINEAR, transforms.InterpolationMode.BICUBIC
IMAGENET = IMAGENET_MEAN, IMAGENET_STD
HALF = (0.5,) * 3, (0.5,) * 3
BIOPTIMUS = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)
HIBOU = (0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816)
TOLERANCE = 1e-5

Shapes = dict[str, tuple[int, ...]]
State = dict[str, torch.Tensor]
WeightsOf = Callable[[Shapes], State]

#: Official transform before the normalisation, and the normalisation.
TRANSFORMS: Mapping[str, tuple[list[Any], tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "ciga": ([transforms.Resize(224)], IMAGENET),
    "ciga+half": ([transforms.Resize(224)], HALF),
    "uni": ([transforms.Resize(224), transforms.CenterCrop(224)], IMAGENET),
    "gigapath": ([transforms.CenterCrop(224)], IMAGENET),
    "gigapath+resize": ([transforms.Resize(256, interpolation=BICUBIC), transforms.CenterCrop(224)], IMAGENET),
    "resnet50": ([transforms.Resize(224)], IMAGENET),
    "densenet121": ([transforms.Resize(224)], IMAGENET),
    "ctranspath": ([transforms.Resize(224)], IMAGENET),
    "uni2_h": ([transforms.Resize(224), transforms.CenterCrop(224)], IMAGENET),
    "virchow2": ([transforms.Resize(224, interpolation=BICUBIC)], IMAGENET),
    "h_optimus_0": ([transforms.Resize(224)], BIOPTIMUS),
    "h_optimus_1": ([transforms.Resize(224)], BIOPTIMUS),
    "h0_mini": ([transforms.Resize(224, interpolation=BICUBIC)], BIOPTIMUS),
    "h0_mini+mean": ([transforms.Resize(224, interpolation=BICUBIC)], BIOPTIMUS),
    "phikon_v2": ([transforms.Resize(224), transforms.CenterCrop(224)], IMAGENET),
    "hibou_l": ([transforms.Resize(224, interpolation=BICUBIC)], HIBOU),
    "conch_v1_5": ([transforms.Resize(448, interpolation=BILINEAR), transforms.CenterCrop(448)], IMAGENET),
    "midnight": ([transforms.Resize(224), transforms.CenterCrop(224)], HALF),
}


def kind_of(name: str) -> type[NetworkEncoder]:
    kind: type[NetworkEncoder] = ENCODERS.get(name)
    return kind


def reduced(name: str, **sizes: Any) -> type[NetworkEncoder]:
    """The encoder with a smaller network: the class that it is in all else."""
    return type("Reduced", (kind_of(name),), sizes)


def save(state: State, name: str, folder: Path) -> Path:
    """A file of the published name, format and container."""
    kind = kind_of(name)
    assert kind.weights is not None
    path = folder / Path(repository(kind.weights.repository).files[kind.weights.file]).name
    if path.suffix == ".safetensors":
        save_file(state, path, metadata={"format": "pt"})
    else:
        torch.save({kind.key: state, "epoch": 1} if kind.key else state, path)
    return path


def shapes_of(network: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def images(name: str, tiles: np.ndarray) -> torch.Tensor:
    steps, (mean, std) = TRANSFORMS[name]
    whole = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])
    return torch.stack([whole(Image.fromarray(tile)) for tile in tiles])


def agree(features: np.ndarray, wanted: torch.Tensor | np.ndarray) -> None:
    wanted = np.asarray(wanted)
    assert features.shape == wanted.shape
    assert wanted.std() > 0.05, "an answer that says something"
    np.testing.assert_allclose(features, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("px", [224, 256])
def test_the_transform_is_the_official_one(name: str, px: int) -> None:
    base, *variants = name.split("+")
    encoder = kind_of(base)(variants=variants)
    drawn = np.random.RandomState(px).randint(0, 256, (2, px, px, 3)).astype(np.uint8)
    prepared = torch.from_numpy(np.ascontiguousarray(encoder.prepare(drawn))).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(encoder.normalise(prepared), images(name, drawn), rtol=0, atol=1e-6)
    assert str(encoder.resize or encoder.input_px) in encoder.transform


SWIGLU = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
GIANT_16 = {"patch_size": 16, "embed_dim": 1536, "num_heads": 24, "mlp_ratio": 5.33334}
UNI2 = {"patch_size": 14, "embed_dim": 1536, "num_heads": 24, "mlp_ratio": 2.66667 * 2, "reg_tokens": 8, **SWIGLU}
#: What the model cards have timm make: the name, the options, and how many tokens stand before the patches.
CARDS: Mapping[str, tuple[str, dict[str, Any], int]] = {
    "uni": ("vit_large_patch16_224", {"init_values": 1e-5}, 1),
    "gigapath": ("vit_giant_patch14_dinov2", GIANT_16, 1),
    "uni2_h": ("vit_giant_patch14_224", {"init_values": 1e-5, "no_embed_class": True, **UNI2}, 9),
    "virchow2": ("vit_huge_patch14_224", {"init_values": 1e-5, "reg_tokens": 4, "mlp_ratio": 5.3375, **SWIGLU}, 5),
    "h_optimus_0": ("vit_giant_patch14_reg4_dinov2", {"init_values": 1e-5}, 5),
    "h0_mini": ("vit_base_patch14_reg4_dinov2", {"init_values": 1e-5, "mlp_ratio": 5.33334, **SWIGLU}, 5),
}


def card_network(name: str, depth: int | None = None) -> nn.Module:
    architecture, options, _ = CARDS[name]
    options = {**options, "depth": depth or kind_of(name).depth}  # type: ignore[attr-defined]
    with torch.device("meta"):
        network: nn.Module = timm.create_model(
            architecture, img_size=224, num_classes=0, global_pool="", dynamic_img_size=True, **options
        )
    return network.eval()


@pytest.mark.parametrize("name", CARDS)
def test_the_vision_transformers_are_timm_s(
    name: str, tiles: np.ndarray, weights_of: WeightsOf, tmp_path: Path
) -> None:
    with torch.device("meta"):
        assert shapes_of(card_network(name)) == shapes_of(kind_of(name).build())
    network = card_network(name, depth=1)
    state = weights_of(shapes_of(network))
    network.load_state_dict(state, strict=True, assign=True)
    path = save(state, name, tmp_path)
    for text in [text for text in TRANSFORMS if text.partition("+")[0] == name]:
        with torch.inference_mode():
            tokens = network(images(text, tiles[:2]))
        encoder = reduced(name, depth=1)(weights=path, variants=text.split("+")[1:])
        wanted = tokens[:, 0]
        if encoder.dim == 2 * tokens.shape[-1]:
            wanted = torch.cat([wanted, tokens[:, CARDS[name][2] :].mean(1)], dim=1)
        agree(encoder(tiles[:2]), wanted)
        assert encoder.dim == wanted.shape[1]


@pytest.mark.parametrize(
    ("name", "architecture", "head", "prefix"),
    [
        ("ciga", "resnet18", "fc", "model.resnet."),
        ("resnet50", "resnet50", "fc", ""),
        ("densenet121", "densenet121", "classifier", ""),
    ],
)
def test_the_convolutional_networks_are_torchvision_s(
    name: str, architecture: str, head: str, prefix: str, tiles: np.ndarray, weights_of: WeightsOf, tmp_path: Path
) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(architecture, weights=None).eval()
    state = weights_of(shapes_of(network))
    network.load_state_dict(state, assign=True)
    setattr(network, head, nn.Identity())
    path = save({prefix + key: value for key, value in state.items()}, name, tmp_path)
    for text in [text for text in TRANSFORMS if text.partition("+")[0] == name]:
        with torch.inference_mode():
            wanted = network(images(text, tiles))
        agree(kind_of(name)(weights=path, variants=text.split("+")[1:])(tiles), wanted)


#: Positions of the file: of the network's own input, and of a larger one.
DINOV2 = [("phikon_v2", 197), ("hibou_l", 257), ("hibou_l", 785), ("midnight", 257), ("midnight", 785)]
SMALL = {"width": 128, "depth": 2, "heads": 2}


def small_dinov2(name: str) -> type[NetworkEncoder]:
    swiglu = kind_of(name).swiglu  # type: ignore[attr-defined]
    return reduced(name, **SMALL, hidden=688 if swiglu else 512)


def dinov2_file(
    kind: Any, positions: int, layout: Callable[..., Shapes], *, depth: int | None = None
) -> dict[str, tuple[int, ...]]:
    return layout(
        kind.width,
        depth or kind.depth,
        kind.hidden,
        patch=kind.patch_px,
        positions=positions,
        registers=kind.registers,
        swiglu=kind.swiglu,
    )


@pytest.mark.parametrize(("name", "positions"), DINOV2)
def test_the_dinov2_networks_are_those_of_transformers(
    name: str,
    positions: int,
    tiles: np.ndarray,
    weights_of: WeightsOf,
    dinov2_layout: Callable[..., Shapes],
    tmp_path: Path,
) -> None:
    from transformers import AutoModel

    kind: Any = small_dinov2(name)
    path = save(weights_of(dinov2_file(kind, positions, dinov2_layout)), name, tmp_path)
    config = {
        "model_type": "dinov2_with_registers" if kind.registers else "dinov2",
        "hidden_size": kind.width,
        "num_hidden_layers": kind.depth,
        "num_attention_heads": kind.heads,
        "patch_size": kind.patch_px,
        "image_size": round((positions - 1) ** 0.5) * kind.patch_px,
        "mlp_ratio": 4,
        "use_swiglu_ffn": kind.swiglu,
        "num_register_tokens": kind.registers,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    network, told = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values()), "the file made here is one that transformers knows"
    with torch.inference_mode():
        tokens = network.eval()(images(name, tiles)).last_hidden_state
    wanted = tokens[:, 0]
    if kind.pooling == "cls+mean":
        wanted = torch.cat([wanted, tokens[:, 1:].mean(1)], dim=1)
    agree(kind(weights=path)(tiles), wanted)


@pytest.mark.parametrize(("name", "positions"), [("phikon_v2", 197), ("hibou_l", 257), ("midnight", 257)])
def test_a_dinov2_file_of_full_size_fits(name: str, positions: int, dinov2_layout: Callable[..., Shapes]) -> None:
    kind: Any = kind_of(name)
    hidden = (int(kind.width * 4 * 2 / 3) + 7) // 8 * 8 * 2 if kind.swiglu else kind.width * 4
    assert kind.hidden == hidden, "transformers' rule"
    file = dinov2_file(kind, positions, dinov2_layout)
    with torch.device("meta"):
        converted = kind.convert({key: torch.empty(shape) for key, shape in file.items()})
        assert {key: tuple(value.shape) for key, value in converted.items()} == shapes_of(kind.build())


@pytest.mark.parametrize("positions", [257, 785])
def test_hibou_gives_what_its_repository_gives(
    positions: int,
    tiles: np.ndarray,
    weights_of: WeightsOf,
    dinov2_layout: Callable[..., Shapes],
    tmp_path: Path,
) -> None:
    kind = small_dinov2("hibou_l")
    path = save(weights_of(dinov2_file(kind, positions, dinov2_layout)), "hibou_l", tmp_path)
    agree(kind(weights=path)(tiles), np.load(GOLDEN / f"hibou_l_{positions}.npz")["features"])


def golden(name: str) -> tuple[Shapes, dict[str, np.ndarray]]:
    """Names and shapes of the official network's tensors, and its answers."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        shapes = {
            key: tuple(int(size) for size in text.split(",") if size)
            for key, text in zip(file["names"].tolist(), file["shapes"].tolist(), strict=True)
        }
        return shapes, {key: file[key] for key in file.files if key.startswith("features")}


@pytest.mark.parametrize("side", [14, 28])
def test_conch_gives_what_its_published_code_gives(
    side: int, tiles: np.ndarray, weights_of: WeightsOf, tmp_path: Path
) -> None:
    shapes, answers = golden("conch_v1_5")
    shapes["trunk.pos_embed"] = (1, side**2 + 1, 128)
    path = save(weights_of(shapes), "conch_v1_5", tmp_path)
    agree(reduced("conch_v1_5", **SMALL, hidden=512)(weights=path)(tiles), answers[f"features_{side}"])


def ctranspath_file(weights_of: WeightsOf) -> State:
    """With the tables that the published file holds."""
    shapes, _ = golden("ctranspath")
    tables = {key: shape for key, shape in shapes.items() if key.endswith(("attn_mask", "relative_position_index"))}
    assert len(tables) == 17, "12 blocks, 5 of them shifted"
    state = weights_of({key: shape for key, shape in shapes.items() if key not in tables})
    return state | {key: torch.zeros(shape) for key, shape in tables.items()}


def test_ctranspath_gives_what_its_repository_gives(tiles: np.ndarray, weights_of: WeightsOf, tmp_path: Path) -> None:
    path = save(ctranspath_file(weights_of), "ctranspath", tmp_path)
    agree(kind_of("ctranspath")(weights=path)(tiles), golden("ctranspath")[1]["features"])
