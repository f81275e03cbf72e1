# Sources: a benchmark's files in their official format, made on the spot or fetched. A benchmark whose source is
# `folder` has its files already, and no rule here.

for name in PLAN.sourced("demo"):

    rule:
        name:
            f"source_{name}_slide"
        input:
            code=CODE("source-demo"),
        output:
            PLAN.made_slide_files(name),
        log:
            LOGS / "source" / name / "{slide}.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(2000),
            runtime=growing(10),
        params:
            timing=str(TIMINGS / "source" / name / "{slide}.tsv"),
            benchmark=name,
            root=constant(PLAN.root(name)),
        message:
            "Make the image and the counts of demo slide {wildcards.slide}."
        shell:
            "stflow --timing {params.timing:q}"
            " source demo-slide --benchmark {params.benchmark} --slide {wildcards.slide}"
            " --root {params.root:q} > {log} 2>&1"

    rule:
        name:
            f"source_{name}_task"
        input:
            code=CODE("source-demo"),
        output:
            PLAN.made_task_files(name),
        log:
            LOGS / "source" / name / "task.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(1000),
            runtime=growing(5),
        params:
            benchmark=name,
            root=constant(PLAN.root(name)),
        message:
            "Make the folds, the gene list and the planted truth of {params.benchmark}."
        shell:
            "stflow source demo-task --benchmark {params.benchmark} --root {params.root:q} > {log} 2>&1"


for name in PLAN.sourced("her2st"):

    rule:
        name:
            f"source_{name}_section"
        input:
            code=CODE("source-her2st"),
        output:
            PLAN.made_slide_files(name),
        log:
            LOGS / "source" / name / "{slide}.log",
        benchmark:
            TIMINGS / "source" / name / "{slide}.tsv"
        retries: 2
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(4000),
            runtime=growing(30),
        params:
            root=constant(PLAN.root(name)),
            pack=option("--pack", CONFIG.benchmarks[name].pack),
        message:
            "Turn her2st section {wildcards.slide} into a pyramid with um/px, and its counts."
        shell:
            "stflow source her2st --section {wildcards.slide} --root {params.root:q} {params.pack} > {log} 2>&1"
