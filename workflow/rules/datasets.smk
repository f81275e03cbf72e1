# What the datasets are: their tables (the paper's tables 7 and 8) and their expression (its figure 2).


rule dataset_table:
    input:
        slides=lambda wildcards: PLAN.slide_paths(wildcards.benchmark, PLAN.slides(wildcards.benchmark)),
        tiles=lambda wildcards: PLAN.tile_paths(wildcards.benchmark, PLAN.slides(wildcards.benchmark)),
        code=CODE("datasets"),
    output:
        csv=PATHS.table("datasets/{benchmark}", "csv"),
        md=PATHS.table("datasets/{benchmark}", "md"),
    log:
        LOGS / "table/datasets/{benchmark}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        results=constant(str(RESULTS)),
        manifest=lambda wildcards: PLAN.manifest(wildcards.benchmark),
        datasets=lambda wildcards: comma(CONFIG.datasets(wildcards.benchmark)),
        folds=lambda wildcards: PLAN.first_folds(wildcards.benchmark),
    message:
        "Count the datasets of {wildcards.benchmark}."
    shell:
        "stflow table datasets --results {params.results:q} --benchmark {wildcards.benchmark}"
        " --manifest {params.manifest:q} --datasets {params.datasets:q} --csv {output.csv:q} --md {output.md:q}"
        " > {log:q} 2>&1"


rule histograms:
    """Figure 2: how the measured counts of datasets are distributed."""
    input:
        slides=[path for key in PLAN.figures.histograms() for path in PLAN.slide_paths(key[0], PLAN.slides(*key))],
        genes=[PATHS.genes(*key, CONFIG.protocols[0]) for key in PLAN.figures.histograms()],
        code=CODE("histograms"),
    output:
        png=report(
            PATHS.figure("histograms", "png"),
            caption="../report/histograms.rst",
            category="Figures",
            subcategory="Measured expression",
            labels={"figure": "Figure 2"},
        ),
        pdf=PATHS.figure("histograms", "pdf"),
    log:
        LOGS / "figure/histograms.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        results=constant(str(RESULTS)),
        datasets=[
            f"{benchmark}/{dataset}={comma(PLAN.slides(benchmark, dataset))}"
            for benchmark, dataset in PLAN.figures.histograms()
        ],
        protocol=CONFIG.protocols[0],
    message:
        "Draw the measured counts of the datasets."
    shell:
        "stflow figure histograms {params.datasets:q} --results {params.results:q} --protocol {params.protocol}"
        " --pdf {output.pdf:q} --png {output.png:q} > {log:q} 2>&1"


if PLAN.figures.histograms():

    rule figure2:
        """Figure 2 by its number in the paper."""
        input:
            rules.histograms.output,
        message:
            "Figure 2 is drawn."


rule datasets:
    """The datasets of every benchmark: slides, patients, folds, spots."""
    input:
        [table_files(f"datasets/{benchmark}") for benchmark in CONFIG.benchmarks],
    message:
        "The tables of datasets are made."


# The paper's numbers of the two, where the configuration has the benchmark.
for number, benchmark in (("table7", "hest"), ("table8", "stimage")):
    if benchmark in CONFIG.benchmarks:

        rule:
            name:
                number
            input:
                table_files(f"datasets/{benchmark}"),
            message:
                f"The datasets of {benchmark} are counted."
