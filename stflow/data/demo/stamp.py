"""Soft ellipses, many at once, drawn into an image: nuclei, granules, vacuoles, vessels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_CHUNK = 2048  # ellipses computed at a time


@dataclass(frozen=True, eq=False)
class Ellipses:
    """M soft ellipses: centres_um (M, 2), long_um and short_um (M,) diameters, angle (M,) rad, value (M,)."""

    centres_um: np.ndarray
    long_um: np.ndarray
    short_um: np.ndarray
    angle: np.ndarray
    value: np.ndarray

    def subset(self, keep: np.ndarray) -> Ellipses:
        """The ellipses of a boolean mask (M,)."""
        return Ellipses(
            self.centres_um[keep], self.long_um[keep], self.short_um[keep], self.angle[keep], self.value[keep]
        )


def discs(centres_um: np.ndarray, diameter_um: np.ndarray, value: np.ndarray | float = 1.0) -> Ellipses:
    """Circles as ellipses: centres_um (M, 2), diameter_um (M,), value (M,) or one for all."""
    m = len(centres_um)
    return Ellipses(centres_um, diameter_um, diameter_um, np.zeros(m), np.broadcast_to(value, m))


def stamp(canvas: np.ndarray, ellipses: Ellipses, mpp: float, *, rim: float = 0.0, soft_um: float = 0.5) -> None:
    """Raise ``canvas`` (H, W) float32, in place, to each ellipse's value inside it.

    ``rim`` is how much paler the centre is than the border, as in vesicular nuclei; ``soft_um`` the width of the
    border. What reaches beyond the canvas is cut off.
    """
    for patches, corners in _patches(ellipses, mpp, rim, soft_um):
        for view, patch in _overlaps(canvas, patches, corners):
            np.maximum(view, patch, out=view)


def clear(canvases: tuple[np.ndarray, ...], ellipses: Ellipses, mpp: float, *, soft_um: float = 0.5) -> None:
    """Take the share ``value`` of each ellipse out of ``canvases`` ((H, W) float32 each, in place)."""
    for patches, corners in _patches(ellipses, mpp, 0.0, soft_um):
        np.subtract(1, patches, out=patches)
        for canvas in canvases:
            for view, patch in _overlaps(canvas, patches, corners):
                np.multiply(view, patch, out=view)


def _patches(ellipses: Ellipses, mpp: float, rim: float, soft_um: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Patches (m, s, s) float32 of ellipses of about one size, and their top-left pixels (m, 2), x then y."""
    order = np.argsort(ellipses.long_um, kind="stable")
    for start in range(0, len(order), _CHUNK):
        part = order[start : start + _CHUNK]
        a = ellipses.long_um[part] / 2 / mpp
        b = ellipses.short_um[part] / 2 / mpp
        half = int(np.ceil(a.max() + soft_um / mpp)) + 1
        where = ellipses.centres_um[part] / mpp
        corners = np.floor(where).astype(np.int64) - half
        # Pixel k covers k to k + 1, so its centre is at k + 0.5.
        axis = np.arange(2 * half + 1, dtype=np.float32) + np.float32(0.5)
        shift = (where - corners).astype(np.float32)[:, :, None, None]
        dx, dy = axis[None, None, :] - shift[:, 0], axis[None, :, None] - shift[:, 1]
        cos, sin = (f(ellipses.angle[part]).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
        u = (dx * cos + dy * sin) / a.astype(np.float32)[:, None, None]
        v = (dy * cos - dx * sin) / b.astype(np.float32)[:, None, None]
        radius = np.sqrt(u * u + v * v)
        edge = np.sqrt(a * b).astype(np.float32)[:, None, None] * np.float32(mpp / soft_um)
        patches = np.clip((1 - radius) * edge + np.float32(0.5), 0, 1)
        patches *= ellipses.value[part].astype(np.float32)[:, None, None]
        if rim:
            patches *= 1 - np.float32(rim) * np.clip(1 - radius, 0, 1)
        yield patches, corners


def _overlaps(canvas: np.ndarray, patches: np.ndarray, corners: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where each patch falls on the canvas, as a view of it, and the part of the patch that does."""
    height, width = canvas.shape
    size = patches.shape[1]
    for patch, (x, y) in zip(patches, corners.tolist(), strict=True):
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + size, width), min(y + size, height)
        if left < right and top < bottom:
            yield canvas[top:bottom, left:right], patch[top - y : bottom - y, left - x : right - x]
