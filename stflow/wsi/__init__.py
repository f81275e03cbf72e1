"""Whole-slide images: opening, writing, tissue, tiles."""
