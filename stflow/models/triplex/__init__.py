"""TRIPLEX (Chung et al., CVPR 2024, arXiv 2403.07592): a spot, the spots around it and the whole section, fused.

Light to import: the settings and the method's face; torch and the networks load when it is fitted. docs/baselines.md
says what differs from the authors' public code, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from stflow.models.base import SettingsBase
from stflow.models.network import SectionNetwork
from stflow.training.settings import RegionTraining

if TYPE_CHECKING:
    from torch import nn

    from stflow.models.network.learner import Learner

_BRANCHES = ("fusion", "whole", "local")


class TriplexSettings(RegionTraining):
    """Settings of TRIPLEX; the defaults are those of STFlow's comparison: frozen features in all three branches."""

    hidden: int = Field(512, gt=0, description="size of a token in all branches")
    fusion_layers: int = Field(2, gt=0, description="layers of cross-attention that fuse the branches")
    fusion_heads: int = Field(8, gt=0, description="their attention heads; divide hidden")
    fusion_mlp: float = Field(2.0, gt=0, description="hidden units of their MLP, as a multiple of hidden")
    fusion_dropout: float = Field(0.1, ge=0, lt=1, description="their drop probability")
    whole_layers: int = Field(2, gt=1, description="layers of the branch of the whole section; APEG follows the first")
    whole_heads: int = Field(8, gt=0, description="their attention heads; divide hidden")
    whole_mlp: float = Field(2.0, gt=0, description="hidden units of their MLP, as a multiple of hidden")
    whole_dropout: float = Field(0.1, ge=0, lt=1, description="their drop probability")
    local_layers: int = Field(2, gt=0, description="layers of the branch of a spot's surroundings")
    local_heads: int = Field(8, gt=0, description="their attention heads; divide hidden")
    local_mlp: float = Field(2.0, gt=0, description="hidden units of their MLP, as a multiple of hidden")
    local_dropout: float = Field(0.1, ge=0, lt=1, description="their drop probability")
    local_spots: int = Field(
        25,
        gt=0,
        description="nearest spots in the branch of a spot's surroundings, the spot itself among them: on a square "
        "grid 25 are the 5 x 5 field",
        json_schema_extra={"unit": "spots"},
    )
    alpha: float = Field(0.3, ge=0, le=1, description="share of a branch's loss that is its distance to the fused one")
    apeg: Literal["added", "in_place"] = Field(
        "added",
        description="what the convolution over the grid of spots does to a token; added: is added to it, as in the "
        "public code until April 2025; in_place: takes its place, as since then",
    )
    clamp: bool = Field(
        False,
        description="cut the outputs of all heads off at 0, in training too, as the public code does since April 2025",
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> TriplexSettings:
        for branch in _BRANCHES:
            if self.hidden % (heads := getattr(self, f"{branch}_heads")):
                raise ValueError(f"hidden = {self.hidden} must be a multiple of {branch}_heads = {heads}")
        return self


class Triplex(SectionNetwork):
    """Three views of a spot, each with a head of its own, and their fusion; trained on regions of sections."""

    name = "triplex"
    Settings: ClassVar[type[SettingsBase]] = TriplexSettings
    variants: ClassVar[Mapping[str, Mapping[str, object]]] = {}

    if TYPE_CHECKING:
        settings: TriplexSettings

    def network(self, n_features: int, n_genes: int) -> nn.Module:
        """13,767,256 parameters at the defaults with 1024-d features and 50 genes."""
        from stflow.models.triplex.network import FeatureTriplex

        return FeatureTriplex(self.settings, n_features, n_genes)

    def learner(self, n_features: int, seed: int) -> Learner:
        """Regions with their surroundings and their grid."""
        from stflow.models.triplex.learner import TriplexLearner

        return TriplexLearner(self, n_features, seed)
