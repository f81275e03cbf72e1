"""Methods: features and coordinates of a slide in, expression of its spots out."""

from __future__ import annotations

from stflow.registry import Registry

METHODS: Registry = Registry(
    "methods",
    {
        "mean": "stflow.models.mean:Mean",
        "ridge": "stflow.models.ridge:Ridge",
        "knn": "stflow.models.knn:KNN",
        "mlp": "stflow.models.mlp:MLP",
        "random_forest": "stflow.models.random_forest:RandomForest",
        "stnet": "stflow.models.stnet:STNet",
        "bleep": "stflow.models.bleep:BLEEP",
        "histogene": "stflow.models.histogene:HisToGene",
        "triplex": "stflow.models.triplex:Triplex",
        "stflow": "stflow.models.stflow:STFlow",
    },
)
