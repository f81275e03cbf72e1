"""Each published encoder has the published size, tensor by tensor; no value is made."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from stflow.encoders import ENCODERS
from stflow.encoders.network import NetworkEncoder
from stflow.encoders.vit import ViTEncoder

Shapes = dict[str, tuple[int, ...]]

#: Tensors of the network, and some of their shapes.
SIZES: Mapping[str, tuple[int, Shapes]] = {
    "ciga": (120, {"conv1.weight": (64, 3, 7, 7), "layer4.1.conv2.weight": (512, 512, 3, 3)}),
    "uni": (342, {"pos_embed": (1, 197, 1024), "blocks.23.mlp.fc1.weight": (4096, 1024), "norm.weight": (1024,)}),
    "gigapath": (566, {"pos_embed": (1, 197, 1536), "patch_embed.proj.weight": (1536, 3, 16, 16)}),
    "resnet50": (318, {"layer4.2.conv3.weight": (2048, 512, 1, 1)}),
    "densenet121": (725, {"features.norm5.weight": (1024,)}),
    "ctranspath": (183, {"patch_embed.proj.3.weight": (24, 12, 3, 3), "layers.3.downsample.norm.weight": (1536,)}),
    "uni2_h": (343, {"reg_token": (1, 8, 1536), "pos_embed": (1, 256, 1536), "blocks.23.ls2.gamma": (1536,)}),
    "virchow2": (455, {"pos_embed": (1, 261, 1280), "blocks.31.mlp.fc1.weight": (6832, 1280)}),
    "h_optimus_0": (567, {"reg_token": (1, 4, 1536), "blocks.39.mlp.fc2.weight": (1536, 4096)}),
    "h_optimus_1": (567, {"pos_embed": (1, 256, 1536), "blocks.39.attn.qkv.weight": (4608, 1536)}),
    "h0_mini": (175, {"blocks.11.mlp.fc1.weight": (4096, 768), "reg_token": (1, 4, 768)}),
    "phikon_v2": (342, {"patch_embed.proj.weight": (1024, 3, 16, 16), "pos_embed": (1, 196, 1024)}),
    "hibou_l": (343, {"blocks.23.mlp.fc1.weight": (5472, 1024), "reg_token": (1, 4, 1024)}),
    "conch_v1_5": (352, {"trunk.pos_embed": (1, 785, 1024), "attn_pool_contrast.to_kv.weight": (1536, 1024)}),
    "midnight": (566, {"pos_embed": (1, 256, 1536), "blocks.39.mlp.fc1.weight": (8192, 1536)}),
}


def built(name: str) -> tuple[type[NetworkEncoder], torch.nn.Module, Shapes]:
    """An encoder's class, its network on the meta device, and that one's shapes."""
    kind: type[NetworkEncoder] = ENCODERS.get(name)
    with torch.device("meta"):
        network = kind.build()
    return kind, network, {key: tuple(value.shape) for key, value in network.state_dict().items()}


def test_no_encoder_is_left_out() -> None:
    networks = {name for name in ENCODERS.names() if issubclass(ENCODERS.get(name), NetworkEncoder)}
    assert networks - {"efficientnet_lite0"} == SIZES.keys()


@pytest.mark.parametrize("name", SIZES)
def test_the_network_has_its_published_size(name: str) -> None:
    kind, network, shapes = built(name)
    count, some = SIZES[name]
    assert kind.n_params == sum(parameter.numel() for parameter in network.parameters())
    assert len(shapes) == count
    assert {key: shapes.get(key) for key in some} == some
    if issubclass(kind, ViTEncoder) and name != "conch_v1_5":  # whose pooler has a width of its own
        assert kind.dim == kind.width * (2 if kind.pooling == "cls+mean" else 1)


def test_h_optimus_1_is_h_optimus_0_s_network() -> None:
    assert built("h_optimus_1")[2] == built("h_optimus_0")[2]
