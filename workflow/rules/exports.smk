# Predictions for other tools, and the report's pages of its own: the summary, the runs, the provenance.


if not CONFIG.report.exports and "exports" in sys.argv:
    raise WorkflowError(NOTHING_TO_EXPORT)


rule export:
    input:
        predictions=PATHS.predictions(RUN),
        slide=PATHS.slide("{benchmark}", "{slide}"),
        tiles=PATHS.tiles("{benchmark}", "{slide}"),
        image=lambda wildcards: PLAN.pictures(wildcards.benchmark, wildcards.slide),
        code=CODE("export"),
    output:
        PATHS.export(RUN, "{slide}", "h5ad"),
    log:
        LOGS / f"export/{RUN}/{{slide}}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        results=constant(str(RESULTS)),
        run=str(RUN),
        image=lambda wildcards, input: option("--image", *input.get("image", [])),
    message:
        "Export what {params.run} predicts of {wildcards.slide} as AnnData."
    shell:
        "stflow export --results {params.results:q} --run {params.run:q} --slide {wildcards.slide:q} {params.image}"
        " --out {output:q} > {log:q} 2>&1"


# A zarr is a folder by nature; its writer puts it in its place whole.
rule export_spatialdata:
    input:
        predictions=PATHS.predictions(RUN),
        slide=PATHS.slide("{benchmark}", "{slide}"),
        tiles=PATHS.tiles("{benchmark}", "{slide}"),
        image=lambda wildcards: PLAN.pictures(wildcards.benchmark, wildcards.slide),
        code=CODE("export"),
    output:
        directory(PATHS.export(RUN, "{slide}", "zarr")),
    log:
        LOGS / f"export/{RUN}/{{slide}}_zarr.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        results=constant(str(RESULTS)),
        run=str(RUN),
        image=lambda wildcards, input: option("--image", *input.get("image", [])),
    message:
        "Export what {params.run} predicts of {wildcards.slide} as SpatialData."
    shell:
        "stflow export --results {params.results:q} --run {params.run:q} --slide {wildcards.slide:q} {params.image}"
        " --spatialdata {output:q} > {log:q} 2>&1"


rule exports:
    """Predictions of slides as AnnData, and as SpatialData: those that the configuration names."""
    input:
        ExportPlan(PLAN).files(),
    message:
        "The predictions are exported."


rule runs:
    """Every run in a line, with the logs of its jobs."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        code=CODE("runs"),
    output:
        csv=PATHS.table("runs", "csv"),
        md=PATHS.table("runs", "md"),
    log:
        LOGS / "table/runs.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        results=constant(str(RESULTS)),
    message:
        "Write the page of runs."
    shell:
        "stflow table runs {input.metrics:q} --results {params.results:q} --csv {output.csv:q} --md {output.md:q}"
        " > {log:q} 2>&1"


rule provenance:
    """Versions, hashes, seeds, hardware, time, an estimate of energy, and the configuration."""
    input:
        # Scores are made last of all that is timed.
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        config=config_record(RESULTS),
        code=CODE("provenance"),
    output:
        csv=PATHS.table("provenance", "csv"),
        md=PATHS.table("provenance", "md"),
    log:
        LOGS / "table/provenance.log",
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        results=constant(str(RESULTS)),
        cpu_watts=CONFIG.report.cpu_watts,
        gpu_watts=CONFIG.report.gpu_watts,
    message:
        "Write the page of provenance."
    shell:
        "stflow table provenance --results {params.results:q} --cpu-watts {params.cpu_watts}"
        " --gpu-watts {params.gpu_watts} --csv {output.csv:q} --md {output.md:q} > {log:q} 2>&1"


rule summary:
    """Verdicts beside the paper's numbers, the best methods, leaks, failures and cost, as on the report's front page."""
    input:
        tables=[PATHS.table(name, "csv") for name in PAPER_TABLES],
        methods=PATHS.table("methods", "csv"),
        audit=PATHS.table("audit", "csv"),
        cost=rules.provenance.output.csv,
        code=CODE("summary"),
    output:
        csv=PATHS.table("summary", "csv"),
        md=PATHS.table("summary", "md"),
        # The report's front page (workflow/report/workflow.rst) includes it.
        rst=PATHS.table("summary", "rst"),
    log:
        LOGS / "table/summary.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(5),
    message:
        "Write the summary."
    shell:
        "stflow table summary {input.tables:q} --methods {input.methods:q} --audit {input.audit:q}"
        " --cost {input.cost:q} --csv {output.csv:q} --md {output.md:q} --rst {output.rst:q} > {log:q} 2>&1"


rule pages:
    """The report's own pages: summary, provenance, runs."""
    input:
        [table_files(name) for name in ("summary", "runs", "provenance")],
    message:
        "The report's own pages are made."
