"""The command line's table of scores past pooled Pearson."""

from __future__ import annotations
