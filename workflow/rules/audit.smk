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
        mem_mb=growing(4000),
        runtime=growing(30),
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
        csv=PATHS.table("audit", "csv"),
        md=PATHS.table("audit", "md"),
    log:
        LOGS / "table/audit.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(5),
    message:
        "Write the audit of all folds."
    shell:
        "stflow table audit {input.audits:q} --csv {output.csv:q} --md {output.md:q} > {log:q} 2>&1"
