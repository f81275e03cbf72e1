"""What the sources of benchmarks make, by name: known before any of it is there."""

from __future__ import annotations

from collections.abc import Mapping

#: What a demo benchmark is made of, by format, below its root: the files of one slide, then those of a dataset.
DEMO_SLIDE_FILES: Mapping[str, tuple[str, ...]] = {
    "hest": (
        "wsis/{slide}.tif",
        "st/{slide}.h5ad",
        "metadata/{slide}.json",
        "bench/{dataset}/patches/{slide}.h5",
        "bench/{dataset}/adata/{slide}.h5ad",
    ),
    "stimage": (
        "Visium/image/{slide}.png",
        "Visium/gene_exp/{slide}_count.csv",
        "Visium/coord/{slide}_coord.csv",
    ),
}
DEMO_TASK_FILES: Mapping[str, tuple[str, ...]] = {
    "hest": ("bench/{dataset}/var_50genes.json", "bench/{dataset}/truth.json"),
    "stimage": ("meta/meta_all_gene.csv", "truth.json"),
}
#: What one her2st section becomes, below the benchmark's root.
HER2ST_SECTION_FILES = ("wsis/{slide}.tif", "st/{slide}.h5ad", "metadata/{slide}.json")

#: (source, format) of benchmarks whose source brings the datasets' own gene lists, where the format keeps them.
BRINGS_GENE_LISTS = frozenset({("demo", "hest"), ("hub", "hest_bench")})
