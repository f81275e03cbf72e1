"""HisToGene (Pang, Su & Li, bioRxiv 2021.11.28.470212): a vision transformer whose tokens are the spots of a section.

Light to import: the settings and the method's face; torch and the network load when it is fitted. Where the public code
(maxpmx/HisToGene, commit 44ff75b) and STFlow's account of its run differ, both are settings: the defaults are STFlow's,
the variants ``official`` and ``tutorial`` the public code's. docs/baselines.md has the whole comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from stflow.layout import TILES
from stflow.models.base import SettingsBase
from stflow.models.network import SectionNetwork
from stflow.training.settings import RegionTraining

if TYPE_CHECKING:
    from torch import nn

    from stflow.models.histogene.learner import HisToGeneLearner

#: What the public code does otherwise than STFlow's account of it.
_OFFICIAL: Mapping[str, object] = {
    "hidden": 1024,
    "positions": "tables",
    "pixels": "raw",
    "turned": False,
    "sample": "section",
    "regions_per_slide": 1,
    "learning_rate": 1e-5,
}


class HisToGeneSettings(RegionTraining):
    """Settings of HisToGene; the defaults are those of STFlow's appendix, where it names any."""

    patch_px: int = Field(
        112, gt=0, description="side that a tile is reduced to, by area averaging", json_schema_extra={"unit": "px"}
    )
    pixels: Literal["centred", "raw"] = Field(
        "centred", description="centred: from -1 to 1; raw: from 0 to 255, as in the public code"
    )
    hidden: int = Field(128, gt=0, description="size of a spot's state")
    layers: int = Field(4, gt=0, description="transformer layers")
    heads: int = Field(16, gt=0, description="attention heads")
    head_dim: int = Field(
        64, gt=0, description="size of a head; the public code's does not shrink with hidden: 16 heads make 1024"
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="drop probability of hidden units; attention weights are never dropped"
    )
    positions: Literal["linear", "tables"] = Field(
        "linear",
        description="how a place enters; linear: a linear layer on its distance from the section's middle; tables: as "
        "in the public code, a learned vector for its column of the array and one for its row",
    )
    position_scale_um: float = Field(
        1000.0,
        gt=0,
        description="distance that becomes 1 in the linear layer of positions",
        json_schema_extra={"unit": "um"},
    )
    table_size: int = Field(
        64,
        gt=0,
        description="columns and rows that the tables hold; a Visium slide needs 128",
        json_schema_extra={"unit": "entries"},
    )
    turned: bool = Field(True, description="train on each spot's tile in one of its 8 symmetries, drawn at every step")
    sample: Literal["region", "section"] = Field(
        "region",
        description="a training sample; region: a random contiguous region, as for every method here; section: all of "
        "it, as in the public code",
    )


class HisToGene(SectionNetwork):
    """Patches of all spots of a section through one transformer with full attention."""

    name = "histogene"
    Settings: ClassVar[type[SettingsBase]] = HisToGeneSettings
    variants: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "tables": {"positions": "tables", "table_size": 128},
        # The class's defaults and the README's call; the tutorial trains twice as many layers.
        "official": _OFFICIAL,
        "tutorial": {**_OFFICIAL, "layers": 8},
    }

    if TYPE_CHECKING:
        settings: HisToGeneSettings

    @classmethod
    def own_encoders(cls, settings: SettingsBase) -> tuple[str, ...]:
        """Tiles alone: it reads pixels, no features."""
        return (TILES,)

    @classmethod
    def reads_tiles(cls, settings: SettingsBase) -> bool:
        """It reads nothing else."""
        return True

    def network(self, n_features: int, n_genes: int) -> nn.Module:
        """The transformer; ``n_features`` is 0."""
        from stflow.models.histogene.network import PatchTransformer

        return PatchTransformer(self.settings, n_genes)

    def learner(self, n_features: int, seed: int) -> HisToGeneLearner:
        """Patches in place of features, turned in training; regions or whole sections."""
        from stflow.models.histogene.learner import HisToGeneLearner

        return HisToGeneLearner(self, n_features, seed)
