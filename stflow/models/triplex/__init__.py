"""TRIPLEX (Chung et al., CVPR 2024, arXiv 2403.07592): a spot, the spots around it and the whole section, fused.

Light to import: the settings and the method's face; torch and the networks load when it is fitted. docs/baselines.md
says what differs from the authors' public code, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from stflow.encoders.base import Weights
from stflow.models.base import SettingsBase
from stflow.models.network import SectionNetwork
from stflow.training.settings import RegionTraining

if TYPE_CHECKING:
    from torch import nn

    from stflow.models.network.learner import Learner

_BRANCHES = ("fusion", "whole", "local")


class TriplexSettings(RegionTraining):
    """Settings of TRIPLEX; the defaults are those of STFlow's comparison: frozen features in all three branches."""

    form: Literal["features", "tiles"] = Field(
        "features",
        description="what a spot is seen by; features: its own frozen features and the nearest spots'; tiles: as the "
        "original, its tile through a ResNet-18 that is trained, and frozen features of 5 x 5 patches around it",
    )
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

    sample: Literal["region", "section"] = Field(
        "region",
        description="what the branch of the whole section sees in a training step; region: a random contiguous region, "
        "as for every method here; section: all of it, as in the public code",
    )
    batch_spots: int = Field(
        128,
        gt=0,
        description="spots a training step whose tiles are read, drawn from the sample; form tiles",
        json_schema_extra={"unit": "spots"},
    )
    initial: Literal["ciga", "random"] = Field(
        "ciga", description="weights that the ResNet-18 of form tiles starts from; ciga: those of encoder ciga"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> TriplexSettings:
        for branch in _BRANCHES:
            if self.hidden % (heads := getattr(self, f"{branch}_heads")):
                raise ValueError(f"hidden = {self.hidden} must be a multiple of {branch}_heads = {heads}")
        return self


#: The sizes of the authors' configuration for her2st, and how they train.
_ORIGINAL: Mapping[str, object] = {
    "form": "tiles",
    "fusion_layers": 1,
    "fusion_heads": 4,
    "fusion_mlp": 4.0,
    "fusion_dropout": 0.2,
    "whole_layers": 3,
    "whole_heads": 16,
    "whole_mlp": 4.0,
    "local_layers": 3,
    "local_heads": 16,
    "local_mlp": 1.0,
    "local_dropout": 0.3,
    "sample": "section",
    "learning_rate": 1e-4,
}


class Triplex(SectionNetwork):
    """Three views of a spot, each with a head of its own, and their fusion; trained on regions of sections."""

    name = "triplex"
    Settings: ClassVar[type[SettingsBase]] = TriplexSettings
    variants: ClassVar[Mapping[str, Mapping[str, object]]] = {"original": _ORIGINAL}

    if TYPE_CHECKING:
        settings: TriplexSettings

    @classmethod
    def own_encoders(cls, settings: SettingsBase) -> tuple[str, ...]:
        """Ciga's features of 5 x 5 patches for the form that reads tiles; the other runs on every encoder."""
        return ("ciga+around",) if _on_tiles(settings) else ()

    @classmethod
    def reads_tiles(cls, settings: SettingsBase) -> bool:
        """Tiles are read where a ResNet-18 is trained on them."""
        return _on_tiles(settings)

    @classmethod
    def initial_weights(cls, settings: SettingsBase) -> Weights | Path | None:
        """Those of encoder ``ciga``, for the form that trains its network."""
        from stflow.encoders.zoo.ciga import Ciga

        assert isinstance(settings, TriplexSettings)
        return Ciga.weights if settings.form == "tiles" and settings.initial == "ciga" else None

    def network(self, n_features: int, n_genes: int) -> nn.Module:
        """13,767,256 parameters at the defaults with 1024-d features and 50 genes."""
        if self.settings.form == "tiles":
            from stflow.encoders.around import N_CELLS
            from stflow.models.triplex.original import TileTriplex

            return TileTriplex(self.settings, n_features // N_CELLS, n_genes)
        from stflow.models.triplex.network import FeatureTriplex

        return FeatureTriplex(self.settings, n_features, n_genes)

    @classmethod
    def n_params(cls, settings: SettingsBase, n_features: int, n_genes: int) -> int | None:
        """Trainable parameters; of the form that reads tiles, ``n_features`` is the size of one patch's features."""
        from stflow.encoders.around import N_CELLS

        return super().n_params(settings, n_features * (N_CELLS if _on_tiles(settings) else 1), n_genes)

    def learner(self, n_features: int, seed: int) -> Learner:
        """Regions or slides, with what lies around their spots."""
        from stflow.models.triplex.learner import FeatureLearner
        from stflow.models.triplex.tile_learner import TileLearner

        return (TileLearner if self.settings.form == "tiles" else FeatureLearner)(self, n_features, seed)


def _on_tiles(settings: SettingsBase) -> bool:
    assert isinstance(settings, TriplexSettings)
    return settings.form == "tiles"
