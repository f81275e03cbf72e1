# Tables, figures, and the report that shows them.

# Every table of the configuration, in the order of the report.
ALL_TABLES = [
    *PAPER_TABLES,
    "methods",
    "scores",
    "protocol_gap",
    "intervals",
    "comparisons",
    *(f"gene_groups/{benchmark}" for benchmark in PLAN.gene_groups()),
    *(["calibration"] if PLAN.sampled_groups() else []),
    *(f"datasets/{benchmark}" for benchmark in CONFIG.benchmarks),
    "audit",
    "summary",
    "provenance",
    "runs",
]
# Every figure that there is something to draw in.
ALL_FIGURES = [
    *(["histograms"] if PLAN.figures.histograms() else []),
    *MAP_FIGURES,
    *(["figure5"] if MEASURED and "predict" in CONFIG.efficiency.what else []),
    *(["figure6"] if PLAN.figures.maps("figure6") else []),
    "critical_difference",
]


rule table1:
    """Table 1: Pearson correlation of every method on every dataset."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        splits=[PATHS.splits(benchmark) for benchmark in CONFIG.benchmarks],
        code=CODE("table1"),
    output:
        csv=PATHS.table("table1", "csv"),
        md=PATHS.table("table1", "md"),
    log:
        LOGS / "table/table1.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        methods=PLAN.options.columns(),
        splits=lambda wildcards, input: option("--splits", *input.splits),
        not_run=NOT_RUN,
        not_same=NOT_SAME,
    message:
        "Write Table 1."
    shell:
        "stflow table table1 {input.metrics:q} --csv {output.csv:q} --md {output.md:q} --methods {params.methods:q}"
        " {params.splits} {params.not_run} {params.not_same} > {log:q} 2>&1"


rule paper_table:
    input:
        metrics=lambda wildcards: [PATHS.metrics(group) for group in PLAN.paper.groups(f"table{wildcards.number}")],
        code=CODE("paper-table"),
    output:
        csv=PATHS.table("table{number}", "csv"),
        md=PATHS.table("table{number}", "md"),
    log:
        LOGS / "table/table{number}.log",
    wildcard_constraints:
        number=one_of(name.removeprefix("table") for name in PLAN.paper.tables),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        genes=lambda wildcards: option("--gene", *(PLAN.paper.genes() if wildcards.number == "2" else ())),
        not_run=NOT_RUN,
        not_same=NOT_SAME,
    message:
        "Write Table {wildcards.number}."
    shell:
        "stflow table paper {input.metrics:q} --name table{wildcards.number} --csv {output.csv:q} --md {output.md:q}"
        " {params.genes} {params.not_run} {params.not_same} > {log:q} 2>&1"


# Every table as a page of the report and as LaTeX, both from its markdown; the page has the CSV in it.
rule table_page:
    input:
        md=PATHS.table("{table}", "md"),
        csv=PATHS.table("{table}", "csv"),
        code=CODE("page"),
    output:
        html=report(
            PATHS.table("{table}", "html"),
            caption="../report/table.rst",
            category=lambda wildcards: table_category(wildcards.table),
            labels=lambda wildcards: {"table": table_label(wildcards.table)},
        ),
        tex=PATHS.table("{table}", "tex"),
    log:
        LOGS / "table/pages/{table}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(5),
    params:
        caption=lambda wildcards: table_caption(wildcards.table),
    message:
        "Write table {wildcards.table} as a page and as LaTeX."
    shell:
        "stflow table page --md {input.md:q} --csv {input.csv:q} --html {output.html:q} --tex {output.tex:q}"
        " > {log:q} 2>&1"


# Tables 2 to 5 and 9 to 13 by their names; tables 7 and 8 are those of the datasets.
for name in PLAN.paper.tables:

    rule:
        name:
            name
        input:
            table_files(name),
        message:
            f"{name.capitalize()} is made."


rule methods:
    """What every method scores, and what its jobs took."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        code=CODE("methods"),
    output:
        csv=PATHS.table("methods", "csv"),
        md=PATHS.table("methods", "md"),
    log:
        LOGS / "table/methods.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        results=constant(str(RESULTS)),
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Write the table of methods."
    shell:
        "stflow table methods {input.metrics:q} --results {params.results:q} --csv {output.csv:q} --md {output.md:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule gene_group_table:
    input:
        metrics=lambda wildcards: [PATHS.metrics(group) for group in PLAN.groups(benchmark=wildcards.benchmark)],
        groups=lambda wildcards: PLAN.gene_groups()[wildcards.benchmark],
        code=CODE("gene-groups"),
    output:
        csv=PATHS.table("gene_groups/{benchmark}", "csv"),
        md=PATHS.table("gene_groups/{benchmark}", "md"),
    log:
        LOGS / "table/gene_groups/{benchmark}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Score the groups of genes of {wildcards.benchmark}."
    shell:
        "stflow table gene-groups {input.metrics:q} --groups {input.groups:q} --csv {output.csv:q}"
        " --md {output.md:q} --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule calibration:
    """Calibration of predictions with several samples."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.sampled_groups()],
        code=CODE("calibration"),
    output:
        csv=PATHS.table("calibration", "csv"),
        md=PATHS.table("calibration", "md"),
    log:
        LOGS / "table/calibration.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Write the table of calibration."
    shell:
        "stflow table calibration {input.metrics:q} --csv {output.csv:q} --md {output.md:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule gene_groups:
    """Scores by named groups of genes, of every benchmark that has them."""
    input:
        [table_files(f"gene_groups/{benchmark}") for benchmark in PLAN.gene_groups()],
    message:
        "The tables of gene groups are made."


rule tables_and_figures:
    """All that the report shows."""
    input:
        [table_files(name) for name in ALL_TABLES],
        [PATHS.figure(name, suffix) for name in ALL_FIGURES for suffix in ("png", "pdf")],
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
