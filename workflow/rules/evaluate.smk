# Evaluation: the long metrics of one method on one dataset, all folds and seeds.


rule evaluate:
    input:
        predictions=lambda wildcards: PLAN.predictions(group_of(wildcards)),
        code=CODE("evaluate"),
    output:
        PATHS.metrics(GROUP),
    log:
        LOGS / f"evaluate/{GROUP}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        results=constant(str(RESULTS)),
        group=str(GROUP),
        folds=lambda wildcards: comma(PLAN.fold_numbers(group_of(wildcards))),
        seeds=lambda wildcards: comma(PLAN.seeds(wildcards.method)),
    message:
        "Score {params.group}."
    shell:
        "stflow evaluate --results {params.results:q} --group {params.group:q} --folds {params.folds}"
        " --seeds {params.seeds} --out {output:q} > {log:q} 2>&1"
