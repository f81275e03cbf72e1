"""Methods: features and coordinates of a slide in, expression of its spots out."""

from __future__ import annotations

from stflow.registry import Registry

METHODS: Registry = Registry(
    "methods",
    {
        "mean": "stflow.models.mean:Mean",
        "ridge": "stflow.models.ridge:Ridge",
        "random_forest": "stflow.models.random_forest:RandomForest",
        "stnet": "stflow.models.stnet:STNet",
        "bleep": "stflow.models.bleep:BLEEP",
        "stflow": "stflow.models.stflow:STFlow",
        "histogene": "stflow.models.histogene:HisToGene",
        "knn": "stflow.models.knn:KNN",
        "mlp": "stflow.models.mlp:MLP",

        "triplex": "stflow.models.triplex:Triplex",
    },
)
