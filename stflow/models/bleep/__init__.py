"""BLEEP (Xie et al., NeurIPS 2023): expression that is retrieved from the training spots, not regressed.

Two projection heads bring a spot's image features and its expression into one space, trained so that those of one spot
lie together (a contrastive loss whose targets are softened by similarity). A tile's prediction is the mean expression
of the training spots whose expression embeddings are nearest to its image embedding.

The defaults are those of the paper that compares it (Huang et al., ICML 2025): frozen features in place of a trained
ResNet-50, temperature 1, the 50 nearest, all training spots for reference. See docs/baselines.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from stflow.models.base import SettingsBase
from stflow.models.network import SpotNetwork
from stflow.training.settings import SpotTraining

if TYPE_CHECKING:
    from torch import nn

    from stflow.models.network.learner import Learner


class BLEEPSettings(SpotTraining):
    """Settings of BLEEP; the defaults are the paper's."""

    embedding: int = Field(256, gt=0, description="size of the common space")
    dropout: float = Field(0.1, ge=0, lt=1, description="drop probability in the projection heads")
    temperature: float = Field(1.0, gt=0, description="what similarities are divided by, in the loss and its targets")
    retrieved: int = Field(
        50, gt=0, description="nearest training spots that a prediction is made of", json_schema_extra={"unit": "spots"}
    )
    rule: Literal["average", "simple", "weighted"] = Field(
        "average",
        description="what is made of them; average: their mean; simple: the nearest alone; weighted: their mean with "
        "weights exp(-d^2), d the distance of the embeddings",
    )


class BLEEP(SpotNetwork):
    """Contrastive learning of images and expression, and retrieval from the training spots."""

    name = "bleep"
    Settings: ClassVar[type[SettingsBase]] = BLEEPSettings
    variants: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "simple": {"rule": "simple"},
        "weighted": {"rule": "weighted"},
    }
    sampling = frozenset({"retrieved", "rule"})
    selection = sampling

    if TYPE_CHECKING:
        settings: BLEEPSettings

    def network(self, n_features: int, n_genes: int) -> nn.Module:
        """Two heads; 670,208 parameters with 2048-d features and 50 genes, as printed; 408,064 with 1024-d."""
        from stflow.models.bleep.network import Heads

        s = self.settings
        return Heads(n_features, n_genes, s.embedding, s.dropout)

    def learner(self, n_features: int, seed: int) -> Learner:
        """With a contrastive loss, and retrieval for an answer."""
        from stflow.models.bleep.learner import RetrievalLearner

        return RetrievalLearner(self, n_features, seed)
