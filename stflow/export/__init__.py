"""Predictions as files that other tools open: AnnData for scanpy and squidpy, SpatialData for napari and its kin."""
