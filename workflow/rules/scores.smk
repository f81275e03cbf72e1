# Scores past pooled Pearson, of every method.


rule scores:
    """Errors, rank correlation, variance, maps and spots of every method: what pooled Pearson does not see."""
    input:
        metrics=[PATHS.metrics(group) for group in PLAN.groups()],
        code=CODE("scores"),
    output:
        csv=PATHS.table("scores", "csv"),
        md=PATHS.table("scores", "md"),
    log:
        LOGS / "table/scores.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        methods=PLAN.options.columns(),
        not_run=NOT_RUN,
    message:
        "Write the table of scores."
    shell:
        "stflow table scores {input.metrics:q} --csv {output.csv:q} --md {output.md:q}"
        " --methods {params.methods:q} {params.not_run} > {log:q} 2>&1"
