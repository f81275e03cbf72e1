# What leaks in every fold. A clean fold that leaks stops here: its trainings wait for the audit.


rule audit_dataset:
    input:
        slides=lambda wildcards: PLAN.slide_paths(
            wildcards.benchmark, PLAN.slides(wildcards.benchmark, wildcards.dataset)
        ),
        tiles=lambda wildcards: PLAN.tile_paths(
            wildcards.benchmark, PLAN.slides(wildcards.benchmark, wildcards.dataset)
        ),
        genes=PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
        known=relative(KNOWN),
        code=CODE("audit"),
    output:
        PATHS.audit("{benchmark}", "{dataset}", "{protocol}"),
    log:
        LOGS / "audit/{benchmark}/{dataset}/{protocol}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        results=constant(str(RESULTS)),
        manifest=lambda wildcards: PLAN.manifest(wildcards.benchmark),
        folds=lambda wildcards: PLAN.describe_folds(**wildcards),
    message:
        "Look for leaks in {wildcards.benchmark}/{wildcards.dataset} under the {wildcards.protocol} protocol."
    shell:
        "stflow audit-dataset --results {params.results:q} --benchmark {wildcards.benchmark}"
        " --dataset {wildcards.dataset:q} --protocol {wildcards.protocol} --manifest {params.manifest:q}"
        " --out {output:q} > {log:q} 2>&1"


rule audit:
    """What leaks in the folds of every dataset, by protocol."""
    input:
        audits=[PATHS.audit(*key) for key, folds in PLAN.folds.items() if folds],
        code=CODE("audit-table"),
    output:
        csv=report(
            PATHS.table("audit", "csv"),
            caption="../report/audit.rst",
            category="Audit",
            subcategory="Audit",
            labels={"table": "Audit as CSV"},
        ),
        md=PATHS.table("audit", "md"),
    log:
        LOGS / "table/audit.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "Write the audit of all folds."
    shell:
        "stflow table audit {input.audits:q} --csv {output.csv:q} --md {output.md:q} > {log:q} 2>&1"


rule audit_page:
    input:
        md=rules.audit.output.md,
        code=CODE("page"),
    output:
        report(
            PATHS.table("audit", "html"),
            caption="../report/audit.rst",
            category="Audit",
            subcategory="Audit",
            labels={"table": "Audit"},
        ),
    log:
        LOGS / "table/audit_page.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
    message:
        "Write the audit of all folds as a page."
    shell:
        "stflow table page --md {input.md:q} --html {output:q} > {log:q} 2>&1"
