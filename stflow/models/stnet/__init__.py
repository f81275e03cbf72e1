"""ST-Net (He et al., Nature Biomedical Engineering 2020): DenseNet-121 and a linear layer, on one tile at a time.

The last layer begins with weights of zero and the training spots' mean expression as its bias, so the untrained network
predicts that mean. Tiles are turned and mirrored at random in training, and the predictions of all eight symmetries are
averaged.

Two forms, as the paper that compares it (Huang et al., ICML 2025) leaves open which it ran:

frozen (default)
    The features of a frozen DenseNet-121 with a linear layer: the 0.051 M parameters that the paper counts. Reads the
    features of eight views of a tile (`stflow.encoders.views`); with an encoder that gives one, nothing is averaged.
finetuned
    All of DenseNet-121 is trained on the tiles, as in the original, from the weights of encoder ``densenet121``.

Both are trained as every network here: Adam at 5e-4, batches of 128, the best epoch on the select slides (the paper's
setting). The original has SGD at 1e-6 with momentum 0.9 and a loss summed over the batch, batches of 32 and 50 epochs;
see docs/baselines.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from stflow.encoders.base import Weights
from stflow.encoders.views import N_VIEWS, SUFFIX
from stflow.layout import TILES
from stflow.models.base import SettingsBase
from stflow.models.network import SpotNetwork
from stflow.training.settings import SpotTraining

if TYPE_CHECKING:
    from torch import nn

    from stflow.models.network.learner import Learner


class STNetSettings(SpotTraining):
    """Settings of ST-Net; the defaults are the paper's."""

    backbone: Literal["frozen", "finetuned"] = Field(
        "frozen",
        description="frozen: a linear layer on an encoder's features; finetuned: all of DenseNet-121, trained on tiles",
    )
    initial: Literal["imagenet", "random"] = Field(
        "imagenet", description="weights that finetuned starts from; imagenet: those of encoder densenet121"
    )


class STNet(SpotNetwork):
    """A linear layer on DenseNet-121, which is frozen or trained with it."""

    name = "stnet"
    Settings: ClassVar[type[SettingsBase]] = STNetSettings
    views = True
    variants: ClassVar[Mapping[str, Mapping[str, object]]] = {"finetuned": {"backbone": "finetuned"}}

    if TYPE_CHECKING:
        settings: STNetSettings

    @classmethod
    def own_encoders(cls, settings: SettingsBase) -> tuple[str, ...]:
        """Eight views of each tile by DenseNet-121; none for the form that reads tiles alone."""
        return (TILES,) if _is_finetuned(settings) else ("densenet121+views",)

    @classmethod
    def reads_tiles(cls, settings: SettingsBase) -> bool:
        """Tiles are read where the network is trained on them."""
        return _is_finetuned(settings)

    @classmethod
    def initial_weights(cls, settings: SettingsBase) -> Weights | Path | None:
        """Those of encoder ``densenet121``, for the form that trains it."""
        from stflow.encoders.zoo.densenet121 import DenseNet121

        assert isinstance(settings, STNetSettings)
        return DenseNet121.weights if _is_finetuned(settings) and settings.initial == "imagenet" else None

    def network(self, n_features: int, n_genes: int) -> nn.Module:
        """Frozen: a linear layer from one view's features; 51,250 parameters from 1024 to 50 genes."""
        from stflow.models.stnet.network import FineTuned, zero_linear

        if _is_finetuned(self.settings):
            return FineTuned(n_genes)
        n_views = N_VIEWS if self.task.encoder.endswith(SUFFIX) else 1
        return zero_linear(n_features // n_views, n_genes)

    def learner(self, n_features: int, seed: int) -> Learner:
        """With views or tiles for inputs."""
        from stflow.models.stnet.learner import TileLearner, ViewLearner

        return (TileLearner if _is_finetuned(self.settings) else ViewLearner)(self, n_features, seed)


def _is_finetuned(settings: SettingsBase) -> bool:
    assert isinstance(settings, STNetSettings)
    return settings.backbone == "finetuned"
