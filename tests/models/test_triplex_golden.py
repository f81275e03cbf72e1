"""Both forms of TRIPLEX give what the authors' public code gives.

``golden/triplex.safetensors`` holds the answers of all four heads and the loss by NEXGEM/TRIPLEX with the weights and
inputs that are made here, on a whole grid and on one with holes. ``in_place`` is commit 4750051 (May 2025), without its
flash kernels; ``added`` has the position encoding of the commit before 37bedc7 (April 2025), with a stable sort in
place of its unstable one, which hands tokens to other spots of the same grid line.

Where patches are missing, the public branch of the surroundings averages over them too, and ours over those that are
there: the head's expected answer is computed from the public tokens of those. All else is the public code's as it is,
with holes in the grid as well: that its empty cells count as tissue changes nothing, as they hold zeros and nobody
reads their answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stflow.data.tile_images import TileImages
from stflow.models.triplex import TriplexSettings
from stflow.models.triplex.geometry import Grid, Surroundings
from stflow.models.triplex.lattice import cells
from stflow.models.triplex.network import FeatureTriplex, Outputs, Section, distilled_loss
from stflow.models.triplex.original import TileSection, TileTriplex

GOLDEN = Path(__file__).parent / "golden" / "triplex.safetensors"

SMALL = {"hidden": 32, "fusion_heads": 4, "local_heads": 4}
ORIGINAL = {
    "hidden": 32, "fusion_layers": 1, "fusion_heads": 4, "fusion_mlp": 4, "whole_layers": 3, "whole_heads": 8,
    "whole_mlp": 4, "local_layers": 3, "local_heads": 8, "local_mlp": 1, "clamp": True,
}  # fmt: skip
N_GENES, N_FEATURES = 6, 20


def seeded_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights by name, as of a trained network: no norm and no bias of positions is at its initial values."""
    draw = np.random.RandomState(2025).standard_normal  # its stream is frozen for all NumPy versions
    made = {}
    for name, shape in sorted(shapes.items()):
        if name.endswith("num_batches_tracked"):
            made[name] = np.zeros(shape, dtype=np.int64)
            continue
        values = draw(shape)
        if name.endswith("running_var"):
            values = 1 + 0.1 * np.abs(values)
        elif name.endswith("weight") and ("norm" in name or "bn" in name):
            values = 1 + 0.3 * values
        elif len(shape) == 1:
            values = 0.1 * values
        elif "biases" not in name:
            values = values / np.sqrt(np.prod(shape[1:]))
        made[name] = values.astype(np.float32)
    return made


def inputs(holes: bool) -> dict[str, np.ndarray]:
    """A grid of 6 x 7 spots, column by column, a third of it missing where there are holes, and all that is seen."""
    rng = np.random.RandomState(7)
    row, column = (axis.T.ravel() for axis in np.mgrid[:6, :7])
    grid = np.column_stack([column, row])
    if holes:
        grid = grid[rng.rand(len(grid)) > 0.3]
    n = len(grid)
    made = {
        "grid": grid,
        "expression": np.abs(rng.standard_normal((n, N_GENES))).astype(np.float32),
        "features": rng.standard_normal((n, N_FEATURES)).astype(np.float32),
        "tiles": rng.randint(0, 255, (n, 64, 64, 3)).astype(np.uint8),
        "around": rng.standard_normal((n, 25, 32)).astype(np.float32),
        "present": (rng.rand(n, 25) > (0.2 if holes else -1)) | (np.arange(25) == 12),
    }
    made["around"][~made["present"]] = 0
    return made


def fields(grid: np.ndarray) -> Surroundings:
    """The 5 x 5 field of cells around every spot, by (N, 2) column and row, row by row, as the public code has it."""
    row_of = {tuple(place): row for row, place in enumerate(grid.tolist())}
    steps = np.array([divmod(cell, 5) for cell in range(25)]) - 2
    index = np.array([[row_of.get((x + right, y + down), -1) for down, right in steps] for x, y in grid.tolist()])
    own = np.arange(len(grid))[:, None]
    return Surroundings(
        torch.from_numpy(np.where(index < 0, own, index)),
        torch.from_numpy(index >= 0),
        torch.from_numpy(np.tile(steps, (len(grid), 1, 1))),
    )


def with_seeded_weights(network: torch.nn.Module) -> torch.nn.Module:
    made = seeded_weights({name: tuple(value.shape) for name, value in network.state_dict().items()})
    network.load_state_dict({name: torch.from_numpy(value) for name, value in made.items()})
    return network.eval()


@torch.no_grad()
def ours(form: str, apeg: str, holes: bool) -> tuple[Outputs, torch.Tensor]:
    """The four answers and the loss."""
    given = inputs(holes)
    places = given["grid"] * 100.0
    grid, locations = Grid.of(cells(places)), torch.from_numpy(places)
    if form == "features":
        s = TriplexSettings.model_validate({**SMALL, "apeg": apeg})
        network = with_seeded_weights(FeatureTriplex(s, N_FEATURES, N_GENES))
        outputs = network(Section(torch.from_numpy(given["features"]), locations, fields(given["grid"]), grid))
    else:
        s = TriplexSettings.model_validate({**ORIGINAL, "apeg": apeg})
        network = with_seeded_weights(TileTriplex(s, s.hidden, N_GENES))
        around, rows = torch.from_numpy(given["around"]), np.arange(len(places))
        unread = TileImages(Path(), rows, rows, "")
        section = TileSection(around[:, 12], locations, grid, rows, given["around"], unread)
        tiles, present = torch.from_numpy(given["tiles"]), torch.from_numpy(given["present"])
        outputs = network.spots(network.whole(section), tiles, around, present)
    return outputs, distilled_loss(outputs, torch.from_numpy(given["expression"]), s.alpha)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return load_file(GOLDEN)


@pytest.mark.parametrize("holes", [False, True], ids=["whole grid", "holes"])
@pytest.mark.parametrize("apeg", ["added", "in_place"])
@pytest.mark.parametrize("form", ["features", "tiles"])
def test_equal_to_the_public_code(golden: dict[str, np.ndarray], form: str, apeg: str, holes: bool) -> None:
    outputs, loss = ours(form, apeg, holes)
    for name, found in zip(Outputs._fields, outputs, strict=True):
        expected = torch.from_numpy(golden[f"{form}.{apeg}.{holes}.{name}"])
        assert expected.std() > 0.05, "a head that says the same everywhere would prove nothing"
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, torch.from_numpy(golden[f"{form}.{apeg}.{holes}.loss"]), atol=1e-5, rtol=1e-5)


def test_the_comparison_would_notice(golden: dict[str, np.ndarray]) -> None:
    """The two position encodings differ by far more than is tolerated."""
    outputs, _ = ours("features", "added", holes=False)
    assert np.abs(outputs.whole.numpy() - golden["features.in_place.False.whole"]).max() > 0.1
