"""The command line's exports, and the report's pages of runs and provenance."""

from __future__ import annotations
