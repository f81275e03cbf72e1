# Intervals, tests between methods, and what one protocol gains over the other.


rule intervals:
    """How sure each score is: bootstrap intervals, and spreads over seeds, folds and patients."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        splits=[PATHS.splits(benchmark) for benchmark in CONFIG.benchmarks],
        code=CODE("intervals"),
    output:
        csv=PATHS.table("intervals", "csv"),
        md=PATHS.table("intervals", "md"),
    log:
        LOGS / "table/intervals.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        splits=lambda wildcards, input: option("--splits", *input.splits),
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Write the intervals of all scores."
    shell:
        "stflow table intervals {input.metrics:q} {params.splits} --csv {output.csv:q} --md {output.md:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule comparisons:
    """Tests between methods, dataset by dataset and over datasets."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        splits=[PATHS.splits(benchmark) for benchmark in CONFIG.benchmarks],
        code=CODE("comparisons"),
    output:
        csv=PATHS.table("comparisons", "csv"),
        md=PATHS.table("comparisons", "md"),
    log:
        LOGS / "table/comparisons.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        splits=lambda wildcards, input: option("--splits", *input.splits),
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Test the methods against each other."
    shell:
        "stflow table comparisons {input.metrics:q} {params.splits} --csv {output.csv:q} --md {output.md:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule protocol_gap:
    """What a score gains where epoch and genes are chosen with the test slides."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        splits=[PATHS.splits(benchmark) for benchmark in CONFIG.benchmarks],
        code=CODE("protocol-gap"),
    output:
        csv=PATHS.table("protocol_gap", "csv"),
        md=PATHS.table("protocol_gap", "md"),
    log:
        LOGS / "table/protocol_gap.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        splits=lambda wildcards, input: option("--splits", *input.splits),
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Write what the protocols differ by."
    shell:
        "stflow table protocol-gap {input.metrics:q} {params.splits} --csv {output.csv:q} --md {output.md:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"


rule critical_difference:
    """Mean ranks of the methods over datasets, and which of them cannot be told apart."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        code=CODE("critical-difference"),
    output:
        png=report(
            PATHS.figure("critical_difference", "png"),
            caption="../report/critical_difference.rst",
            category="Figures",
            subcategory="Critical difference",
            labels={"figure": "Mean ranks over datasets"},
        ),
        pdf=PATHS.figure("critical_difference", "pdf"),
    log:
        LOGS / "figure/critical_difference.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Draw the mean ranks of the methods."
    shell:
        "stflow figure critical-difference {input.metrics:q} --pdf {output.pdf:q} --png {output.png:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"
