"""The command line's maps of several genes and methods, refinement steps, and efficiency."""

from __future__ import annotations
