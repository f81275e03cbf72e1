# Training: the folds and the genes of each, one model a run, and its predictions of the test slides.


rule splits:
    input:
        code=CODE("splits"),
    output:
        PATHS.splits("{benchmark}"),
    log:
        LOGS / "splits/{benchmark}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        manifest=lambda wildcards: PLAN.manifest(wildcards.benchmark),
        by_slide=lambda wildcards: PLAN.by_slide(wildcards.benchmark),
        folds=lambda wildcards: PLAN.describe_splits(wildcards.benchmark),
        datasets=lambda wildcards: comma(CONFIG.datasets(wildcards.benchmark)),
        protocols=comma(CONFIG.protocols),
    message:
        "Write the folds of {wildcards.benchmark}."
    shell:
        "stflow splits --manifest {params.manifest:q} --datasets {params.datasets:q} --protocols {params.protocols}"
        " --out {output:q} {params.by_slide} > {log:q} 2>&1"


rule genes:
    input:
        lambda wildcards: PLAN.gene_lists(**wildcards),
        slides=lambda wildcards: PLAN.slide_paths(
            wildcards.benchmark, PLAN.slides(wildcards.benchmark, wildcards.dataset)
        ),
        code=CODE("genes"),
    output:
        PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
    log:
        LOGS / "genes/{benchmark}/{dataset}/{protocol}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        results=constant(str(RESULTS)),
        manifest=lambda wildcards: PLAN.manifest(wildcards.benchmark),
        by_slide=lambda wildcards: PLAN.by_slide(wildcards.benchmark),
        folds=lambda wildcards: PLAN.describe_folds(**wildcards),
        choice=lambda wildcards: PLAN.gene_choice(wildcards.benchmark, wildcards.protocol),
        n_genes=lambda wildcards: PLAN.n_genes(wildcards.benchmark),
        recipe=lambda wildcards: PLAN.gene_recipe(wildcards.benchmark),
        gene_list=lambda wildcards: option("--gene-list", *PLAN.gene_lists(**wildcards)),
    message:
        "Choose the genes of {wildcards.benchmark}/{wildcards.dataset} for the {wildcards.protocol} protocol."
    shell:
        "stflow genes --results {params.results:q} --benchmark {wildcards.benchmark} --dataset {wildcards.dataset:q}"
        " --protocol {wildcards.protocol} --manifest {params.manifest:q} --out {output:q}"
        " --choice {params.choice} --n-genes {params.n_genes} --recipe {params.recipe} {params.gene_list}"
        " {params.by_slide} > {log:q} 2>&1"


rule train:
    input:
        slides=lambda wildcards: PLAN.slide_paths(wildcards.benchmark, PLAN.learning_slides(run_of(wildcards))),
        features=lambda wildcards: PLAN.feature_paths(
            wildcards.encoder,
            wildcards.benchmark,
            PLAN.learning_slides(run_of(wildcards)),
        ),
        genes=PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
        # Ancient: it must be there, but an audit that is made again trains nothing again.
        audit=lambda wildcards: [ancient(path) for path in PLAN.audits(**wildcards)],
        code=CODE("train", "{method}"),
    output:
        model=PATHS.model(RUN),
        history=PATHS.history(RUN),
        facts=PATHS.run_json(RUN),
    log:
        LOGS / f"train/{RUN}.log",
    benchmark:
        TIMINGS / f"train/{RUN}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.training.threads
    resources:
        gpu=lambda wildcards: PLAN.gpus(METHODS.get(wildcards.method)),
        mem_mb=16000,
        runtime=240,
    params:
        results=constant(str(RESULTS)),
        run=str(RUN),
        manifest=lambda wildcards: PLAN.manifest(wildcards.benchmark),
        by_slide=lambda wildcards: PLAN.by_slide(wildcards.benchmark),
        fold=lambda wildcards: PLAN.describe(run_of(wildcards)),
        settings=lambda wildcards: PLAN.settings_json(wildcards.method, wildcards.variant),
        threads=CONFIG.training.threads,
        device=lambda wildcards: PLAN.device(METHODS.get(wildcards.method)),
    message:
        "Train {params.run}."
    shell:
        "stflow train --results {params.results:q} --run {params.run:q} --manifest {params.manifest:q}"
        " --settings {params.settings:q} --threads {params.threads} --device {params.device} {params.by_slide}"
        " > {log:q} 2>&1"


# A variant that differs from another only in how it samples has no training of its own.
rule predict:
    input:
        model=lambda wildcards: PATHS.model(PLAN.trained_as(run_of(wildcards))),
        facts=lambda wildcards: PATHS.run_json(PLAN.trained_as(run_of(wildcards))),
        genes=PATHS.genes("{benchmark}", "{dataset}", "{protocol}"),
        slides=lambda wildcards: PLAN.slide_paths(wildcards.benchmark, PLAN.fold(run_of(wildcards)).test),
        features=lambda wildcards: PLAN.feature_paths(
            wildcards.encoder, wildcards.benchmark, PLAN.fold(run_of(wildcards)).test
        ),
        code=CODE("predict", "{method}"),
    output:
        PATHS.predictions(RUN),
    log:
        LOGS / f"predict/{RUN}.log",
    benchmark:
        TIMINGS / f"predict/{RUN}.tsv"
    conda:
        ENVIRONMENT
    threads: CONFIG.training.threads
    resources:
        gpu=lambda wildcards: PLAN.gpus(METHODS.get(wildcards.method)),
        mem_mb=16000,
        runtime=60,
    params:
        results=constant(str(RESULTS)),
        run=str(RUN),
        manifest=lambda wildcards: PLAN.manifest(wildcards.benchmark),
        by_slide=lambda wildcards: PLAN.by_slide(wildcards.benchmark),
        settings=lambda wildcards: PLAN.sampling_json(wildcards.method, wildcards.variant),
        trained_as=lambda wildcards: PLAN.trained_as(run_of(wildcards)).group.variant,
        threads=CONFIG.training.threads,
        device=lambda wildcards: PLAN.device(METHODS.get(wildcards.method)),
    message:
        "Predict with {params.run}."
    shell:
        "stflow predict --results {params.results:q} --run {params.run:q} --manifest {params.manifest:q}"
        " --settings {params.settings:q} --trained-as {params.trained_as:q}"
        " --threads {params.threads} --device {params.device} {params.by_slide} > {log:q} 2>&1"
