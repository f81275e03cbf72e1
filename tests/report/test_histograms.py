"""Histograms of measured counts: the tally is that of the dense matrix, and the figure says its numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from stflow.data.slide import write_slide
from stflow.errors import GeneError
from stflow.layout import Layout
from stflow.report.histograms import Tally, draw, make_histograms, read_panel, shares
from stflow.report.published import printed_histogram

GENES = ("A", "B", "C", "D")


@pytest.fixture
def results(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A folder with two slides, and their (N, 4) counts below each other."""
    layout, every = Layout(tmp_path), []
    for seed, name in enumerate(("s1", "s2")):
        counts = np.random.default_rng(seed).negative_binomial(1, 0.02, (40 + seed, 4))
        every.append(counts)
        write_slide(
            layout.slide("lab", name), name=name, patient=name, barcodes=[str(spot) for spot in range(len(counts))],
            mpp=0.5, spot_diameter_um=55, centres_px=np.zeros((len(counts), 2)), genes=GENES, counts=counts,
        )  # fmt: skip
    genes = layout.genes("lab", "D", "clean")
    genes.parent.mkdir(parents=True)
    genes.write_text(json.dumps({"folds": {"0": ["A", "B"], "1": ["B"]}}))
    return tmp_path, np.concatenate(every)


def test_mean_deviation_and_bins_are_those_of_all_values(results: tuple[Path, np.ndarray]) -> None:
    folder, counts = results
    panel = read_panel(Layout(folder), "lab", "D", ["s1", "s2"], "clean")
    for tally, values in ((panel.every, counts), (panel.predicted, counts[:, :2])):
        assert tally.n == values.size
        assert tally.mean == pytest.approx(values.mean())
        assert tally.std == pytest.approx(values.std())
        edges = [0, *(2**octave for octave in range(25))]
        assert tally.bins.tolist() == np.histogram(values, bins=edges)[0].tolist()
    assert shares(panel.every).sum() == pytest.approx(1)
    assert (panel.n_genes, panel.n_predicted) == (4, 2)


def test_a_count_beyond_the_last_bin_is_in_it() -> None:
    tally = Tally.empty()
    tally.add(np.array([2.0**30, 1.0]), 5)
    assert (tally.bins[0], tally.bins[1], tally.bins[-1]) == (3, 1, 1)


def test_the_figure_says_its_numbers_and_the_printed_ones(results: tuple[Path, np.ndarray]) -> None:
    folder, counts = results
    panel = read_panel(Layout(folder), "lab", "D", ["s1", "s2"], "clean")
    panel = type(panel)(panel.title, panel.every, panel.predicted, panel.n_genes, panel.n_predicted, (11.18, 48.1))
    figure = draw([panel] * 5)
    assert len(figure.axes) == 5
    told = [text.get_text() for text in figure.axes[0].texts]
    assert told == [
        "D",
        f"all 4 genes: {counts.mean():.2f} ± {counts.std():.1f}",
        f"2 predicted: {counts[:, :2].mean():.2f} ± {counts[:, :2].std():.1f}",
        "printed: 11.18 ± 48.1",
    ]


def test_the_same_counts_give_the_same_files(results: tuple[Path, np.ndarray]) -> None:
    folder, _ = results
    for name in ("a", "b"):
        make_histograms(folder, [("lab/D", ["s1", "s2"])], "clean", folder / f"{name}.pdf", folder / f"{name}.png")
    for suffix in ("pdf", "png"):
        assert (folder / f"a.{suffix}").read_bytes() == (folder / f"b.{suffix}").read_bytes()


def test_slides_without_the_genes_are_told(results: tuple[Path, np.ndarray]) -> None:
    folder, _ = results
    Layout(folder).genes("lab", "D", "clean").write_text('{"folds": {"0": ["Z"]}}')
    with pytest.raises(GeneError, match=r"slide s1 holds none of the genes of lab/D \(clean\)"):
        read_panel(Layout(folder), "lab", "D", ["s1"], "clean")


def test_what_the_paper_prints() -> None:
    assert printed_histogram("hest", "SKCM") == (12.79, 74.9)
    assert printed_histogram("hest", "PRAD") is None
    assert printed_histogram("her2st", "IDC") is None
