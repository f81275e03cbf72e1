"""The command line's intervals, tests between methods, and what a protocol gains."""

from __future__ import annotations
