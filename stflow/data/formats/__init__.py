"""Slide formats: how a benchmark's files are laid out on disk, one file a format."""

from __future__ import annotations

from stflow.registry import Registry

FORMATS: Registry = Registry(
    "formats",
    {
        "hest": "stflow.data.formats.hest:Hest",
        "hest_bench": "stflow.data.formats.hest_bench:HestBench",
        "stimage": "stflow.data.formats.stimage:STImage",
    },
)
