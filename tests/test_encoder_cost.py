"""What encoding costs: the arithmetic of every network, and the speeds that were measured with it."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stflow.encoder_cost import GMACS, core_s, dim, gpu_s, times
from stflow.encoders import ENCODERS
from stflow.encoders.names import EncoderName
from stflow.encoders.network import NetworkEncoder


def test_every_network_is_counted() -> None:
    networks = {name for name in ENCODERS.names() if issubclass(ENCODERS.get(name), NetworkEncoder)}
    assert networks == GMACS.keys()


@pytest.mark.parametrize("name", GMACS)
def test_the_number_is_that_of_the_network(name: str) -> None:
    kind = ENCODERS.get(name)
    with torch.device("meta"), torch.no_grad():
        network, tile = kind.build().eval(), torch.empty(1, 3, kind.input_px, kind.input_px)
        with FlopCounterMode(display=False) as counter:
            network(tile)
    assert GMACS[name] == pytest.approx(counter.get_total_flops() / 2e9, rel=0.01, abs=0.01)


@pytest.mark.parametrize(
    ("name", "tiles_s", "factor"),
    [("uni", 0.7, 1.1), ("ciga", 27, 1.5), ("classical", 464, 1.5), ("efficientnet_lite0", 35, 3)],
)
def test_tiles_a_second_on_a_core_are_near_those_measured(name: str, tiles_s: float, factor: float) -> None:
    """docs/encoders.md, Speed; the depthwise convolutions of the last are bound by memory, and not by arithmetic."""
    told = 1 / core_s(EncoderName.parse(name), 1)
    assert tiles_s / factor < told < tiles_s * factor


def test_views_and_patches_around_are_as_many_tiles() -> None:
    plain, views, mean, around = (EncoderName.parse(f"uni{added}") for added in ("", "+views", "+dihedral", "+around"))
    assert [times(name) for name in (plain, views, mean, around)] == [1, 8, 8, 25]
    assert [dim(name) for name in (plain, views, mean, around)] == [1024, 8192, 1024, 25_600]
    assert core_s(views, 100) == pytest.approx(8 * core_s(plain, 100))
    assert gpu_s(around, 100) == pytest.approx(25 * gpu_s(plain, 100))


def test_a_slide_encoder_costs_its_own_network_alone() -> None:
    slide, tile = EncoderName.parse("gigapath_slide"), EncoderName.parse("gigapath")
    assert 1 / 358 < core_s(slide, 1) < 1.1 / 197, "docs/encoders.md: 358 to 197 tiles/s"
    assert core_s(slide, 1) < core_s(tile, 1) / 500
    assert gpu_s(slide, 1) < core_s(slide, 1)
