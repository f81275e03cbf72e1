# Slides: counts and spot centres in one format for all benchmarks, and a tile of every spot.


rule counts:
    input:
        lambda wildcards: PLAN.counts_files(wildcards.benchmark, wildcards.slide),
        code=lambda wildcards: CODE("counts", PLAN.format(wildcards.benchmark)),
    output:
        PATHS.slide("{benchmark}", "{slide}"),
    log:
        LOGS / "counts/{benchmark}/{slide}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        format=lambda wildcards: PLAN.format(wildcards.benchmark),
        root=lambda wildcards: PLAN.root(wildcards.benchmark),
        dataset=lambda wildcards: PLAN.dataset_of(wildcards.benchmark, wildcards.slide),
        patient=lambda wildcards: PLAN.patient(wildcards.benchmark, wildcards.slide),
        mpp=lambda wildcards: PLAN.given_mpp(wildcards.benchmark),
    message:
        "Read the counts of {wildcards.benchmark}/{wildcards.slide}."
    shell:
        "stflow counts --format {params.format} --root {params.root:q} --dataset {params.dataset:q}"
        " --slide {wildcards.slide:q} --patient {params.patient:q} {params.mpp} --out {output:q} > {log:q} 2>&1"


rule tile:
    input:
        lambda wildcards: PLAN.image_files(wildcards.benchmark, wildcards.slide),
        slide=PATHS.slide("{benchmark}", "{slide}"),
        code=lambda wildcards: CODE("tile", PLAN.format(wildcards.benchmark)),
    output:
        PATHS.tiles("{benchmark}", "{slide}"),
    log:
        LOGS / "tile/{benchmark}/{slide}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=lambda wildcards, attempt: NEEDS.tile_min(wildcards.benchmark, wildcards.slide, attempt),
    params:
        timing=str(TIMINGS / "tile/{benchmark}/{slide}.tsv"),
        format=lambda wildcards: PLAN.format(wildcards.benchmark),
        root=lambda wildcards: PLAN.root(wildcards.benchmark),
        dataset=lambda wildcards: PLAN.dataset_of(wildcards.benchmark, wildcards.slide),
        tile_um=CONFIG.tiling.tile_um,
        tile_px=CONFIG.tiling.tile_px,
        min_tissue=CONFIG.tiling.min_tissue,
        crop=lambda wildcards: PLAN.crop(wildcards.benchmark),
        max_unreadable=CONFIG.tiling.max_unreadable,
    message:
        "Cut the tiles of {wildcards.benchmark}/{wildcards.slide}."
    shell:
        "stflow --timing {params.timing:q}"
        " tile --format {params.format} --root {params.root:q} --dataset {params.dataset:q}"
        " --slide {wildcards.slide:q} --slide-file {input.slide:q} --out {output:q} --tile-um {params.tile_um}"
        " --tile-px {params.tile_px} --min-tissue {params.min_tissue} --max-unreadable {params.max_unreadable}"
        " {params.crop} > {log:q} 2>&1"


rule tissue_picture:
    input:
        tiles=PATHS.tiles("{benchmark}", "{slide}"),
        code=CODE("tissue"),
    output:
        PATHS.figure("tissue/{benchmark}/{slide}", "png"),
    log:
        LOGS / "tissue/{benchmark}/{slide}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    message:
        "Draw the tissue of {wildcards.benchmark}/{wildcards.slide}."
    shell:
        "stflow figure tissue --tiles {input.tiles:q} --png {output:q} > {log:q} 2>&1"
