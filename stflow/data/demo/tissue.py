"""The tissue's plan: smooth random fields that say where it lies and which compartment is where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from stflow.data.demo.recipe import COMPARTMENTS, FIELD_UM, MODIFIERS
from stflow.seeds import numpy_generator

#: Share of the slide that each compartment wants, set by the threshold of its field.
_TUMOUR_SHARE, _IMMUNE_SHARE, _FAT_SHARE = 0.42, 0.11, 0.13
_EDGE_SD = 0.10  # width of the border between compartments, in SD of the field


@dataclass(frozen=True, eq=False)
class Tissue:
    """Fields on a square grid of step ``FIELD_UM``, first axis y.

    tissue (n, n) in 0..1; compartments (4, n, n) in the order of COMPARTMENTS, summing to ``tissue``;
    modifiers (3, n, n) in the order of MODIFIERS, mean 0 and SD 1; warp (n, n) um, how far the stroma's fibres are bent
    across ``direction`` (rad).
    """

    size_um: float
    tissue: np.ndarray
    compartments: np.ndarray
    modifiers: np.ndarray
    warp: np.ndarray
    direction: float

    def at(self, fields: np.ndarray, points_um: np.ndarray, blur_um: float = 0.0) -> np.ndarray:
        """(..., N) fields (..., n, n) at (N, 2) points in um, after a Gaussian average of SD ``blur_um``."""
        flat = fields.reshape(-1, *fields.shape[-2:])
        where = points_um[:, ::-1].T / FIELD_UM - 0.5
        values = np.stack([self._sample(field, where, blur_um) for field in flat])
        return values.reshape(*fields.shape[:-2], len(points_um))

    def fibre_angle(self, points_um: np.ndarray) -> np.ndarray:
        """(M,) rad: along the fibres, the level lines of (distance across ``direction``) + ``warp``."""
        slope_y, slope_x = np.gradient(self.warp, FIELD_UM)
        normal_x = self.at(slope_x, points_um) - np.sin(self.direction)
        normal_y = self.at(slope_y, points_um) + np.cos(self.direction)
        return np.arctan2(-normal_x, normal_y)

    @staticmethod
    def _sample(field: np.ndarray, where: np.ndarray, blur_um: float) -> np.ndarray:
        smooth = ndimage.gaussian_filter(field, blur_um / FIELD_UM, mode="nearest") if blur_um else field
        return ndimage.map_coordinates(smooth, where, order=1, mode="nearest")


def grow_tissue(seed: int, benchmark: str, slide: str, size_um: float) -> Tissue:
    """Draw the plan of one slide."""
    rng = numpy_generator(seed, benchmark, slide, "tissue")
    n = int(np.ceil(size_um / FIELD_UM))

    def noise(*scales_um: tuple[float, float]) -> np.ndarray:
        total = sum(
            weight * _unit(ndimage.gaussian_filter(rng.standard_normal((n, n)), scale / FIELD_UM, mode="reflect"))
            for scale, weight in scales_um
        )
        return _unit(np.asarray(total))

    axis = (np.arange(n) + 0.5) / n * 2 - 1
    x, y = np.meshgrid(axis - rng.uniform(-0.04, 0.04), axis - rng.uniform(-0.04, 0.04))
    radius = (np.abs(x) ** 3.2 + np.abs(y) ** 3.2) ** (1 / 3.2)
    tissue = _sigmoid((0.91 + 0.045 * noise((150.0, 1.0), (40.0, 0.3)) - radius) / 0.005)

    tumour = _share(noise((130.0, 1.0), (40.0, 0.55)), _TUMOUR_SHARE)
    immune = _share(noise((90.0, 1.0), (35.0, 0.4)), _IMMUNE_SHARE)
    fat = _share(noise((160.0, 1.0), (50.0, 0.25)), _FAT_SHARE)
    tumour = tumour * (1 - fat) * (1 - immune)
    immune = immune * (1 - fat)
    stroma = 1 - tumour - immune - fat
    by_name = {"tumour": tumour, "stroma": stroma, "immune": immune, "fat": fat}
    return Tissue(
        size_um=size_um,
        tissue=tissue,
        compartments=np.stack([by_name[name] * tissue for name in COMPARTMENTS]),
        modifiers=np.stack([noise((140.0, 1.0)) for _ in MODIFIERS]),
        warp=60.0 * noise((170.0, 1.0), (60.0, 0.2)),
        direction=float(rng.uniform(0, np.pi)),
    )


def _unit(field: np.ndarray) -> np.ndarray:
    return (field - field.mean()) / field.std()


def _share(field: np.ndarray, share: float) -> np.ndarray:
    """The field as a soft mask that covers ``share`` of the slide."""
    return _sigmoid((field - np.quantile(field, 1 - share)) / _EDGE_SD)


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -40, 40)))
