"""Where paper and released code differ, both ways are there; and a slide is the same whatever scanned or sorted it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from stflow.data.slide import Slide
from stflow.models.base import Task
from stflow.models.neighbourhood import spatial_order
from stflow.models.stflow import STFlow, STFlowSettings
from stflow.models.stflow.learner import Learner
from stflow.models.stflow.regions import Regions
from stflow.models.stflow.section import nearest_spots

GENES = ("A", "B", "C")
TASK = Task(GENES, "enc", ("x",))
SMALL = STFlowSettings(hidden=16, edge_hidden=8, layers=2, heads=2, epochs=2, regions_per_slide=2)
MPP = 0.5


def slide(seed: int = 0, n: int = 120) -> Slide:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 6)).astype(np.float32)
    counts = sparse.csc_matrix(rng.poisson(np.exp(features[:, :3])).astype(np.float32))
    barcodes = np.array([f"b{index}" for index in range(n)], dtype=object)
    return Slide("S", "P", barcodes, rng.uniform(0, 1200, (n, 2)) / MPP, MPP, GENES, counts, {"enc": features})


def scanned_at(scan: Slide, mpp: float) -> Slide:
    """The same tissue from a scanner of another resolution."""
    return replace(scan, centres_px=scan.centres_px * (scan.mpp / mpp), mpp=mpp)


def trained(**changes: object) -> STFlow:
    method = STFlow(SMALL.model_copy(update=changes), TASK)
    method.fit([slide(1)], [slide(2)], seed=0)
    return method


def test_a_slide_of_another_resolution_gives_the_same_prediction() -> None:
    method = trained()
    there = method.predict(scanned_at(slide(), 0.2273), seed=0)
    np.testing.assert_allclose(there, method.predict(slide(), seed=0), atol=1e-5)


def test_in_pixels_as_released_resolution_decides() -> None:
    """What the default is good for."""
    method = trained(edges="px")
    there = method.predict(scanned_at(slide(), 0.2273), seed=0)
    assert np.abs(there - method.predict(slide(), seed=0)).max() > 1e-3


@pytest.mark.parametrize(("edges", "unit"), [("um", 1.0 / 100.0), ("px", 1.0 / MPP)])
def test_edges_are_in_their_unit(edges: str, unit: float) -> None:
    learner = Learner(STFlow(SMALL.model_copy(update={"edges": edges}), TASK), 6, 0)
    section = learner.section(slide(), "cpu")
    centres = slide().centres_um[section.order]
    distance = np.linalg.norm(centres[section.graph.index.numpy()] - centres[:, None], axis=-1)
    np.testing.assert_allclose(section.graph.edges[:, :, 0, 2].numpy(), distance * unit, rtol=1e-5)


def test_rows_of_a_slide_only_order_the_prediction() -> None:
    method, scan = trained(prior="zero"), slide()
    order = np.random.default_rng(3).permutation(len(scan))
    there = method.predict(scan.subset(order), seed=0)
    np.testing.assert_allclose(there, method.predict(scan, seed=0)[order], atol=1e-5)


def test_noise_belongs_to_the_slides_rows() -> None:
    """Not to the order in which the network keeps them: x_0 of a row is the row's draw."""
    learner = Learner(STFlow(SMALL, TASK), 6, 0)
    section = learner.section(slide(), "cpu")
    assert not np.array_equal(section.order, np.arange(len(section)))
    np.testing.assert_array_equal(section.restored(np.arange(len(section))[section.order]), np.arange(len(section)))
    learner.denoiser = lambda *_: None  # type: ignore[assignment]
    learner.denoiser.encode = lambda *_: None  # type: ignore[attr-defined]
    learner.denoiser.denoise = lambda _, x_t, t: x_t  # type: ignore[attr-defined]
    drawn = next(learner.draws(section, torch.Generator().manual_seed(5)))
    expected = learner.prior.sample((len(section), len(GENES)), torch.Generator().manual_seed(5))
    np.testing.assert_array_equal(drawn, expected.numpy())


def test_in_spatial_order_neighbours_stand_close() -> None:
    scan = slide(n=2000)
    order = spatial_order(scan.centres_um)
    assert sorted(order) == list(range(2000))
    places = scan.centres_um[order]
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    scattered = np.linalg.norm(np.diff(scan.centres_um, axis=0), axis=1)
    assert np.median(steps) < 0.1 * np.median(scattered)


def regions_of(region_graph: str, **settings: object) -> tuple[Learner, Regions]:
    chosen = SMALL.model_copy(update={"region_graph": region_graph, **settings})
    learner = Learner(STFlow(chosen, TASK), 6, 0)
    return learner, Regions(learner, [slide(1)], [], torch.Generator().manual_seed(4), 0, "cpu")


def test_a_region_keeps_the_slides_neighbours_or_finds_its_own() -> None:
    (_, of_slide), (learner, of_region) = regions_of("slide"), regions_of("region")
    for _ in range(5):
        kept, found = next(iter(of_slide.batches())), next(iter(of_region.batches()))
        assert torch.equal(kept.features, found.features), "both draw the same regions"
        m = len(kept.features)
        section = of_region.train[0].section
        rows = [int(torch.nonzero((section.features == row).all(dim=1))) for row in found.features]
        alone = learner.geometry.graph(section.places[rows].numpy())
        assert torch.equal(found.graph.index, alone.index)
        assert torch.equal(found.graph.edges, alone.edges)
        if m > 9:
            assert found.graph.present.all(), "among themselves all spots have k neighbours"
            assert kept.graph.present.sum() <= found.graph.present.sum()
        inside = kept.graph.present.all(dim=1)
        for row in torch.nonzero(inside).flatten().tolist():
            assert set(kept.graph.index[row].tolist()) == set(found.graph.index[row].tolist())


def test_a_region_has_at_most_region_spots() -> None:
    sizes = [
        [len(batch.features) for _ in range(10) for batch in regions.batches()]
        for _, regions in (regions_of("slide"), regions_of("slide", region_spots=12))
    ]
    assert max(sizes[0]) > 12
    assert max(sizes[1]) == 12
    assert min(sizes[1]) < 12, "smaller ones are as without a limit"


def test_the_whole_slide_is_the_same_region_both_ways() -> None:
    learner = Learner(STFlow(SMALL, TASK), 6, 0)
    section = learner.section(slide(), "cpu")
    every = nearest_spots(section.places, 3, len(section))
    kept, found = section.graph.region(every), learner.geometry.graph(section.places[every].numpy())
    assert torch.equal(kept.present, found.present)
    assert torch.equal(kept.index, found.index)
    torch.testing.assert_close(kept.edges, found.edges)


def test_released_is_a_variant_that_trains_and_differs() -> None:
    released = trained(**STFlow.variants["released"]).predict(slide(), seed=0)
    assert np.isfinite(released).all()
    assert np.abs(released - trained().predict(slide(), seed=0)).max() > 1e-3
    settings = STFlowSettings(**STFlow.variants["released"])
    assert Learner(STFlow(settings, TASK), 6, 0).times == pytest.approx([0.01, 0.2575, 0.505, 0.7525, 1.0])
    assert settings.regions_per_step == 2
