# Maps of genes (figures 4, 6, 7, and one gene a figure), and efficiency (figure 5, table 6).


# Before the first training, which may take hours: whether what maps show is predicted at all. No training waits for it.
rule map_genes:
    input:
        genes=PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
        code=CODE("map-genes"),
    output:
        PATHS.map_genes("{benchmark}", "{dataset}", "{protocol}"),
    log:
        LOGS / "map_genes/{benchmark}/{dataset}/{protocol}.log",
    priority: 100
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(5),
    params:
        results=constant(str(RESULTS)),
        wanted=lambda wildcards: option("--wanted", *PLAN.figures.wanted(**wildcards)),
    message:
        "Check that maps of {wildcards.benchmark}/{wildcards.dataset} ({wildcards.protocol}) show genes that are predicted."
    shell:
        "stflow map-genes --results {params.results:q} --benchmark {wildcards.benchmark} --dataset {wildcards.dataset:q}"
        " --protocol {wildcards.protocol} {params.wanted} --out {output:q} > {log:q} 2>&1"


rule biomarker:
    input:
        predictions=lambda wildcards: PLAN.figures.biomarker_predictions(**wildcards),
        tissue=lambda wildcards: PLAN.figures.tissue_paths([biomarker_of(wildcards)]),
        genes=lambda wildcards: PLAN.figures.gene_checks([biomarker_of(wildcards)]),
        code=CODE("maps"),
    output:
        png=report(
            PATHS.figure(BIOMARKER, "png"),
            caption="../report/biomarker.rst",
            category="Figures",
            subcategory="Biomarker maps",
            labels={
                "gene": "{gene}",
                "slide": "{slide}",
                "benchmark": "{benchmark}",
                "encoder": "{encoder}",
            },
        ),
        pdf=PATHS.figure(BIOMARKER, "pdf"),
    log:
        LOGS / f"figure/{BIOMARKER}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        results=constant(str(RESULTS)),
        maps=lambda wildcards: option("--map", str(biomarker_of(wildcards))),
        images=lambda wildcards: option("--image", *PLAN.figures.images([biomarker_of(wildcards)])),
        look=MAP_LOOK,
    message:
        "Draw {wildcards.gene} on {wildcards.benchmark}/{wildcards.slide}."
    shell:
        "stflow figure maps {input.predictions:q} --results {params.results:q} {params.maps} {params.images}"
        " {params.look} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


rule biomarkers:
    """Maps of measured beside predicted expression, a gene each."""
    input:
        [PATHS.figure(name, "png") for name in PLAN.figures.biomarkers()],
    message:
        "The biomarker maps are drawn."


# Figures 4 and 7, where the configuration has something to draw: a target each.
for figure in MAP_FIGURES:

    rule:
        name:
            figure
        input:
            predictions=PLAN.figures.map_predictions(figure),
            tissue=PLAN.figures.tissue_paths(PLAN.figures.maps(figure)),
            genes=PLAN.figures.gene_checks(PLAN.figures.maps(figure)),
            code=CODE("maps"),
        output:
            png=report(
                PATHS.figure(figure, "png"),
                caption=f"../report/{figure}.rst",
                category="Figures",
                subcategory="Biomarker maps",
                labels={"figure": figure.replace("figure", "Figure ")},
            ),
            pdf=PATHS.figure(figure, "pdf"),
        log:
            LOGS / f"figure/{figure}.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(8000),
            runtime=growing(15),
        params:
            results=constant(str(RESULTS)),
            maps=option("--map", *map(str, PLAN.figures.maps(figure))),
            images=option("--image", *PLAN.figures.images(PLAN.figures.maps(figure))),
            look=MAP_LOOK,
        message:
            f"Draw the maps of {figure}."
        shell:
            "stflow figure maps {input.predictions:q} --results {params.results:q} {params.maps} {params.images}"
            " {params.look} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


if PLAN.figures.maps("figure6"):

    rule refine:
        input:
            unpack(prediction_inputs),
            genes=PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
            checked=PATHS.map_genes("{benchmark}", "{dataset}", "{protocol}"),
            code=CODE("refine", "{method}"),
        output:
            PATHS.refinement(RUN, "{slide}"),
        log:
            LOGS / f"refine/{RUN}/{{slide}}.log",
        conda:
            ENVIRONMENT
        threads: CONFIG.training.threads
        resources:
            gpu=lambda wildcards: PLAN.options.gpus(METHODS.get(wildcards.method)),
            mem_mb=lambda wildcards, attempt: NEEDS.predict_mb(run_of(wildcards), attempt),
            runtime=growing(30),
        params:
            results=constant(str(RESULTS)),
            run=str(RUN),
            genes=lambda wildcards: comma(PLAN.figures.refined_genes(run_of(wildcards), wildcards.slide)),
            options=lambda wildcards: PLAN.options.prediction(run_of(wildcards)),
            threads=CONFIG.training.threads,
        message:
            "Record the sampling steps of {params.run} on {wildcards.slide}."
        shell:
            "stflow --gpus {resources.gpu}"
            " refine --results {params.results:q} --run {params.run:q} --slide {wildcards.slide:q}"
            " --genes {params.genes:q} --threads {params.threads} {params.options} --out {output:q} > {log:q} 2>&1"

    rule figure6:
        """Figure 6: what STFlow guesses at every sampling step."""
        input:
            refinements=PLAN.figures.refinements(),
            tissue=PLAN.figures.tissue_paths(PLAN.figures.maps("figure6")),
            code=CODE("refinement"),
        output:
            png=report(
                PATHS.figure("figure6", "png"),
                caption="../report/figure6.rst",
                category="Figures",
                subcategory="Biomarker maps",
                labels={"figure": "Figure 6"},
            ),
            pdf=PATHS.figure("figure6", "pdf"),
        log:
            LOGS / "figure/figure6.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(4000),
            runtime=growing(10),
        params:
            results=constant(str(RESULTS)),
            maps=option("--map", *map(str, PLAN.figures.maps("figure6"))),
            images=option("--image", *PLAN.figures.images(PLAN.figures.maps("figure6"))),
            look=MAP_LOOK,
        message:
            "Draw the sampling steps."
        shell:
            "stflow figure refinement {input.refinements:q} --results {params.results:q} {params.maps} {params.images}"
            " {params.look} --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


# Nothing else runs here meanwhile, so that a time is a time: the job takes all cores.
rule efficiency:
    input:
        lambda wildcards: CODE("efficiency", wildcards.measured.partition("/")[0]),
    output:
        csv=PATHS.efficiency("{measured}", "csv"),
        facts=PATHS.efficiency("{measured}", "json"),
    log:
        LOGS / "efficiency/{measured}.log",
    wildcard_constraints:
        measured=one_of(MEASURED),
    conda:
        ENVIRONMENT
    threads: all_cores
    resources:
        gpu=int(CONFIG.training.device != "cpu"),
        mem_mb=round(CONFIG.efficiency.limit_gb * 1000) + 4000,
        runtime=round(len(CONFIG.efficiency.spots) * len(CONFIG.efficiency.what) * CONFIG.efficiency.limit_s / 60) + 10,
    params:
        method=lambda wildcards: MEASURED[wildcards.measured],
        spots=comma(CONFIG.efficiency.spots),
        what=comma(CONFIG.efficiency.what),
        repeats=CONFIG.efficiency.repeats,
        features=CONFIG.efficiency.features,
        genes=CONFIG.efficiency.genes,
        limit_s=CONFIG.efficiency.limit_s,
        limit_gb=CONFIG.efficiency.limit_gb,
        threads=CONFIG.training.threads,
        device=CONFIG.training.device,
    message:
        "Measure time and memory of {wildcards.measured}."
    shell:
        "stflow --gpus {resources.gpu} efficiency --method {params.method} --spots {params.spots} --what {params.what}"
        " --repeats {params.repeats} --features {params.features} --genes {params.genes} --limit-s {params.limit_s}"
        " --limit-gb {params.limit_gb} --threads {params.threads} --device {params.device} --csv {output.csv:q}"
        " --facts {output.facts:q} > {log:q} 2>&1"


if MEASURED and "predict" in CONFIG.efficiency.what:

    rule figure5:
        """Figure 5: time and memory of prediction against spots."""
        input:
            measured=[PATHS.efficiency(name, "csv") for name in MEASURED],
            code=CODE("figure5"),
        output:
            png=report(
                PATHS.figure("figure5", "png"),
                caption="../report/figure5.rst",
                category="Figures",
                subcategory="Efficiency",
                labels={"figure": "Figure 5"},
            ),
            pdf=PATHS.figure("figure5", "pdf"),
        log:
            LOGS / "figure/figure5.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(1000),
            runtime=growing(5),
        params:
            width=CONFIG.figures.width,
        message:
            "Draw time and memory against spots."
        shell:
            "stflow figure efficiency {input.measured:q} --width {params.width} --pdf {output.pdf:q}"
            " --png {output.png:q} > {log:q} 2>&1"


rule table6:
    """Table 6: parameters, time and memory of the methods."""
    input:
        measured=[PATHS.efficiency(name, "csv") for name in MEASURED],
        code=CODE("table6"),
    output:
        csv=PATHS.table("table6", "csv"),
        md=PATHS.table("table6", "md"),
    log:
        LOGS / "table/table6.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        settings=PLAN.options.counted_json(),
        features=CONFIG.efficiency.features,
        genes=CONFIG.efficiency.genes,
    message:
        "Write Table 6."
    shell:
        "stflow table table6 {input.measured:q} --csv {output.csv:q} --md {output.md:q} --settings {params.settings:q}"
        " --features {params.features} --genes {params.genes} > {log:q} 2>&1"
