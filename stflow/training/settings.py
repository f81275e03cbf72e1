"""Settings that every trained network has: how fast, how long, on what batches. The defaults are the paper's."""

from __future__ import annotations

from pydantic import Field

from stflow.models.base import Settings


class TrainingSettings(Settings):
    """Of the training loop, `stflow.training.fit`."""

    learning_rate: float = Field(5e-4, gt=0, description="Adam's learning rate")
    clip_norm: float = Field(1.0, gt=0, description="gradient norm above which it is scaled down")
    epochs: int = Field(100, gt=0, description="most epochs", json_schema_extra={"unit": "epochs"})
    patience: int = Field(
        20,
        gt=0,
        description="stop after this long without a better selection score",
        json_schema_extra={"unit": "epochs"},
    )
    select_every: int = Field(
        1, gt=0, description="take the selection score this often", json_schema_extra={"unit": "epochs"}
    )
    standardise_features: bool = Field(
        False,
        description="scale features to mean 0, variance 1 over the training spots; the paper feeds them raw, "
        "features of mixed scale (encoder classical) need it",
    )


class SpotTraining(TrainingSettings):
    """Of a method that looks at one spot at a time."""

    batch_spots: int = Field(128, gt=0, description="spots a training step", json_schema_extra={"unit": "spots"})


class RegionTraining(TrainingSettings):
    """Of a method that looks at many spots of a slide together."""

    regions_per_slide: int = Field(
        10, gt=0, description="regions drawn from a slide an epoch", json_schema_extra={"unit": "regions"}
    )
    regions_per_step: int = Field(
        1, gt=0, description="regions a training step; the released code takes 2", json_schema_extra={"unit": "regions"}
    )
    region_spots: int | None = Field(
        None,
        gt=1,
        description="most spots a region may hold, which bounds the memory of a training on large slides; default: the "
        "paper's, up to all of a slide",
        json_schema_extra={"unit": "spots"},
    )
