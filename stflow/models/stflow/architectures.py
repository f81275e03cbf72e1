"""From settings to a network: what the layers of an architecture are made of (tables 3, 4 and 11 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stflow.models.stflow import STFlowSettings
from stflow.models.stflow.attention import NeighbourAttention
from stflow.models.stflow.denoiser import Denoiser
from stflow.models.stflow.e2cnn import E2CNN
from stflow.models.stflow.egnn import EGNN
from stflow.models.stflow.mixer import Mixer
from stflow.models.stflow.plain_attention import DotProductAttention, MLPAttention


def _frames(s: STFlowSettings, n_genes: int) -> Mixer:
    return NeighbourAttention(s.hidden, s.edge_hidden, n_genes, s.heads, s.dropout, s.attention_dropout)


def _no_frames(s: STFlowSettings, n_genes: int) -> Mixer:
    return MLPAttention(s.hidden, n_genes, s.heads, s.dropout, s.attention_dropout)


def _dot_product(s: STFlowSettings, n_genes: int) -> Mixer:
    del n_genes
    return DotProductAttention(s.hidden, s.heads, s.dropout, s.attention_dropout)


def _egnn(s: STFlowSettings, n_genes: int) -> Mixer:
    return EGNN(s.hidden, n_genes, s.dropout)


def _e2cnn(s: STFlowSettings, n_genes: int) -> Mixer:
    return E2CNN(s.hidden, n_genes, s.dropout)


#: Name in the settings -> what makes one layer's mixer for a number of genes.
ARCHITECTURES: Mapping[str, Callable[[STFlowSettings, int], Mixer]] = {
    "frames": _frames,
    "no_frames": _no_frames,
    "dot_product": _dot_product,
    "egnn": _egnn,
    "e2cnn": _e2cnn,
}


def build(settings: STFlowSettings, n_features: int, n_genes: int) -> Denoiser:
    """The network of these settings, with torch's default initial weights."""
    make = ARCHITECTURES[settings.architecture]
    return Denoiser(
        n_features,
        n_genes,
        lambda: make(settings, n_genes),
        d=settings.hidden,
        layers=settings.layers,
        dropout=settings.dropout,
    )
