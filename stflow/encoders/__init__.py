"""Encoders: the picture of a spot in, a feature vector out."""

from __future__ import annotations

from stflow.registry import Registry

ENCODERS: Registry = Registry(
    "encoders",
    {
        "classical": "stflow.encoders.classical:Classical",
        "efficientnet_lite0": "stflow.encoders.efficientnet_lite0:EfficientNetLite0",
    },
)
