"""Slides and where they come from."""
