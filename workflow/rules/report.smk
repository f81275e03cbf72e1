# Tables, figures, and the report that shows them.


rule table1:
    """Table 1: Pearson correlation of every method on every dataset."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        splits=[PATHS.splits(benchmark) for benchmark in CONFIG.benchmarks],
        code=CODE("table1"),
    output:
        csv=report(
            PATHS.table("table1", "csv"),
            caption="../report/table1.rst",
            category="Tables",
            subcategory="Table 1",
            labels={"table": "Table 1 as CSV"},
        ),
        md=PATHS.table("table1", "md"),
    log:
        LOGS / "table/table1.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        methods=PLAN.options.columns(),
        splits=lambda wildcards, input: option("--splits", *input.splits),
        not_run=NOT_RUN,
    message:
        "Write Table 1."
    shell:
        "stflow table table1 {input.metrics:q} --csv {output.csv:q} --md {output.md:q} --methods {params.methods:q}"
        " {params.splits} {params.not_run} > {log:q} 2>&1"


rule table1_page:
    input:
        md=rules.table1.output.md,
        code=CODE("page"),
    output:
        report(
            PATHS.table("table1", "html"),
            caption="../report/table1.rst",
            category="Tables",
            subcategory="Table 1",
            labels={"table": "Table 1"},
        ),
    log:
        LOGS / "table/table1_page.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "Write Table 1 as a page."
    shell:
        "stflow table page --md {input.md:q} --html {output:q} > {log:q} 2>&1"


rule methods:
    """What every method scores, and what its jobs took."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        code=CODE("methods"),
    output:
        csv=report(
            PATHS.table("methods", "csv"),
            caption="../report/methods.rst",
            category="Tables",
            subcategory="Methods",
            labels={"table": "Methods as CSV"},
        ),
        md=PATHS.table("methods", "md"),
    log:
        LOGS / "table/methods.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        results=constant(str(RESULTS)),
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Write the table of methods."
    shell:
        "stflow table methods {input.metrics:q} --results {params.results:q} --csv {output.csv:q} --md {output.md:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule methods_page:
    input:
        md=rules.methods.output.md,
        code=CODE("page"),
    output:
        report(
            PATHS.table("methods", "html"),
            caption="../report/methods.rst",
            category="Tables",
            subcategory="Methods",
            labels={"table": "Methods"},
        ),
    log:
        LOGS / "table/methods_page.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "Write the table of methods as a page."
    shell:
        "stflow table page --md {input.md:q} --html {output:q} > {log:q} 2>&1"


rule gene_group_table:
    input:
        metrics=lambda wildcards: [PATHS.metrics(group) for group in PLAN.groups(benchmark=wildcards.benchmark)],
        groups=lambda wildcards: PLAN.gene_groups()[wildcards.benchmark],
        code=CODE("gene-groups"),
    output:
        csv=report(
            PATHS.table("gene_groups/{benchmark}", "csv"),
            caption="../report/gene_groups.rst",
            category="Tables",
            subcategory="Groups of genes",
            labels={"table": "{benchmark} as CSV"},
        ),
        md=PATHS.table("gene_groups/{benchmark}", "md"),
    log:
        LOGS / "table/gene_groups/{benchmark}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Score the groups of genes of {wildcards.benchmark}."
    shell:
        "stflow table gene-groups {input.metrics:q} --groups {input.groups:q} --csv {output.csv:q}"
        " --md {output.md:q} --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule gene_group_page:
    input:
        md=rules.gene_group_table.output.md,
        code=CODE("page"),
    output:
        report(
            PATHS.table("gene_groups/{benchmark}", "html"),
            caption="../report/gene_groups.rst",
            category="Tables",
            subcategory="Groups of genes",
            labels={"table": "{benchmark}"},
        ),
    log:
        LOGS / "table/gene_groups/{benchmark}_page.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "Write the groups of genes of {wildcards.benchmark} as a page."
    shell:
        "stflow table page --md {input.md:q} --html {output:q} > {log:q} 2>&1"


rule calibration:
    """Calibration of predictions with several samples."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.sampled_groups()],
        code=CODE("calibration"),
    output:
        csv=report(
            PATHS.table("calibration", "csv"),
            caption="../report/calibration.rst",
            category="Tables",
            subcategory="Calibration",
            labels={"table": "Calibration as CSV"},
        ),
        md=PATHS.table("calibration", "md"),
    log:
        LOGS / "table/calibration.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Write the table of calibration."
    shell:
        "stflow table calibration {input.metrics:q} --csv {output.csv:q} --md {output.md:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule calibration_page:
    input:
        md=rules.calibration.output.md,
        code=CODE("page"),
    output:
        report(
            PATHS.table("calibration", "html"),
            caption="../report/calibration.rst",
            category="Tables",
            subcategory="Calibration",
            labels={"table": "Calibration"},
        ),
    log:
        LOGS / "table/calibration_page.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "Write the table of calibration as a page."
    shell:
        "stflow table page --md {input.md:q} --html {output:q} > {log:q} 2>&1"


rule gene_groups:
    """Scores by named groups of genes, of every benchmark that has them."""
    input:
        [
            PATHS.table(f"gene_groups/{benchmark}", suffix)
            for benchmark in PLAN.gene_groups()
            for suffix in ("csv", "html")
        ],
    message:
        "The tables of gene groups are made."


rule tables_and_figures:
    """All that the report shows."""
    input:
        rules.table1.output,
        rules.table1_page.output,
        rules.methods.output,
        rules.methods_page.output,
        rules.audit.output,
        rules.audit_page.output,
        rules.datasets.input,
        [PATHS.figure("histograms", "png") for _ in PLAN.figures.histograms()[:1]],
        rules.gene_groups.input,
        [PATHS.table("calibration", suffix) for suffix in ("csv", "html") if PLAN.sampled_groups()],
        rules.biomarkers.input,
    message:
        "All tables and figures are made."


rule report:
    """One file, report.html, with the tables, the figures, how they were made and how long it took."""
    input:
        rules.tables_and_figures.input,
        config=config_record(RESULTS),
    output:
        PATHS.report,
    log:
        LOGS / "report.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        snakefile=relative(workflow.main_snakefile),
    message:
        "Write the report."
    shell:
        "snakemake tables_and_figures --snakefile {params.snakefile:q} --configfile {input.config:q} --nolock"
        " --report {output:q} > {log:q} 2>&1"
