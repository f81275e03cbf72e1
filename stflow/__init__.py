"""Predict spatial gene expression from H&E slides, and compare the methods that do so."""

__version__ = "0.1.0"
