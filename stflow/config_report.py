"""The section `report` of the configuration: what its estimates assume, and which predictions are exported."""

from __future__ import annotations

from pydantic import Field

from stflow.config_sections import Model, unit
from stflow.data.splits import Protocol


class Export(Model):
    """One slide's prediction by one method, as a file for other tools."""

    benchmark: str = Field(description="benchmark of the slide")
    slide: str = Field(description="slide name")
    method: str = Field(
        description="row of the tables whose prediction it is: method, method/variant, each with @encoder where the "
        "method runs on several"
    )
    protocol: Protocol = Field("clean", description="protocol of the prediction; the first fold that tests the slide")
    seed: int | None = Field(None, ge=0, description="seed of the prediction; default: the first of `seeds`")


class Report(Model):
    """What the report shows beside the tables, and what is exported for other tools."""

    cpu_watts: float = Field(
        10.0,
        ge=0,
        description="power of a busy CPU core, which the estimate of energy takes",
        json_schema_extra=unit("W"),
    )
    gpu_watts: float = Field(
        300.0,
        ge=0,
        description="power of a GPU in use, which the estimate of energy takes",
        json_schema_extra=unit("W"),
    )
    exports: list[Export] = Field(
        default_factory=list, description="predictions that `snakemake exports` writes as AnnData (.h5ad)"
    )
    spatialdata: bool = Field(
        False, description="exports as SpatialData (.zarr) too; needs the extra `spatial` (stflow[spatial])"
    )
